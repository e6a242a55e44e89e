// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The flow table through the real programs: what opens, hits, expires, is swept, flushed and refused.
#include <algorithm>
#include <gtest/gtest.h>

#include <cstring>

#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint64_t kStart = 1'000'000;
constexpr std::uint64_t kSecond = 1000;

State state_with(const std::vector<std::string>& addresses = {"10.0.1.10", "2001:db8:a:1::10"}) {
    StateBuilder builder;
    builder.vpc("v").group("v/g");
    builder.allow("v/g", SG_IN, kTcp, 1, 65535, "192.0.2.0/24").allow("v/g", SG_IN, kUdp, 53, 53, "192.0.2.0/24");
    builder.allow("v/g", SG_OUT, kUdp, 1, 65535, "192.0.2.0/24");
    builder.interface("a", {"v/g"}, addresses);
    return builder;
}

Bytes in_tcp(std::uint8_t flags, std::uint16_t from = 40000) {
    return Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
           Tcp{.from = from, .to = 80, .flags = flags};
}
Bytes out_tcp(std::uint8_t flags, std::uint16_t to = 40000) {
    return Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.7"} /
           Tcp{.from = 80, .to = to, .flags = flags};
}

class FlowTable : public testing::Test {
protected:
    void SetUp() override { make(small_capacities()); }
    void make(const Capacities& capacities) {
        State state = state_with();
        state.interfaces.at("a").tracking = {.max_flows = capacities.flows, .max_opening = capacities.flows};
        auto policy = LivePolicy::make(state, capacities);
        ASSERT_TRUE(policy) << policy.error().message;
        policy_ = std::move(*policy);
    }
    sg_reason in(const Bytes& frame, std::uint64_t now = kStart) {
        return policy_->judge(SG_IN, "a", frame, now).reason;
    }
    sg_reason out(const Bytes& frame, std::uint64_t now = kStart) {
        return policy_->judge(SG_OUT, "a", frame, now).reason;
    }
    void establish(std::uint64_t now = kStart, std::uint16_t port = 40000) {
        ASSERT_EQ(in(in_tcp(kSyn, port), now), SG_REASON_RULE);
        ASSERT_EQ(out(out_tcp(kSyn | kAck, port), now), SG_REASON_TRACKED);
        ASSERT_EQ(in(in_tcp(kAck, port), now), SG_REASON_TRACKED);
    }
    sg_flow only_flow() {
        const auto flows = policy_->programs().live_flows();
        EXPECT_EQ(flows.size(), 1u);
        return flows.empty() ? sg_flow{} : flows.front();
    }
    std::unique_ptr<LivePolicy> policy_;
};

TEST_F(FlowTable, RecordSaysWhatHappened) {
    establish();
    EXPECT_EQ(out(out_tcp(kAck | kPsh), kStart + 7), SG_REASON_TRACKED);
    const sg_flow flow = only_flow();
    EXPECT_EQ(SG_WORD_STATE(flow.word), SG_FLOW_ESTABLISHED);
    EXPECT_EQ(SG_WORD_FLAGS(flow.word), 0);  // opened from outside
    EXPECT_EQ(flow.last_seen, kStart + 7);
    EXPECT_EQ(flow.created, kStart);
    EXPECT_EQ(flow.packets[0], 2u);
    EXPECT_EQ(flow.packets[1], 2u);
    EXPECT_EQ(flow.bytes[0], 2 * in_tcp(kSyn).size());
    EXPECT_EQ(std::string(policy_->image().rule_id(flow.rule)).substr(0, 4), "sgr-");
    const auto counters = policy_->programs().sandbox().read_rule_counters({flow.rule});
    ASSERT_TRUE(counters);
    EXPECT_EQ((*counters)[0].packets, 4u);
}

TEST_F(FlowTable, MidStreamSegmentsNeverMakeAnEntry) {  // SG-5.8, SG-5.9
    for (const int flags : {+kAck, kAck | kPsh, kSyn | kAck, kFin | kAck, +kRst, 0}) {
        EXPECT_EQ(in(in_tcp(static_cast<std::uint8_t>(flags))), SG_REASON_RULE) << flags;
        EXPECT_EQ(out(out_tcp(static_cast<std::uint8_t>(flags))), SG_REASON_NO_RULE) << flags;
    }
    EXPECT_TRUE(policy_->programs().live_flows().empty());
}

TEST_F(FlowTable, AnotherPortPairIsAnotherFlow) {  // SG-5.2
    establish();
    EXPECT_EQ(out(out_tcp(kAck, 40001)), SG_REASON_NO_RULE);
}

TEST_F(FlowTable, ExpiresByTheTimerOfItsStateWithoutTheSweeper) {  // SG-5.35
    ASSERT_EQ(in(in_tcp(kSyn)), SG_REASON_RULE);
    EXPECT_EQ(out(out_tcp(kSyn | kAck), kStart + 120 * kSecond), SG_REASON_TRACKED);
    EXPECT_EQ(out(out_tcp(kAck), kStart + 120 * kSecond + 60 * kSecond + 1), SG_REASON_NO_RULE);
}

