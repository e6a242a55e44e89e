// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What interfaces are granted of the flow table, and what a commit does to flows that are there.
#include "compiler/tracking.hpp"

#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::group_peer;
using test::list_peer;
using test::prefix;
using test::World;

class TrackingWorld : public World {
public:
    TrackingWorld() {
        vpc("v").group("v/a").group("v/b").interface("one", "v", {"10.0.0.1/32"}, {"v/a"});
        interface("two", "v", {"10.0.0.2/32"}, {"v/b"});
        rule("v/a", SG_IN, kTcp, {22, 22}, prefix("192.0.2.0/24"));
    }
    // With what only the caller of compile() knows.
    void commit_with(std::optional<Revocation> revoke, bool always = false) {
        auto next = compile({state, image, Capacities{}, nullptr, maps.generation() + 1, &host, revoke, always});
        ASSERT_TRUE(next) << next.error().message;
        const CommitPlan plan = plan_commit(image, *next, maps.generation());
        ASSERT_TRUE(run_commit(maps, plan));
        image = std::move(*next);
    }
    const sg_interface_config& config(const std::string& name) {
        return image.interface_at(*image.interface_slot(at(name).id))->config;
    }
    HostPolicy host;
};

TEST(Tracking, DefaultsAreSharesOfTheTable) {
    TrackingWorld world;
    world.commit_with(std::nullopt);
    const sg_interface_config& config = world.config("one");
    EXPECT_EQ(config.max_flows, Capacities{}.flows / 2);
    EXPECT_EQ(config.max_opening, Capacities{}.flows / 8);
    EXPECT_EQ(config.reserved, Capacities{}.flows / (2 * Capacities{}.interfaces));
    EXPECT_EQ(config.opening_recycle, 0);
    EXPECT_EQ(config.flags, SG_IF_READY | SG_IF_SOURCE_CHECK);
}

TEST(Tracking, TheInterfaceBeforeTheHostBeforeTheDefault) {
    TrackingWorld world;
    world.host.tracking = {
        .strict = true, .max_flows = 1000, .reserved = 10, .opening_recycle = 5, .always_track = true};
    world.at("one").tracking = {.strict = false, .max_flows = 500, .always_track = false};
    world.at("one").role = Role::kHost;
    world.commit_with(std::nullopt);
    EXPECT_EQ(world.config("one").max_flows, 500U);
    EXPECT_EQ(world.config("one").max_opening, 500U) << "not more than flows in all";
    EXPECT_EQ(world.config("one").reserved, 10U);
    EXPECT_EQ(world.config("one").flags, SG_IF_READY | SG_IF_SOURCE_CHECK | SG_IF_HOST);
    EXPECT_EQ(world.config("two").max_flows, 1000U);
    EXPECT_EQ(world.config("two").opening_recycle, 5);
    EXPECT_EQ(world.config("two").flags, SG_IF_READY | SG_IF_SOURCE_CHECK | SG_IF_STRICT | SG_IF_ALWAYS_TRACK);
}

// Whoever says always_track says its peers too.
TEST(Tracking, PeersGoWithTheWordThatNamesThem) {
    TrackingOptions host{.always_track = false, .always_track_peers = {prefix("192.0.2.0/24")}};
    EXPECT_EQ(tracking_of({}, host, {}).always_track_peers->size(), 1U);
    EXPECT_TRUE(tracking_of({.always_track = false}, host, {}).always_track_peers->empty());
}

TEST(Tracking, ReservesMayTakeHalfOfTheTable) {
    TrackingWorld world;
    Capacities capacities;
    capacities.flows = 1000;
    world.at("one").tracking.reserved = 300;
    world.at("two").tracking.reserved = 200;
    EXPECT_TRUE(compile({world.state, MapImage{}, capacities}));
    world.at("two").tracking.reserved = 201;
    const auto refused = compile({world.state, MapImage{}, capacities});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(refused.error().message,
              "does not fit: the interfaces reserve 501 flows, and half of the table, 500, is the most; lower it, or "
              "raise \"flows\" in /etc/sgbpf/host.yaml");
}

TEST(Tracking, LimitsBeyondTheTableAreRefusedByName) {
    TrackingWorld world;
    Capacities capacities;
    capacities.flows = 1000;
    world.at("one").tracking = {.max_flows = 1001};
    world.at("two").tracking = {.max_flows = 10, .max_opening = 2000, .reserved = 11};
    const auto refused = compile({world.state, MapImage{}, capacities});
    ASSERT_FALSE(refused);
    for (const char* words : {"interface one: tracking.max_flows is 1001, the flow table holds 1000",
                              "interface two: tracking.max_opening is 2000, the flow table holds 1000",
                              "interface two: tracking.reserved is 11, its max_flows is 10"}) {
        EXPECT_NE(refused.error().message.find(words), std::string::npos) << refused.error().message;
    }
}

