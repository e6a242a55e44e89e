// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What does not fit is refused before anything is written, with all maps named at once.
#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::prefix;
using test::StateBuilder;

StateBuilder with_prefixes(std::uint32_t count) {
    StateBuilder builder;
    builder.vpc("v").group("v/a").interface("one", "v", {"10.0.0.1/32"}, {"v/a"});
    for (std::uint32_t i = 0; i < count; ++i) {
        builder.rule("v/a", SG_IN, kTcp, {80, 80}, prefix("192.0.2." + std::to_string(i) + "/32"));
    }
    return builder;
}

std::uint64_t need_of(const std::vector<MapNeed>& needs, MapId map) {
    return std::find_if(needs.begin(), needs.end(), [map](const MapNeed& need) { return need.map == map; })->need;
}

TEST(Limits, TheMessageNamesMapsNeedsAndKeys) {
    Capacities capacities;
    capacities.prefixes = 3;
    capacities.classes = 4;
    const auto refused = compile({with_prefixes(5).state, MapImage{}, capacities, nullptr});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(refused.error().message,
              "does not fit: IPv4 prefixes need 5 of 3 (sg_cidr4); rule classes need 6 of 4 (sg_classes); "
              "raise \"prefixes\" and \"classes\" in /etc/sgbpf/host.yaml");
}

TEST(Limits, OldAndNewMustFitTogether) {
    StateBuilder builder = with_prefixes(5);
    Capacities capacities;
    capacities.prefixes = 9;
    const auto first = compile({builder.state, MapImage{}, capacities, nullptr});
    ASSERT_TRUE(first);
    EXPECT_EQ(need_of(needs(*first, capacities), MapId::kCidr4), 5U);
    builder.state.groups.at("v/a").rules[SG_IN][0].ports = {81, 81};
    const auto refused = compile({builder.state, *first, capacities, nullptr});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("IPv4 prefixes need 10 of 9"), std::string::npos) << refused.error().message;
    capacities.prefixes = 10;
    const auto second = compile({builder.state, *first, capacities, nullptr});
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_EQ(need_of(needs_during_commit(*first, *second, capacities), MapId::kCidr4), 10U);
    EXPECT_EQ(need_of(needs(*second, capacities), MapId::kCidr4), 5U);
}

TEST(Limits, TheCountsHoldWhileACommitRuns) {
    // The fake refuses what exceeds a capacity, so that a commit at the counted need must pass and one
    // element less must have been refused.
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        test::RandomStates random(seed);
        State state = random.make();
        const MapImage first = *compile({state, MapImage{}, Capacities{}, nullptr});
        random.change(state);
        const MapImage second = *compile({state, first, Capacities{}, nullptr});
        Capacities tight;
        for (const MapInfo& info : kMaps) {
            tight.*info.capacity = 1;
        }
        std::vector<MapNeed> all = needs_during_commit(first, second, tight);
        const std::vector<MapNeed> at_first = needs(first, tight);
        all.insert(all.end(), at_first.begin(), at_first.end());
        for (const MapNeed& need : all) {
            std::uint32_t& capacity = tight.*map_info(need.map).capacity;
            capacity = std::max(capacity, static_cast<std::uint32_t>(need.need));
        }
        test::FakeDatapath maps;
        ASSERT_TRUE(maps.open(tight, true));
        ASSERT_TRUE(compile({state, first, tight, nullptr}));
        auto committed = run_commit(maps, plan_commit(MapImage{}, first, 0));
        ASSERT_TRUE(committed) << committed.error().message;
        committed = run_commit(maps, plan_commit(first, second, 1));
        ASSERT_TRUE(committed) << committed.error().message;
    }
}

TEST(Limits, AnExplosionIsRefusedWithoutBeingBuilt) {
    // 400 port ranges on /8 to /24 prefixes that all nest: every class holds all ranges above it.
    StateBuilder builder;
    builder.vpc("v").group("v/a").interface("one", "v", {"10.0.0.1/32"}, {"v/a"});
    for (std::uint32_t i = 0; i < 400; ++i) {
        Prefix nested = prefix("10.0.0.0/8");
        nested.length = static_cast<std::uint8_t>(8 + i % 24);
        const auto port = static_cast<std::uint16_t>(i * 3);
        builder.rule("v/a", SG_IN, kTcp, {port, port}, nested);
    }
    Capacities capacities;
    capacities.rule_refs = 1000;
    const auto refused = compile({builder.state, MapImage{}, capacities, nullptr});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("rule references need at least"), std::string::npos)
        << refused.error().message;
}

TEST(Limits, EveryMapHasAKeyInTheHostFile) {
    for (const MapInfo& info : kMaps) {
        EXPECT_NE(capacity_name(info.id), "") << info.name;
    }
}

}  // namespace
}  // namespace sgbpf
