// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Service endpoints and always tracked peers in the maps: a change of host.yaml is a commit like any other.
#include <random>

#include <gtest/gtest.h>

#include "image/encode.hpp"
#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::FakeDatapath;
using test::prefix;
using test::World;

const char* const kEndpoints[] = {"169.254.169.254/32", "169.254.169.0/24", "169.254.0.0/16",
                                  "2001:db8:53::1/128", "2001:db8:53::/64", "10.0.0.2/32"};

struct TwoVpcs : World {
    TwoVpcs() {
        vpc("prod").group("prod/web").interface("web", "prod", {"10.0.0.5/32"}, {"prod/web"});
        vpc("dev").group("dev/web").interface("dev", "dev", {"10.0.0.5/32"}, {"dev/web"});
    }
    std::uint32_t flags(const std::string& interface) const {
        return image.interface_at(*image.interface_slot(state.interfaces.at(interface).id))->config.flags;
    }
    // What longest match finds for each scope and address at a generation; 0 = nothing.
    std::vector<std::uint32_t> answers(FakeDatapath& of, std::uint64_t generation) const {
        std::vector<std::uint32_t> found;
        const RawMaps raw = *of.read_maps();
        for (const std::uint32_t vpc : {1U, 2U}) {
            for (const std::uint32_t scope : {SG_SCOPE_SERVICE(vpc, SG_SERVICE_TCP, 80U),
                                              SG_SCOPE_SERVICE(vpc, SG_SERVICE_UDP, 53U), SG_SCOPE_ALWAYS_TRACK(vpc)}) {
                for (const char* endpoint : kEndpoints) {
                    const Prefix wanted = Prefix::host(prefix(endpoint).address);
                    found.push_back(wanted.family() == Family::kIpv4
                                        ? longest<sg_prefix4>(raw, MapId::kLocals4, scope, wanted, generation)
                                        : longest<sg_prefix6>(raw, MapId::kLocals6, scope, wanted, generation));
                }
            }
        }
        return found;
    }

private:
    template <typename Key>
    static std::uint32_t longest(const RawMaps& raw, MapId map, std::uint32_t scope, const Prefix& wanted,
                                 std::uint64_t generation) {
        std::uint32_t value = 0;
        int best = -1;
        const auto rows = raw.find(map);
        for (const RawRow& row : rows == raw.end() ? std::vector<RawRow>{} : rows->second) {
            Key key{};
            sg_versioned versioned{};
            std::memcpy(&key, row.key.data(), sizeof(key));
            std::memcpy(&versioned, row.value.data(), sizeof(versioned));
            const Prefix covering = prefix_of(key);
            if (key.scope == scope && covering.contains(wanted) && covering.length > best) {
                best = covering.length;
                value = value_at(versioned, generation);
            }
        }
        return value;
    }
};

Service service(const std::string& vpc, const std::string& endpoint, Protocol protocol, std::uint16_t port,
                bool in = true, bool out = true) {
    return {vpc, prefix(endpoint), protocol, port, in, out, ""};
}

TEST(Services, AreRowsOfTheirVpcOnly) {  // SG-6.4
    TwoVpcs world;
    world.host.services = {service("prod", "169.254.169.254/32", kTcp, 80)};
    world.commit();
    EXPECT_NE(world.flags("web") & SG_IF_SERVICES, 0U);
    EXPECT_EQ(world.flags("dev") & SG_IF_SERVICES, 0U);
    ASSERT_EQ(world.image.services[SG_IPV4]->rows.size(), 1U);
    const SetRow row = world.image.services[SG_IPV4]->rows.front();
    EXPECT_EQ(row.scope, SG_SCOPE_SERVICE(world.image.vpcs.at("prod"), SG_SERVICE_TCP, 80U));
    EXPECT_EQ(row.value, SG_SERVICE_WAY(SG_IN) | SG_SERVICE_WAY(SG_OUT));
    EXPECT_EQ(test::differs(world.maps, world.image), "");

    world.host.services.front().vpc = "*";
    world.commit();
    EXPECT_NE(world.flags("dev") & SG_IF_SERVICES, 0U);
    EXPECT_EQ(world.image.services[SG_IPV4]->rows.size(), 2U);
    EXPECT_EQ(test::differs(world.maps, world.image), "");

    world.host.services.clear();
    world.commit();
    EXPECT_EQ(world.flags("web") & SG_IF_SERVICES, 0U);
    EXPECT_EQ(test::differs(world.maps, world.image), "");
}

