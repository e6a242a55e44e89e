// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A State in force in the real programs: compiled and committed as `sgbpf apply` does it, on private maps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/commit.hpp"
#include "compiler/compile.hpp"
#include "support/test_programs.hpp"

namespace sgbpf::test {

class LivePolicy {
public:
    static Result<std::unique_ptr<LivePolicy>> make(const State& state,
                                                    const Capacities& capacities = small_capacities(),
                                                    TestPrograms::Mode mode = TestPrograms::Mode::kTest,
                                                    const HostPolicy& host = {});

    // Replaces the state in force. With hooks the commit may be stopped in the middle: then the state,
    // image and generation remembered here stay the old ones.
    Result<CommitStats> commit(const State& state, const CommitHooks* hooks = nullptr);
    // What the next run of a killed process does: reads the maps back and repairs them.
    Result<void> recover();

    // The plan that commit(state) would carry out.
    Result<CommitPlan> plan(const State& state) const;

    PacketResult judge(unsigned direction, const std::string& interface, const std::vector<std::uint8_t>& frame,
                       std::uint64_t now_ms = 1'000'000, bool vlan_tag = false);
    // Slot in force, 0 = none.
    [[nodiscard]] std::uint32_t slot(const std::string& interface) const;
    [[nodiscard]] std::string rule_id(const PacketResult& result) const;
    Result<std::uint64_t> flush_all();

    TestPrograms& programs() { return *programs_; }
    HostPolicy& host() { return host_; }  // of the next commit
    [[nodiscard]] const MapImage& image() const { return image_; }

private:
    LivePolicy() = default;

    Capacities capacities_;
    HostPolicy host_;
    State state_;
    MapImage image_;
    std::uint64_t generation_ = 0;
    std::unique_ptr<TestPrograms> programs_;
};

}  // namespace sgbpf::test
