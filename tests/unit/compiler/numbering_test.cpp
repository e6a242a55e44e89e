// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What stays the same keeps its number, and a change touches no more than it must.
#include <set>

#include <gtest/gtest.h>

#include "tests/support/world.hpp"

namespace sgbpf {
namespace {

using test::group_peer;
using test::prefix;
using test::World;

struct ThreeGroups : World {
    ThreeGroups() {
        vpc("v").group("v/a").group("v/b").group("v/c");
        interface("one", "v", {"10.0.0.1/32"}, {"v/a"});
        interface("two", "v", {"10.0.0.2/32"}, {"v/b"});
        interface("three", "v", {"10.0.0.3/32"}, {"v/a", "v/b"});
        for (const char* group : {"v/a", "v/b"}) {
            for (std::uint16_t port = 1; port <= 20; ++port) {
                rule(group, SG_IN, kTcp, {port, port}, prefix("192.0.2." + std::to_string(port) + "/32"));
            }
            rule(group, SG_OUT, kAllProtocols, {}, prefix("0.0.0.0/0"));
        }
        commit();
    }
    std::set<MapId> maps_touched() const {
        std::set<MapId> touched;
        for (const EditList* edits : {&last_plan.before, &last_plan.publish, &last_plan.after}) {
            for (std::size_t i = 0; i < edits->size(); ++i) {
                touched.insert((*edits)[i].map);
            }
        }
        return touched;
    }
    std::uint32_t policy(const std::string& interface, std::uint32_t direction) const {
        const auto slot = *image.interface_slot(state.interfaces.at(interface).id);
        return image.policy_slots[image.interface_at(slot)->config.policy_slot[direction]].policy;
    }
};

TEST(Numbering, CompilingTheSameStateAgainChangesNothing) {
    ThreeGroups world;
    world.commit();
    EXPECT_EQ(world.last_plan.edits(), 0U);
}

TEST(Numbering, AOneRuleChangeTouchesThePoliciesOfThatGroupAndDirectionOnly) {
    ThreeGroups world;
    const std::uint32_t two_in = world.policy("two", SG_IN);
    const std::uint32_t one_out = world.policy("one", SG_OUT);
    const std::uint32_t one_in = world.policy("one", SG_IN);
    world.state.groups.at("v/a").rules[SG_IN][3].ports = {100, 100};
    world.commit();
    EXPECT_EQ(world.policy("two", SG_IN), two_in);
    EXPECT_EQ(world.policy("one", SG_OUT), one_out);
    EXPECT_NE(world.policy("one", SG_IN), one_in);
    EXPECT_EQ(world.last_plan.publish.size(), 2U) << "the slots of `one` and `three`, inbound";
    // 20 + 40 prefixes, classes and references, an interval, two policies; nothing per interface.
    EXPECT_LT(world.last_plan.before.size(), 200U);
    for (const MapId map : {MapId::kInterfaces, MapId::kMembers4, MapId::kLocals4, MapId::kRules}) {
        EXPECT_FALSE(world.maps_touched().contains(map)) << map_info(map).name;
    }
}

TEST(Numbering, ADescriptionChangesNothing) {  // SG-2.44
    ThreeGroups world;
    world.state.groups.at("v/a").rules[SG_IN][3].description = "new words";
    world.commit();
    EXPECT_EQ(world.last_plan.edits(), 0U);
}

TEST(Numbering, AJoinOfAKnownCombinationIsOneMemberWriteAndOneInterface) {
    ThreeGroups world;
    world.rule("v/a", SG_IN, kTcp, {22, 22}, group_peer("v/a"));
    world.rule("v/a", SG_IN, kTcp, {23, 23}, group_peer("v/b"));
    world.commit();
    world.interface("four", "v", {"10.0.0.4/32"}, {"v/a", "v/b"});
    world.commit();
    EXPECT_TRUE(world.last_plan.before.empty());
    EXPECT_EQ(world.last_plan.publish.size(), 3U) << "member, local address, interface";
}

TEST(Numbering, NumbersOfThePreviousImageAreNotReusedAtOnce) {
    ThreeGroups world;
    const std::uint32_t old_policy = world.policy("one", SG_IN);
    std::set<std::uint32_t> old_classes;
    for (const auto& numbered : world.image.policies[old_policy].policy->block.classes) {
        old_classes.insert(numbered.number);
    }
    world.state.groups.at("v/a").rules[SG_IN][0].peer = prefix("198.51.100.0/24");
    world.commit();
    EXPECT_NE(world.policy("one", SG_IN), old_policy);
    for (const auto& numbered : world.image.policies[world.policy("one", SG_IN)].policy->block.classes) {
        EXPECT_FALSE(old_classes.contains(numbered.number));
    }
    world.state.groups.at("v/a").rules[SG_IN][0].peer = prefix("198.51.101.0/24");
    world.commit();
    EXPECT_EQ(world.policy("one", SG_IN), old_policy) << "the freed number is the lowest";
}

TEST(Numbering, ALeavingInterfaceIsRetiredAndItsSlotComesBackOneCommitLater) {
    ThreeGroups world;
    const std::uint32_t slot = *world.image.interface_slot(world.state.interfaces.at("one").id);
    world.state.interfaces.erase("one");
    world.interface("new", "v", {"10.0.0.9/32"}, {"v/b"});
    world.commit();
    EXPECT_EQ(world.image.retired_interfaces, std::vector<std::uint32_t>{slot});
    EXPECT_NE(*world.image.interface_slot(world.state.interfaces.at("new").id), slot);
    EXPECT_EQ(world.maps.get<MapId::kInterfaces>(slot)->live, 0U);
    world.interface("newer", "v", {"10.0.0.10/32"}, {"v/b"});
    world.commit();
    EXPECT_EQ(*world.image.interface_slot(world.state.interfaces.at("newer").id), slot);
    EXPECT_TRUE(world.image.retired_interfaces.empty());
}

TEST(Numbering, TheEpochMovesWithAddressesAndTheSourceCheckOnly) {
    ThreeGroups world;
    const auto epoch = [&] {
        return world.image.interface_at(*world.image.interface_slot(world.at("one").id))->config.epoch;
    };
    const std::uint32_t start = epoch();
    world.at("one").timeouts.udp = 60;
    world.commit();
    EXPECT_EQ(epoch(), start);
    world.at("one").addresses.push_back(prefix("10.0.0.11/32"));
    world.commit();
    EXPECT_EQ(epoch(), start + 1);
    world.at("one").allowed_addresses.push_back(prefix("10.1.0.0/16"));
    world.commit();
    EXPECT_EQ(epoch(), start + 2);
    world.at("one").source_dest_check = false;
    world.commit();
    EXPECT_EQ(epoch(), start + 3);
    world.at("one").groups = {"v/b"};
    world.commit();
    EXPECT_EQ(epoch(), start + 3);
}

TEST(Numbering, AQuarantineIsOneWriteAndLeavesTheEpochAlone) {
    ThreeGroups world;
    const std::uint32_t slot = *world.image.interface_slot(world.at("one").id);
    const std::uint32_t epoch = world.image.interface_at(slot)->config.epoch;
    world.at("one").quarantine = true;
    world.commit();
    EXPECT_TRUE(world.last_plan.single_write);
    const sg_interface record = *world.maps.get<MapId::kInterfaces>(slot);
    const sg_interface_config& config = record.config[record.current.values >> 32];
    EXPECT_EQ(config.flags & SG_IF_QUARANTINE, std::uint32_t{SG_IF_QUARANTINE});
    EXPECT_EQ(config.epoch, epoch);
}

TEST(Numbering, AListThatChangesItsFamilyMakesNewPolicies) {
    ThreeGroups world;
    world.list("L", {"192.0.2.0/24"});
    world.rule("v/a", SG_IN, kTcp, {22, 22}, test::list_peer("L"));
    world.at("one").addresses.push_back(prefix("2001:db8::1/128"));
    world.commit();
    world.list("L", {"2001:db8:f::/48"});
    world.commit();
    EXPECT_NE(world.admits("one", SG_IN, "2001:db8:f::1", kTcp, 22), "");
    EXPECT_EQ(world.admits("one", SG_IN, "192.0.2.200", kTcp, 22), "");
}

TEST(Numbering, ARuleKeepsItsSlotAndARetiredOneIsRememberedByItsId) {
    ThreeGroups world;
    Rule rule = world.state.groups.at("v/a").rules[SG_IN][5];
    const std::uint32_t slot = *world.image.rule_slot(rule.id);
    world.state.groups.at("v/a").rules[SG_IN].erase(world.state.groups.at("v/a").rules[SG_IN].begin() + 5);
    world.commit();
    EXPECT_EQ(world.image.rule_id(slot), rule.id);
    EXPECT_EQ(world.image.retired_rule_slots(), std::vector<std::uint32_t>{slot});
    EXPECT_EQ(world.maps.get<MapId::kRules>(slot)->live, 0U);
    world.state.groups.at("v/a").rules[SG_IN].push_back(rule);  // a roll-back
    world.commit();
    EXPECT_EQ(*world.image.rule_slot(rule.id), slot);
    EXPECT_TRUE(world.image.retired_rule_slots().empty());
}

TEST(Numbering, RetiredRuleSlotsAreReusedOnlyWhenAllowedAndNeeded) {
    test::StateBuilder builder;
    builder.vpc("v").group("v/a").interface("one", "v", {"10.0.0.1/32"}, {"v/a"});
    Capacities capacities;
    capacities.rules = 4;  // slots 1..3
    const std::string first = builder.rule("v/a", SG_IN, kTcp, {1, 1}, prefix("0.0.0.0/0"));
    builder.rule("v/a", SG_IN, kTcp, {2, 2}, prefix("0.0.0.0/0"));
    MapImage image = *compile({builder.state, MapImage{}, capacities, nullptr});
    std::vector<Rule>& rules = builder.state.groups.at("v/a").rules[SG_IN];
    rules.erase(rules.begin());
    builder.rule("v/a", SG_IN, kTcp, {3, 3}, prefix("0.0.0.0/0"));
    image = *compile({builder.state, image, capacities, nullptr});
    EXPECT_EQ(image.rule_slot(first), 1U) << "slot 3 had never been used";
    builder.rule("v/a", SG_IN, kTcp, {4, 4}, prefix("0.0.0.0/0"));
    const auto refused = compile({builder.state, image, capacities, nullptr});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kExhausted);
    const std::vector<std::uint32_t> reusable = {1, 2};  // 2 is live: must not be taken
    const auto reused = compile({builder.state, image, capacities, &reusable});
    ASSERT_TRUE(reused) << reused.error().message;
    EXPECT_EQ(reused->rule_slot(rules.back().id), 1U);
    EXPECT_EQ(reused->rules.records[1].incarnation, 1U);
    EXPECT_FALSE(reused->rule_slot(first));
    EXPECT_EQ(reused->rule_slot(rules.front().id), 2U);
}

}  // namespace
}  // namespace sgbpf