TEST(Services, ANarrowEndpointHasTheWaysOfTheWideOne) {  // SG-13.7
    TwoVpcs world;
    world.host.services = {service("prod", "169.254.169.0/24", kTcp, 80, true, false),
                           service("prod", "169.254.169.254/32", kTcp, 80, false, true)};
    world.commit();
    ASSERT_EQ(world.image.services[SG_IPV4]->rows.size(), 2U);
    EXPECT_EQ(world.image.services[SG_IPV4]->rows[0].value, SG_SERVICE_WAY(SG_IN));
    EXPECT_EQ(world.image.services[SG_IPV4]->rows[1].value, SG_SERVICE_WAY(SG_IN) | SG_SERVICE_WAY(SG_OUT));
}

TEST(Services, WhatDidNotChangeIsNotWritten) {
    TwoVpcs world;
    world.host.services = {service("*", "169.254.169.254/32", kTcp, 80)};
    world.commit();
    world.commit();
    EXPECT_EQ(world.last_plan.edits(), 0U);
    world.host.services.push_back(service("prod", "10.0.0.2/32", kUdp, 53));
    world.commit();
    EXPECT_TRUE(world.last_plan.single_write) << "the flag was set before: one row, in force with its write";
    EXPECT_EQ(world.last_plan.edits(), 1U);
}

TEST(Services, AreCountedAgainstTheSizeOfTheMap) {
    TwoVpcs world;
    world.host.services = {service("*", "169.254.169.254/32", kTcp, 80)};
    world.at("web").tracking.always_track = false;
    world.at("web").tracking.always_track_peers = {prefix("192.0.2.0/24")};
    Capacities capacities;
    capacities.local_prefixes = 5;  // two addresses, two rows, one peer
    EXPECT_TRUE(compile({world.state, MapImage{}, capacities, nullptr, 0, &world.host}));
    capacities.local_prefixes = 4;
    const auto refused = compile({world.state, MapImage{}, capacities, nullptr, 0, &world.host});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("need 5 of 4 (sg_locals4)"), std::string::npos) << refused.error().message;
}

TEST(Services, AVpcWithANumberThatTheKeyCannotHoldIsRefused) {
    TwoVpcs world;
    MapImage previous;
    previous.vpcs = {{"prod", SG_MAX_SERVICE_VPCS + 1}};
    EXPECT_TRUE(compile({world.state, previous, Capacities{}, nullptr, 0, &world.host}));
    world.host.services = {service("prod", "169.254.169.254/32", kTcp, 80)};
    const auto refused = compile({world.state, previous, Capacities{}, nullptr, 0, &world.host});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_NE(refused.error().message.find("VPC prod has number 8192: services are possible in 8191 VPCs"),
              std::string::npos)
        << refused.error().message;
    world.host.services.front().vpc = "dev";
    EXPECT_TRUE(compile({world.state, previous, Capacities{}, nullptr, 0, &world.host}));
}