TEST_F(FlowTable, SweeperFreesExpiredFlowsOnly) {
    establish();
    ASSERT_EQ(in(in_tcp(kSyn, 50000)), SG_REASON_RULE);
    const std::uint64_t free_before = policy_->programs().free_flow_slots();
    policy_->programs().sweep_once(kStart + 121 * kSecond);  // at the timeout plus the sweeper's second
    EXPECT_EQ(policy_->programs().live_flows().size(), 2u);
    policy_->programs().sweep_once(kStart + 121 * kSecond + 1);
    EXPECT_EQ(policy_->programs().live_flows().size(), 1u);
    EXPECT_EQ(SG_WORD_STATE(only_flow().word), SG_FLOW_ESTABLISHED);
    EXPECT_EQ(policy_->programs().free_flow_slots(), free_before + 1);
}

TEST_F(FlowTable, ExpiredEntryIsTakenOverInPlace) {
    ASSERT_EQ(in(in_tcp(kSyn)), SG_REASON_RULE);
    const sg_flow before = only_flow();
    ASSERT_EQ(in(in_tcp(kSyn), kStart + 1000 * kSecond), SG_REASON_RULE);
    const sg_flow after = only_flow();
    EXPECT_EQ(after.packets[0], 1u);
    EXPECT_EQ(after.created, kStart + 1000 * kSecond);
    EXPECT_NE(SG_WORD_INCARNATION(before.word), SG_WORD_INCARNATION(after.word));
}

TEST_F(FlowTable, NewSynOnAClosingTupleIsJudgedByTheRulesAgain) {  // SG-5.63
    establish();
    ASSERT_EQ(in(in_tcp(kRst)), SG_REASON_TRACKED);
    EXPECT_EQ(SG_WORD_STATE(only_flow().word), SG_FLOW_RESET);
    EXPECT_EQ(in(in_tcp(kSyn)), SG_REASON_RULE);
    EXPECT_EQ(SG_WORD_STATE(only_flow().word), SG_FLOW_SYN_SENT);
    ASSERT_EQ(in(in_tcp(kRst)), SG_REASON_TRACKED);
    State closed = state_with();
    closed.groups.at("v/g").rules[SG_IN].clear();
    ASSERT_TRUE(policy_->commit(closed));
    EXPECT_EQ(in(in_tcp(kSyn)), SG_REASON_NO_RULE);
}

TEST_F(FlowTable, SynOfAnEstablishedFlowBelongsToIt) {
    establish();
    EXPECT_EQ(in(in_tcp(kSyn)), SG_REASON_TRACKED);
    EXPECT_EQ(SG_WORD_STATE(only_flow().word), SG_FLOW_ESTABLISHED);
}

// SG-13.19: segments with impossible flags are judged by the rules alone, whatever flow their tuple names.
TEST_F(FlowTable, ImpossibleFlagsNeverRideOnAFlow) {
    establish();
    const sg_flow before = only_flow();
    for (const int flags : {0, kSyn | kFin, kSyn | kRst, +kFin, 0x3f}) {
        EXPECT_EQ(out(out_tcp(static_cast<std::uint8_t>(flags)), kStart + 5), SG_REASON_NO_RULE) << flags;
        EXPECT_EQ(in(in_tcp(static_cast<std::uint8_t>(flags)), kStart + 5), SG_REASON_RULE) << flags;
    }
    EXPECT_EQ(only_flow().last_seen, before.last_seen);
    EXPECT_EQ(only_flow().word, before.word);
}

// A rule about AH (51) admits what carries AH; it must not open the upper layer's tuple without it.
TEST_F(FlowTable, RuleAboutAhOpensNothingForPlainPackets) {
    StateBuilder builder;
    builder.vpc("v").group("v/g").allow("v/g", SG_IN, 51, 0, 0, "2001:db8:51::/48");
    builder.interface("a", {"v/g"}, {"2001:db8:a:1::10"});
    ASSERT_TRUE(policy_->commit(builder));
    const Ipv6 ip{.source = "2001:db8:51::1", .destination = "2001:db8:a:1::10"};
    EXPECT_EQ(in(Ethernet{} / ip / Extension{.type = 51, .body = Bytes(14)} / Tcp{.to = 22}), SG_REASON_RULE);
    EXPECT_EQ(in(Ethernet{} / ip / Tcp{.to = 22}), SG_REASON_NO_RULE);
    EXPECT_TRUE(policy_->programs().live_flows().empty());
}

