// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.29 to SG-5.35: idle timers.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class TimerStatement : public Statement {
protected:
    [[nodiscard]] StateBuilder with(const Timeouts& timeouts) const {
        StateBuilder state = world();
        state.allow("v/g", SG_IN, kTcp, 80, 80, net()).allow("v/g", SG_OUT, kUdp, 53, 53, net());
        state.allow("v/g", SG_OUT, icmp(), -1, -1, net());
        state.state().interfaces.at("a").timeouts = timeouts;
        return state;
    }
    static constexpr Ends kDns{.peer_port = 53, .own_port = 5000};
};

TEST_P(TimerStatement, SG_5_29_EachInterfaceHasItsThreeTimers) {
    use(with({.tcp_established = 60, .udp = 45, .udp_stream = 90}));
    handshake(SG_IN);
    wait(60 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_TRACKED);
    wait(60 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_NO_RULE);

    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_RULE);
    wait(45 * kSecond);
    ASSERT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED);
    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_TRACKED);
    ASSERT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED);
    wait(90 * kSecond);
    EXPECT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED) << "a stream";
    wait(90 * kSecond + 1);
    EXPECT_EQ(udp(SG_IN, kDns), SG_REASON_NO_RULE);

    const Ends at_b{.peer_port = 53, .own_port = 6000};
    ASSERT_EQ(udp(SG_OUT, at_b, "b"), SG_REASON_RULE);
    wait(30 * kSecond + 1);
    EXPECT_EQ(udp(SG_IN, at_b, "b"), SG_REASON_NO_RULE) << "b has the default";
}

TEST_P(TimerStatement, SG_5_31_EveryAcceptedPacketRestartsTheTimer) {
    use(with({}));
    ASSERT_EQ(icmp_packet(SG_OUT, echo_request(), 7), SG_REASON_RULE);
    for (int i = 0; i < 3; ++i) {
        wait(29 * kSecond);
        EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_TRACKED);
        wait(29 * kSecond);
        EXPECT_EQ(icmp_packet(SG_OUT, echo_request(), 7), SG_REASON_TRACKED);
    }
    // Packets that are refused restart nothing.
    wait(29 * kSecond);
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_NO_RULE);
    wait(2 * kSecond);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_NO_RULE);
}

TEST_P(TimerStatement, SG_5_32_AStreamIsTheSecondReplyAfterASecondRequest) {
    use(with({}));
    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_RULE);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED);
    }
    EXPECT_NE(state_of_only_flow(), SG_FLOW_UDP_STREAM) << "one request and one long answer";
    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_TRACKED);
    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_TRACKED);
    EXPECT_NE(state_of_only_flow(), SG_FLOW_UDP_STREAM) << "the second request is not answered yet";
    wait(30 * kSecond);
    ASSERT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_UDP_STREAM);
    wait(180 * kSecond);
    EXPECT_EQ(udp(SG_OUT, kDns), SG_REASON_TRACKED);
    wait(180 * kSecond + 1);
    EXPECT_EQ(udp(SG_IN, kDns), SG_REASON_NO_RULE);
}

TEST_P(TimerStatement, SG_5_32_UnansweredOrAnsweredOnceStaysInTheShortTimer) {
    use(with({}));
    ASSERT_EQ(udp(SG_OUT, kDns), SG_REASON_RULE);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(udp(SG_OUT, kDns), SG_REASON_TRACKED);
    }
    ASSERT_EQ(udp(SG_IN, kDns), SG_REASON_TRACKED);
    wait(30 * kSecond + 1);
    EXPECT_EQ(udp(SG_IN, kDns), SG_REASON_NO_RULE);
}

TEST_P(TimerStatement, SG_5_33_AChangedTimerHoldsFromTheNextPacketOn) {
    use(with({.tcp_established = 1000}));
    handshake(SG_IN);
    wait(50 * kSecond);
    use(with({.tcp_established = 60}));
    EXPECT_EQ(tcp(SG_IN, kAck), SG_REASON_TRACKED);
    wait(60 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_TRACKED);
    use(with({.tcp_established = 1000}));
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_TRACKED);
    wait(1000 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_TRACKED);
    wait(1000 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_NO_RULE);
}

TEST_P(TimerStatement, SG_5_34_FinOfBothSidesOrRstEndsTheEstablishedTimer) {
    use(with({}));
    handshake(SG_IN);
    wait(400'000 * kSecond);
    ASSERT_EQ(tcp(SG_IN, kFin | kAck), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_FIN_WAIT);
    wait(120 * kSecond);
    ASSERT_EQ(tcp(SG_OUT, kFin | kAck), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_TIME_WAIT);
    wait(120 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kAck), SG_REASON_NO_RULE);

    handshake(SG_IN, {.peer_port = 40001});
    ASSERT_EQ(tcp(SG_OUT, kFin | kAck, {.peer_port = 40001}), SG_REASON_TRACKED);
    wait(60 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40001}), SG_REASON_TRACKED) << "close wait: 60 s";
    wait(60 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40001}), SG_REASON_NO_RULE);

    handshake(SG_IN, {.peer_port = 40002});
    ASSERT_EQ(tcp(SG_OUT, kRst | kAck, {.peer_port = 40002}), SG_REASON_TRACKED);
    wait(10 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40002}), SG_REASON_TRACKED);
    wait(10 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40002}), SG_REASON_NO_RULE);
}

// The timers of table 5.5 without a name: opening 120 and 60 s, ICMP 30 s; others in SG-5.4 and SG-5.34.
TEST_P(TimerStatement, SG_5_35_ExpiredMeansAbsentWithoutTheSweeper) {
    use(with({}));
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    wait(120 * kSecond);
    ASSERT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_TRACKED);
    wait(60 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_NO_RULE);
    ASSERT_EQ(icmp_packet(SG_OUT, echo_request(), 7), SG_REASON_RULE);
    wait(30 * kSecond + 1);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_NO_RULE);
    EXPECT_EQ(entries(), 2u) << "the records are still there; nobody swept";
    // A tuple whose entry expired is a new flow, in place of the old one.
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u);
}

SG_STATEMENTS(TimerStatement);

}  // namespace
}  // namespace sgbpf::test
