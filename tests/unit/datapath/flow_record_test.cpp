// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Flow records as `show flows` reads them: while the packet path writes.
#include <algorithm>

#include <gtest/gtest.h>

#include "datapath/flows.hpp"

namespace sgbpf {
namespace {

constexpr std::uint64_t word(std::uint64_t incarnation, sg_flow_state state) {
    return (incarnation << 32) | state;
}

sg_flow tcp_flow(sg_flow_state state) {
    sg_flow flow{};
    flow.key.family = SG_IPV4;
    flow.key.protocol = 6;
    flow.key.interface_slot = 3;
    flow.key.remote[0] = 198;
    flow.key.remote[1] = 51;
    flow.key.remote[2] = 100;
    flow.key.remote[3] = 7;
    flow.word = word(1, state);
    return flow;
}

Prefix prefix(std::array<std::uint8_t, 4> bytes, std::uint8_t length) {
    Prefix made;
    std::copy(bytes.begin(), bytes.end(), made.address.bytes.begin());
    made.length = length;
    return made;
}

template <typename Change> FlowFilter filter(Change change) {
    FlowFilter made;
    change(made);
    return made;
}
FlowFilter on_slot(std::uint32_t slot) {
    return filter([slot](FlowFilter& f) { f.interface_slot = slot; });
}
FlowFilter on_peer(const Prefix& peer) {
    return filter([&peer](FlowFilter& f) { f.peer = peer; });
}
FlowFilter on_protocol(Protocol protocol) {
    return filter([protocol](FlowFilter& f) { f.protocol = protocol; });
}
const FlowFilter kEstablished = filter([](FlowFilter& f) { f.established_only = true; });

TEST(FlowRecord, IsNoFlowWhileFreeOrBusy) {
    EXPECT_FALSE(copy_live_flow(tcp_flow(SG_FLOW_FREE), [] {}));
    EXPECT_FALSE(copy_live_flow(tcp_flow(SG_FLOW_BUSY), [] {}));
    EXPECT_TRUE(copy_live_flow(tcp_flow(SG_FLOW_SYN_SENT), [] {}));
}

TEST(FlowRecord, FitsAFilterOnEveryField) {
    const sg_flow flow = tcp_flow(SG_FLOW_ESTABLISHED);
    EXPECT_TRUE(matches(flow, {}));
    EXPECT_TRUE(matches(flow, on_slot(3)));
    EXPECT_FALSE(matches(flow, on_slot(4)));
    EXPECT_TRUE(matches(flow, on_peer(prefix({198, 51, 100, 0}, 24))));
    EXPECT_TRUE(matches(flow, on_peer(prefix({198, 51, 100, 6}, 31))));
    EXPECT_FALSE(matches(flow, on_peer(prefix({198, 51, 100, 4}, 31))));
    EXPECT_FALSE(matches(flow, on_peer(prefix({198, 51, 101, 0}, 24))));
    EXPECT_TRUE(matches(flow, on_peer(prefix({0, 0, 0, 0}, 0))));
    Prefix any6;
    any6.address.family = Family::kIpv6;
    EXPECT_FALSE(matches(flow, on_peer(any6)));
    EXPECT_TRUE(matches(flow, on_protocol(6)));
    EXPECT_TRUE(matches(flow, on_protocol(kAllProtocols)));
    EXPECT_FALSE(matches(flow, on_protocol(17)));
    EXPECT_TRUE(matches(flow, kEstablished));
    EXPECT_FALSE(matches(tcp_flow(SG_FLOW_SYN_SENT), kEstablished));
}

TEST(FlowRecord, IsEstablishedOnceTheOtherSideAnswered) {
    for (int state = 0; state < SG_FLOW_STATES; ++state) {
        const bool expected = state == SG_FLOW_ESTABLISHED || state == SG_FLOW_FIN_WAIT ||
                              state == SG_FLOW_CLOSE_WAIT || state == SG_FLOW_TIME_WAIT ||
                              state == SG_FLOW_UDP_ANSWERED || state == SG_FLOW_UDP_ASKED_AGAIN ||
                              state == SG_FLOW_UDP_STREAM;
        EXPECT_EQ(is_established(tcp_flow(static_cast<sg_flow_state>(state))), expected) << state;
    }
    sg_flow ping = tcp_flow(SG_FLOW_ICMP);
    EXPECT_FALSE(is_established(ping));
    ping.packets[1] = 1;
    EXPECT_TRUE(is_established(ping));
}

// Another CPU gives the record to a new flow while it is copied. No copy may have one flow's key and the
// other's word.
TEST(FlowRecord, IsCopiedAgainWhenItChangesHands) {
    sg_flow record = tcp_flow(SG_FLOW_ESTABLISHED);
    int looks = 0;
    const auto copy = copy_live_flow(record, [&] {
        if (++looks == 1) {
            record.key.remote[3] = 8;
            record.rule = 99;
            record.word = word(2, SG_FLOW_SYN_SENT);
        }
    });
    ASSERT_TRUE(copy);
    EXPECT_EQ(looks, 2);
    EXPECT_EQ(copy->key.remote[3], 8);
    EXPECT_EQ(copy->rule, 99U);
    EXPECT_EQ(copy->word, word(2, SG_FLOW_SYN_SENT));
}

TEST(FlowRecord, IsNoFlowWhenItIsFreedMeanwhile) {
    sg_flow record = tcp_flow(SG_FLOW_ESTABLISHED);
    EXPECT_FALSE(copy_live_flow(record, [&] { record.word = word(2, SG_FLOW_FREE); }));
}

// A change of state alone is no change of hands.
TEST(FlowRecord, TakesTheStateOfTheLastLook) {
    sg_flow record = tcp_flow(SG_FLOW_SYN_SENT);
    const auto copy = copy_live_flow(record, [&] { record.word = word(1, SG_FLOW_ESTABLISHED); });
    ASSERT_TRUE(copy);
    EXPECT_EQ(copy->word, word(1, SG_FLOW_ESTABLISHED));
}

TEST(FlowRecord, IsGivenUpWhenItChangesHandsEveryTime) {
    sg_flow record = tcp_flow(SG_FLOW_ESTABLISHED);
    std::uint64_t incarnation = 1;
    EXPECT_FALSE(copy_live_flow(record, [&] { record.word = word(++incarnation, SG_FLOW_ESTABLISHED); }));
    EXPECT_EQ(incarnation, 1U + kCopyTries);
}

}  // namespace
}  // namespace sgbpf
