// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// No packet sees a mixture of two states.
#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::list_peer;
using test::World;

// The example of the architecture: S0 = tcp/22 from L, L = {A}; S1 = tcp/80 from L, L = {A, B}. A new
// list with old rules lets B reach tcp/22, which neither state allows; new rules with the old list keep
// B from tcp/80, and A from tcp/22.
struct ListExample : World {
    State s0;
    State s1;
    MapImage next;
    CommitPlan plan;
    std::vector<test::NewFlow> flows;
    std::vector<std::uint32_t> slots;

    ListExample() {
        vpc("v").group("v/g").list("L", {"198.51.100.1/32"});
        rule("v/g", SG_IN, kTcp, {22, 22}, list_peer("L"));
        interface("one", "v", {"10.0.0.1/32"}, {"v/g"});
        commit();
        s0 = state;
        state.groups.at("v/g").rules[SG_IN][0].ports = {80, 80};
        list("L", {"198.51.100.1/32", "198.51.100.2/32"});
        s1 = state;
        next = compiled();
        plan = plan_commit(image, next, maps.generation());
        for (const char* peer : {"198.51.100.1", "198.51.100.2", "198.51.100.3"}) {
            for (const std::uint16_t port : std::initializer_list<std::uint16_t>{22, 80}) {
                flows.push_back({"one", SG_IN, test::address("10.0.0.1"), test::address(peer), kTcp, port});
                slots.push_back(*image.interface_slot(at("one").id));
            }
        }
    }

    // How many stops of the plan show neither S0 nor S1 whole.
    std::size_t mixtures() {
        std::size_t found = 0;
        for (std::size_t stop = 0; stop <= plan.edits(); ++stop) {
            test::FakeDatapath copy = maps;
            CommitHooks hooks{[stop](std::size_t edit) { return edit < stop; }};
            (void)run_commit(copy, plan, &hooks);
            const bool is_s0 = test::differs(copy, copy.generation(), s0, flows, slots).empty();
            const bool is_s1 = test::differs(copy, copy.generation(), s1, flows, slots).empty();
            found += is_s0 || is_s1 ? 0 : 1;
        }
        return found;
    }
};

TEST(Commit, ListAndRuleChangeTogether) {
    ListExample example;
    ASSERT_GE(example.plan.publish.size(), 2U) << "the policy slot and the list";
    EXPECT_EQ(example.mixtures(), 0U);
}

TEST(Commit, WithoutVersionsTheSameEditsShowAMixture) {
    // The test of the test: the same plan, every published value written settled.
    ListExample example;
    EditList in_place;
    for (std::size_t i = 0; i < example.plan.publish.size(); ++i) {
        const EditList::Edit edit = example.plan.publish[i];
        const auto settle = [&]<MapId map>() {
            typename MapTypes<map>::Key key;
            sg_versioned value;
            std::memcpy(&key, edit.key.data(), sizeof(key));
            std::memcpy(&value, edit.value.data(), sizeof(value));
            value = {(value.values >> 32) << 32 | value.values >> 32, 0};
            in_place.put<map>(key, value);
        };
        if (edit.map == MapId::kLists4) {
            settle.operator()<MapId::kLists4>();
        } else {
            ASSERT_EQ(edit.map, MapId::kPolicySlots);
            settle.operator()<MapId::kPolicySlots>();
        }
    }
    example.plan.publish = in_place;
    EXPECT_GT(example.mixtures(), 0U);
}

TEST(Commit, APacketThatReadTheGenerationBeforeTheFlipStillSeesTheOldState) {
    ListExample example;
    const std::size_t flip = example.plan.before.size() + example.plan.publish.size();
    CommitHooks hooks{[flip](std::size_t edit) { return edit < flip; }};
    const auto stopped = run_commit(example.maps, example.plan, &hooks);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kRefused);
    EXPECT_EQ(stopped.error().message, "stopped");
    EXPECT_EQ(test::differs(example.maps, example.plan.from, example.s0, example.flows, example.slots), "");
    EXPECT_EQ(test::differs(example.maps, example.plan.to, example.s1, example.flows, example.slots), "");
    EXPECT_EQ((*example.maps.control()).pending, example.plan.to);
}

TEST(Commit, OneMapWriteNeedsNoVersions) {
    World world;
    world.vpc("v").group("v/g").list("L", {"198.51.100.1/32"});
    world.rule("v/g", SG_IN, kTcp, {22, 22}, list_peer("L"));
    world.interface("one", "v", {"10.0.0.1/32"}, {"v/g"});
    world.commit();
    world.list("L", {"198.51.100.1/32", "198.51.100.2/32"});
    const std::size_t grace_periods = world.maps.grace_periods;
    world.commit();
    EXPECT_TRUE(world.last_plan.single_write);
    EXPECT_EQ(world.last_plan.edits(), 1U);
    EXPECT_EQ(world.maps.grace_periods, grace_periods + 1)
        << "two single writes in a row could otherwise meet in one packet";
    EXPECT_EQ(test::differs(world.maps, world.image), "");
}

TEST(Commit, AnErrorOfTheDatapathLeavesTheCommitPending) {
    ListExample example;
    example.maps.stop_after_edits = example.plan.before.size() + 1;
    const auto failed = run_commit(example.maps, example.plan);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kSystem);
    EXPECT_EQ((*example.maps.control()).pending, example.plan.to);
    example.maps.stop_after_edits.reset();
    const auto repaired = repair(example.maps);
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_EQ((*example.maps.control()).pending, 0U);
    EXPECT_EQ(digest(*repaired), digest(example.image)) << "exactly what was in force before";
}

TEST(Commit, RepairRemovesTombstonesAndRowsToCome) {
    // Both stand inside a longer-lived prefix and say what would be inherited anyway.
    World world;
    world.vpc("v").group("v/g").list("wide", {"10.0.0.0/16"}).list("narrow", {"10.0.1.0/24"});
    world.rule("v/g", SG_IN, kTcp, {22, 22}, list_peer("wide"));
    world.rule("v/g", SG_IN, kTcp, {23, 23}, list_peer("narrow"));
    world.interface("one", "v", {"10.9.0.1/32"}, {"v/g"});
    world.commit();
    world.list("narrow", {"10.0.2.0/24"});
    const MapImage next = world.compiled();
    const CommitPlan plan = plan_commit(world.image, next, world.maps.generation());
    const std::size_t flip = plan.before.size() + plan.publish.size();
    for (const bool flipped : {false, true}) {
        test::FakeDatapath maps = world.maps;
        CommitHooks hooks{[&](std::size_t edit) { return edit + (flipped ? 0 : 1) < flip; }};
        ASSERT_FALSE(run_commit(maps, plan, &hooks));
        ASSERT_EQ(maps.generation() == plan.to, flipped);
        const auto repaired = repair(maps);
        ASSERT_TRUE(repaired);
        EXPECT_EQ(digest(*repaired), digest(flipped ? next : world.image));
        EXPECT_EQ(test::differs(maps, flipped ? next : world.image), "");
    }
}

TEST(Commit, StatsCountTheWrites) {
    ListExample example;
    const auto stats = run_commit(example.maps, example.plan);
    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->writes, example.plan.edits());
    EXPECT_EQ(example.maps.generation(), example.plan.to);
    EXPECT_EQ((*example.maps.control()).digest, digest(example.next));
}

}  // namespace
}  // namespace sgbpf