TEST_F(FlowTable, FullTableRefusesNewFlowsAndKeepsOldOnes) {  // SG-5.46, SG-5.50
    Capacities capacities = small_capacities();
    capacities.flows = 4;  // slot 0 is never used
    make(capacities);
    establish(kStart, 1001);
    establish(kStart, 1002);
    establish(kStart, 1003);
    EXPECT_EQ(in(in_tcp(kSyn, 1004)), SG_REASON_NO_CAPACITY);
    EXPECT_EQ(in(in_tcp(kAck, 1002)), SG_REASON_TRACKED);
    EXPECT_EQ(out(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.53"} / Udp{.to = 53}),
              SG_REASON_NO_CAPACITY);
    ASSERT_EQ(in(in_tcp(kRst, 1002)), SG_REASON_TRACKED);
    policy_->programs().sweep_once(kStart + 12 * kSecond);
    EXPECT_EQ(in(in_tcp(kSyn, 1004), kStart + 12 * kSecond), SG_REASON_RULE);
}

// SG-1.32 for flows that exist already: an address that leaves the interface stops at the next packet.
TEST_F(FlowTable, FlowOfAnAddressThatLeftIsStopped) {
    establish();
    ASSERT_TRUE(policy_->commit(state_with({"10.0.1.11", "2001:db8:a:1::10"})));
    EXPECT_EQ(in(in_tcp(kAck)), SG_REASON_SOURCE_DEST);
    EXPECT_EQ(out(out_tcp(kAck)), SG_REASON_SOURCE_DEST);
    ASSERT_TRUE(policy_->commit(state_with({"10.0.1.10", "10.0.1.11"})));
    EXPECT_EQ(in(in_tcp(kAck)), SG_REASON_TRACKED);
}

TEST_F(FlowTable, FragmentsAndOptionsUseTheSameEntry) {
    establish();
    const Bytes with_options = Ethernet{} /
                               Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10", .options = Bytes(8)} /
                               Tcp{.from = 40000, .to = 80, .flags = kAck};
    EXPECT_EQ(in(with_options), SG_REASON_TRACKED);
    const Bytes first = Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10", .more = true} /
                        Tcp{.from = 40000, .to = 80, .flags = kAck} / Raw{Bytes(60)};
    EXPECT_EQ(in(first), SG_REASON_TRACKED);
    const auto records = policy_->programs().live_flows();
    EXPECT_EQ(std::count_if(records.begin(), records.end(),
                            [](const sg_flow& flow) { return SG_WORD_STATE(flow.word) != SG_FLOW_FRAGMENT; }),
              1);
}

TEST_F(FlowTable, RequestToAGroupAddressGivesNoRightToAnswer) {  // SG-5.65
    State state = state_with();
    StateBuilder more;
    more.vpc("v").group("v/g").allow("v/g", SG_OUT, kUdp, 5353, 5353, "224.0.0.0/4", "sgr-000000000000000ff");
    state.groups.at("v/g").rules[SG_OUT].push_back(more.state().groups.at("v/g").rules[SG_OUT].front());
    ASSERT_TRUE(policy_->commit(state));
    EXPECT_EQ(
        out(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "224.0.0.251"} / Udp{.from = 5353, .to = 5353}),
        SG_REASON_RULE);
    EXPECT_TRUE(policy_->programs().live_flows().empty());
}

struct FlushRow {
    const char* name;
    FlowFilter what;
    std::uint64_t removed;
};

TEST_F(FlowTable, SG_5_26_FlushTakesWhatWasAskedFor) {
    const auto fill = [this] {
        ASSERT_TRUE(policy_->flush_all());
        establish(kStart, 1001);
        establish(kStart, 1002);
        ASSERT_EQ(out(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.53"} / Udp{.to = 53}),
                  SG_REASON_RULE);
    };
    const auto peer = [](const char* text) {
        FlowFilter filter;
        filter.peer = Prefix::parse(text)->prefix;
        return filter;
    };
    const auto at = [](std::uint32_t slot) {
        FlowFilter filter;
        filter.interface_slot = slot;
        return filter;
    };
    FlowFilter tcp;
    tcp.protocol = kTcp;
    const std::uint32_t slot = policy_->slot("a");
    const FlushRow rows[] = {
        {"everything", {}, 3},
        {"the interface", at(slot), 3},
        {"another interface", at(slot + 1), 0},
        {"one peer", peer("192.0.2.53/32"), 1},
        {"a prefix", peer("192.0.2.0/27"), 2},
        {"a prefix of the other family", peer("::/0"), 0},
        {"a protocol", tcp, 2},
    };
    for (const FlushRow& row : rows) {
        SCOPED_TRACE(row.name);
        fill();
        const auto removed = policy_->programs().sandbox().flush_flows(row.what);
        ASSERT_TRUE(removed);
        EXPECT_EQ(*removed, row.removed);
        EXPECT_EQ(policy_->programs().live_flows().size(), 3 - row.removed);
        EXPECT_EQ(policy_->programs().free_flow_slots(), small_capacities().flows - 1 - (3 - row.removed));
    }
}

}  // namespace
}  // namespace sgbpf::test