TEST(TrackedPeers, AreTheInterfacesOwnOrTheHosts) {  // SG-5.19
    TwoVpcs world;
    world.host.tracking.always_track_peers = {prefix("198.51.100.0/24")};
    world.at("web").tracking.always_track = false;
    world.at("web").tracking.always_track_peers = {prefix("192.0.2.0/24"), prefix("198.51.100.0/24")};
    world.commit();
    const InterfaceImage& web = *world.image.interface_at(*world.image.interface_slot(world.at("web").id));
    const InterfaceImage& dev = *world.image.interface_at(*world.image.interface_slot(world.at("dev").id));
    EXPECT_EQ(web.tracked_peers, (std::vector<Prefix>{prefix("192.0.2.0/24"), prefix("198.51.100.0/24")}));
    EXPECT_EQ(dev.tracked_peers, std::vector<Prefix>{prefix("198.51.100.0/24")});
    EXPECT_NE(dev.config.flags & SG_IF_TRACK_PEERS, 0U);
    EXPECT_EQ(test::differs(world.maps, world.image), "");
    // Another peer, the same configuration: still a change.
    world.at("web").tracking.always_track_peers = {prefix("192.0.2.0/25")};
    world.commit();
    EXPECT_NE(world.last_plan.edits(), 0U);
    EXPECT_EQ(test::differs(world.maps, world.image), "");
}

TEST(ExemptRate, IsTheHosts) {  // SG-6.9
    TwoVpcs world;
    world.host.exempt_rate = 77;
    world.commit();
    EXPECT_EQ(world.image.interface_at(1)->config.exempt_rate, 77U);
    EXPECT_EQ(HostPolicy{}.exempt_rate, 1024U);
}

void randomise(TwoVpcs& world, std::mt19937& random) {
    const auto pick = [&](std::uint32_t below) { return std::uint32_t(random()) % below; };
    world.host.services.clear();
    world.at("web").tracking.always_track = false;
    world.at("web").tracking.always_track_peers.clear();
    for (std::uint32_t i = pick(7); i > 0; --i) {
        const char* const vpcs[] = {"*", "prod", "dev"};
        const bool tcp = pick(2) != 0;
        const std::uint32_t ways = 1 + pick(3);
        world.host.services.push_back(service(vpcs[pick(3)], kEndpoints[pick(std::size(kEndpoints))], tcp ? kTcp : kUdp,
                                              tcp ? 80 : 53, (ways & 1) != 0, (ways & 2) != 0));
    }
    for (std::uint32_t i = pick(4); i > 0; --i) {
        world.at("web").tracking.always_track_peers.push_back(prefix(kEndpoints[pick(std::size(kEndpoints))]));
    }
}

// As RandomStates does it for rules: stopped at any edit one policy is in force, whole; reading back, repairing
// and the cache give the same image again.
TEST(Services, AStopAtAnyEditLeavesOneOfBothInForce) {
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        std::mt19937 random(seed);
        TwoVpcs world;
        randomise(world, random);
        world.commit();
        const std::vector<std::uint32_t> before = world.answers(world.maps, world.maps.generation());
        const MapImage image = world.image;
        const FakeDatapath maps = world.maps;
        randomise(world, random);
        const MapImage next = world.compiled();
        const CommitPlan plan = plan_commit(image, next, world.maps.generation());
        world.commit();
        ASSERT_EQ(test::differs(world.maps, next), "");
        const std::vector<std::uint32_t> after = world.answers(world.maps, world.maps.generation());
        const auto restored = deserialise(serialise(next));
        ASSERT_TRUE(restored) << restored.error().message;
        ASSERT_EQ(to_text(*restored), to_text(next));
        ASSERT_EQ(digest(*restored), digest(next));
        for (std::size_t stop = 0; stop <= plan.edits(); ++stop) {
            SCOPED_TRACE("stop " + std::to_string(stop));
            FakeDatapath half = maps;
            CommitHooks hooks;
            hooks.before_edit = [&](std::size_t edit) { return edit < stop; };
            ASSERT_EQ(static_cast<bool>(run_commit(half, plan, &hooks)), stop >= plan.edits());
            const bool flipped = stop >= plan.before.size() + plan.publish.size();
            ASSERT_EQ(world.answers(half, half.generation()), flipped ? after : before);
            const auto repaired = repair(half);
            ASSERT_TRUE(repaired) << repaired.error().message;
            ASSERT_EQ(world.answers(half, half.generation()), flipped ? after : before);
            ASSERT_EQ(test::differs(half, *repaired), "");
        }
    }
}

}  // namespace
}  // namespace sgbpf