TEST(Tracking, ThePoolIsLoweredBeforeTheFlipAndRaisedAfterIt) {
    TrackingWorld world;
    world.at("one").tracking.reserved = 1000;
    world.at("two").tracking.reserved = 10;
    world.commit();
    EXPECT_EQ(world.maps.reserves, (std::vector<std::uint64_t>{1010, 1010}));
    world.maps.reserves.clear();
    world.at("one").tracking.reserved = 100;
    world.at("two").tracking.reserved = 50;
    world.commit();
    EXPECT_EQ(world.maps.reserves, (std::vector<std::uint64_t>{1050, 150}));
    world.maps.reserves.clear();
    ASSERT_TRUE(repair(world.maps));
    EXPECT_EQ(world.maps.reserves, (std::vector<std::uint64_t>{150}));
}

TEST(Tracking, AChangeOfTheModeMovesTheEpoch) {
    TrackingWorld world;
    world.commit_with(std::nullopt);
    const std::uint32_t before = world.config("one").epoch;
    world.at("one").tracking.max_flows = 77;
    world.commit_with(std::nullopt);
    EXPECT_EQ(world.config("one").epoch, before);
    world.at("one").tracking.strict = true;
    world.commit_with(std::nullopt);
    EXPECT_NE(world.config("one").epoch, before);
}

TEST(Revocation, KeepLeavesFlowsAlone) {
    TrackingWorld world;
    world.commit_with(std::nullopt);
    const sg_interface_config before = world.config("one");
    world.state.groups.at("v/a").rules[SG_IN].clear();
    world.commit_with(std::nullopt);
    EXPECT_EQ(world.config("one").epoch, before.epoch);
    EXPECT_EQ(world.config("one").recheck_since, 0U);
    EXPECT_EQ(world.config("one").kill_since, 0U);
}

TEST(Revocation, RecheckAndKillMarkTheInterfacesWhoseRulesChanged) {
    for (const Revocation mode : {Revocation::kRecheck, Revocation::kKill}) {
        SCOPED_TRACE(static_cast<int>(mode));
        TrackingWorld world;
        world.host.tracking.revocation = mode;
        world.commit_with(std::nullopt);
        const sg_interface_config two = world.config("two");
        world.state.groups.at("v/a").rules[SG_IN].clear();
        world.commit_with(std::nullopt);
        const auto now = static_cast<std::uint32_t>(world.maps.generation());
        EXPECT_EQ(world.config("one").epoch, now);
        EXPECT_EQ(world.config("one").recheck_since, now) << "kill is recheck, and more";
        EXPECT_EQ(world.config("one").kill_since, mode == Revocation::kKill ? now : 0U);
        EXPECT_EQ(std::memcmp(&world.config("two"), &two, sizeof(two)), 0) << "its rules are the same";
        // Not again by a commit that changes nothing for it.
        world.at("two").timeouts.udp = 60;
        world.commit_with(std::nullopt);
        EXPECT_EQ(world.config("one").epoch, now);
    }
}

// SG-5.22: lists, memberships and associations admit, too.
TEST(Revocation, RecheckAlsoWhenListsMembersOrAssociationsChange) {
    TrackingWorld world;
    world.host.tracking.revocation = Revocation::kRecheck;
    world.list("office", {"203.0.113.0/24"});
    world.rule("v/a", SG_IN, kTcp, {80, 80}, list_peer("office"));
    world.rule("v/a", SG_IN, kTcp, {81, 81}, group_peer("v/b"));
    world.commit_with(std::nullopt);
    const auto rechecked = [&] {
        world.commit_with(std::nullopt);
        return world.config("one").recheck_since == static_cast<std::uint32_t>(world.maps.generation());
    };
    world.state.prefix_lists.at("office").entries.clear();
    EXPECT_TRUE(rechecked());
    world.at("two").addresses = {prefix("10.0.0.3/32")};
    EXPECT_TRUE(rechecked());
    world.at("one").groups = {"v/b"};
    EXPECT_TRUE(rechecked());
}

TEST(Revocation, TheCommitsOwnWordIsBeforeTheInterfaces) {
    TrackingWorld world;
    world.at("one").tracking.revocation = Revocation::kKill;
    world.commit_with(std::nullopt);
    world.state.groups.at("v/a").rules[SG_IN].clear();
    world.commit_with(Revocation::kKeep);
    EXPECT_EQ(world.config("one").kill_since, 0U);
    world.commit_with(Revocation::kRecheck, true);
    const auto now = static_cast<std::uint32_t>(world.maps.generation());
    for (const char* name : {"one", "two"}) {
        EXPECT_EQ(world.config(name).recheck_since, now) << "though nothing changed";
        EXPECT_EQ(world.config(name).epoch, now);
        EXPECT_EQ(world.config(name).kill_since, 0U);
    }
}

}  // namespace
}  // namespace sgbpf
