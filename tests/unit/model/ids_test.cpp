// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/ids.hpp"
#include "model/parse.hpp"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

State parse(const std::string& groups) {
    ParsedState parsed = parse_state("schema: sgbpf/v1\nvpcs: {prod: {cidrs: [10.0.0.0/16]}}\n"
                                     "prefix_lists: {office: {family: ipv4, max_entries: 1, entries: []}}\n" +
                                         groups,
                                     "s.yaml", "");
    EXPECT_TRUE(parsed.ok()) << (parsed.errors.empty() ? "" : parsed.errors[0].to_string());
    return std::move(parsed.state);
}

State web(const std::string& rules, const std::string& more = "") {
    return parse("groups: {web: {vpc: prod, description: W, inbound: [" + rules + "]" + more + "}}\n");
}

const std::vector<Rule>& inbound(const State& state) {
    return state.groups.at("prod/web").rules[SG_IN];
}

std::set<std::string> all_ids(const State& state) {
    std::set<std::string> ids;
    std::size_t count = 0;
    const auto add = [&](const std::string& id) {
        ids.insert(id);
        ++count;
    };
    for (const auto& [name, vpc] : state.vpcs) {
        add(vpc.id);
    }
    for (const auto& [name, list] : state.prefix_lists) {
        add(list.id);
    }
    for (const auto& [key, group] : state.groups) {
        add(group.id);
        for (const auto& rules : group.rules) {
            for (const Rule& rule : rules) {
                add(rule.id);
            }
        }
    }
    EXPECT_EQ(ids.size(), count) << "an id is given twice";
    return ids;
}

// Gives out what it is told to, then counts.
class Scripted final : public IdSource {
public:
    explicit Scripted(std::vector<std::string> bodies) : bodies_(std::move(bodies)) {}
    std::string next(std::string_view prefix) override {
        if (at_ < bodies_.size()) {
            return std::string(prefix) + bodies_[at_++];
        }
        return counting_.next(prefix);
    }

private:
    std::vector<std::string> bodies_;
    std::size_t at_ = 0;
    CountingIds counting_{1000};
};

TEST(Ids, HaveTheSpecifiedForm) {  // SG-1.1, SG-1.2
    RandomIds random;
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) {
        const std::string id = random.next("sgr-");
        EXPECT_EQ(id.size(), 21U);
        EXPECT_TRUE(is_id(id, "sgr-")) << id;
        EXPECT_TRUE(seen.insert(id).second);
    }
    EXPECT_TRUE(is_id("sg-1a2b3c4d", "sg-"));
    for (const char* text : {"", "sg-", "sg-1A2B3C4D", "sg-1a2b3c4", "sg-1a2b3c4d5", "sgr-1a2b3c4d",
                             "sg-0123456789abcdefg", "sg-0123456789abcdef01"}) {
        EXPECT_FALSE(is_id(text, "sg-")) << text;
    }
}

TEST(Ids, EverythingGetsOne) {
    State state = web("{type: http, cidr: [0.0.0.0/0, \"::/0\"]}, {type: ssh, prefix_list: office}");
    CountingIds ids;
    assign_ids(state, nullptr, ids);
    for (const std::string& id : all_ids(state)) {
        EXPECT_FALSE(id.empty());
    }
}

TEST(Ids, OfRulesThatStayStay) {  // SG-2.3, SG-2.32
    CountingIds ids;
    State before =
        web("{type: http, cidr: 10.0.0.0/8}, {type: ssh, prefix_list: office}, {protocol: all, group: self}");
    assign_ids(before, nullptr, ids);
    // Other order, other spelling, other description; one rule gone, one new.
    State after = web("{protocol: all, group: web, description: members}, {protocol: 6, port: 80, cidr: 10.1.1.1/8},"
                      " {type: https, cidr: 10.0.0.0/8}");
    assign_ids(after, &before, ids);
    EXPECT_EQ(inbound(after)[0].id, inbound(before)[2].id);
    EXPECT_EQ(inbound(after)[1].id, inbound(before)[0].id);
    EXPECT_FALSE(all_ids(before).contains(inbound(after)[2].id)) << "a rule that went gave its id to another";
    EXPECT_EQ(after.groups.at("prod/web").id, before.groups.at("prod/web").id);
    EXPECT_EQ(after.vpcs.at("prod").id, before.vpcs.at("prod").id);
    EXPECT_EQ(after.prefix_lists.at("office").id, before.prefix_lists.at("office").id);
}

TEST(Ids, AreNotSharedBetweenDirectionsOrGroups) {
    CountingIds ids;
    State before = web("{type: http, cidr: 10.0.0.0/8}", ", outbound: []");
    assign_ids(before, nullptr, ids);
    State after = web("", ", outbound: [{type: http, cidr: 10.0.0.0/8}]");
    assign_ids(after, &before, ids);
    EXPECT_NE(after.groups.at("prod/web").rules[SG_OUT][0].id, inbound(before)[0].id);
}

TEST(Ids, OfTheFileStand) {
    CountingIds ids;
    State before = web("{type: http, cidr: 10.0.0.0/8}, {type: https, cidr: 10.0.0.0/8}");
    assign_ids(before, nullptr, ids);
    const std::string http = inbound(before)[0].id;
    const std::string https = inbound(before)[1].id;
    // The file gives the id of the http rule to the https rule: the http rule needs another.
    State after =
        web("{type: http, cidr: 10.0.0.0/8}, {type: https, cidr: 10.0.0.0/8, id: " + http + "}", ", id: sg-1a2b3c4d");
    assign_ids(after, &before, ids);
    EXPECT_EQ(inbound(after)[1].id, http);
    EXPECT_NE(inbound(after)[0].id, http);
    EXPECT_NE(inbound(after)[0].id, https) << "the id the https rule had is not free either";
    EXPECT_EQ(after.groups.at("prod/web").id, "sg-1a2b3c4d");
    all_ids(after);
}

TEST(Ids, AreNeverReused) {  // SG-1.1
    CountingIds first;
    State before = web("{type: http, cidr: 10.0.0.0/8}");
    assign_ids(before, nullptr, first);
    const std::string old = inbound(before)[0].id.substr(4);
    State after = web("{type: https, cidr: 10.0.0.0/8}");
    // The source offers used bodies first, for every object.
    Scripted stubborn({old, old, old, std::string(17, '0')});
    assign_ids(after, &before, stubborn);
    EXPECT_NE(inbound(after)[0].id, "sgr-" + old);
    all_ids(after);
}

TEST(Ids, OfAnObjectThatCannotBeTheSameAreNew) {
    CountingIds ids;
    State before = parse("");
    assign_ids(before, nullptr, ids);
    State after = parse("");
    after.prefix_lists.at("office").family = Family::kIpv6;  // SG-1.36: immutable
    assign_ids(after, &before, ids);
    EXPECT_NE(after.prefix_lists.at("office").id, before.prefix_lists.at("office").id);
}

TEST(Ids, CountingOnesAreTheSameEachTime) {
    State a = web("{type: http, cidr: 10.0.0.0/8}");
    State b = web("{type: http, cidr: 10.0.0.0/8}");
    CountingIds first;
    CountingIds second;
    assign_ids(a, nullptr, first);
    assign_ids(b, nullptr, second);
    EXPECT_EQ(all_ids(a), all_ids(b));
}

}  // namespace
}  // namespace sgbpf
