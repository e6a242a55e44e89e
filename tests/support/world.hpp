// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A state on a FakeDatapath: change the state, commit, ask.
#pragma once

#include <algorithm>

#include <gtest/gtest.h>

#include "api/commit.hpp"
#include "compiler/compile.hpp"
#include "tests/support/commits.hpp"
#include "tests/support/states.hpp"

namespace sgbpf::test {

class World : public StateBuilder {
public:
    World() { EXPECT_TRUE(maps.open(Capacities{}, true)); }

    FakeDatapath maps;
    MapImage image;
    HostPolicy host;
    CommitPlan last_plan;

    MapImage compiled() const {
        Result<MapImage> next = compile({state, image, Capacities{}, nullptr, 0, &host});
        EXPECT_TRUE(next) << next.error().message;
        return next ? std::move(*next) : MapImage{};
    }
    void commit() {
        MapImage next = compiled();
        last_plan = plan_commit(image, next, maps.generation());
        const auto done = run_commit(maps, last_plan);
        EXPECT_TRUE(done) << done.error().message;
        image = std::move(next);
    }

    // Id of the rule that admits the flow; "" = dropped. Fails if the oracle says otherwise.
    std::string admits(const std::string& interface, std::uint32_t direction, const std::string& peer, int protocol,
                       std::optional<std::uint16_t> value) {
        return decide(interface, direction, peer, protocol, value).rule_id;
    }
    bool tracks(const std::string& interface, std::uint32_t direction, const std::string& peer, int protocol,
                std::uint16_t value) {
        return decide(interface, direction, peer, protocol, value).tracked;
    }

private:
    Decision decide(const std::string& interface, std::uint32_t direction, const std::string& peer, int protocol,
                    std::optional<std::uint16_t> value) {
        const Interface& of = state.interfaces.at(interface);
        const Address remote = address(peer);
        const auto own = std::find_if(of.addresses.begin(), of.addresses.end(),
                                      [&](const Prefix& prefix) { return prefix.address.family == remote.family; });
        EXPECT_NE(own, of.addresses.end()) << interface << " has no address of the peer's family";
        const NewFlow flow{interface, direction, own->address, remote, protocol, value};
        const std::uint32_t slot = *image.interface_slot(of.id);
        EXPECT_EQ(differs(maps, maps.generation(), state, {flow}, {slot}), "");
        return sgbpf::test::decide(maps, {slot, direction, flow.local, remote, protocol, value}, maps.generation());
    }
};

}  // namespace sgbpf::test
