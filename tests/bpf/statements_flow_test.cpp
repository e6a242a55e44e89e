// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.1 to SG-5.10: what a flow is and what it promises; SG-5.43 to SG-5.45, SG-5.62 to SG-5.65: its corners.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

using FlowStatement = Statement;

TEST_P(FlowStatement, SG_5_1_RepliesToOutboundRequestsEnterWithoutInboundRules) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, kTcp, 443, 443, net()).allow("v/g", SG_OUT, kUdp, 53, 53, net());
    state.allow("v/g", SG_OUT, icmp(), -1, -1, net());
    use(state);
    const Ends web{.peer_port = 443, .own_port = 50000};
    EXPECT_EQ(tcp(SG_IN, kSyn | kAck, web), SG_REASON_NO_RULE);
    handshake(SG_OUT, web);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, web), SG_REASON_TRACKED);
    const Ends dns{.peer_port = 53, .own_port = 50001};
    EXPECT_EQ(udp(SG_IN, dns), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_OUT, dns), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_IN, dns), SG_REASON_TRACKED);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_NO_RULE);
    EXPECT_EQ(icmp_packet(SG_OUT, echo_request(), 7), SG_REASON_RULE);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_TRACKED);
}

TEST_P(FlowStatement, SG_5_1_RepliesToInboundTrafficLeaveWithoutOutboundRules) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net()).allow("v/g", SG_IN, kUdp, 53, 53, net());
    state.allow("v/g", SG_IN, icmp(), -1, -1, net()).allow("v/g", SG_IN, 47, 0, 0, net());
    use(state);
    handshake(SG_IN);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_TRACKED);
    const Ends dns{.peer_port = 50001, .own_port = 53};
    EXPECT_EQ(udp(SG_OUT, dns), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_IN, dns), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_OUT, dns), SG_REASON_TRACKED);
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_RULE);
    EXPECT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_TRACKED);
    EXPECT_EQ(other(SG_OUT, 47), SG_REASON_NO_RULE);
    EXPECT_EQ(other(SG_IN, 47), SG_REASON_RULE);
    EXPECT_EQ(other(SG_OUT, 47), SG_REASON_TRACKED);
}

TEST_P(FlowStatement, SG_5_2_AnotherPortPairOfTheSamePeerIsANewFlow) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net()).allow("v/g", SG_OUT, kUdp, 53, 53, net());
    use(state);
    handshake(SG_IN);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40001}), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.own_port = 81}), SG_REASON_NO_RULE);
    ASSERT_EQ(udp(SG_OUT, {.peer_port = 53, .own_port = 5000}), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 53, .own_port = 5001}), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 54, .own_port = 5000}), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 53, .own_port = 5000, .peer = 2}), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck, {.peer_port = 53, .own_port = 5000}), SG_REASON_NO_RULE) << "another protocol";
}

TEST_P(FlowStatement, SG_5_3_StateIsPerInterface) {
    StateBuilder state = world();
    // The address of `a` may be used at `b` too: only the state differs.
    state.state().interfaces.at("b").allowed_addresses = {StateBuilder::prefix("10.0.1.10/32"),
                                                          StateBuilder::prefix("2001:db8:a:1::10/128")};
    state.allow("v/g", SG_OUT, kUdp, 53, 53, net());
    state.state().interfaces.at("b").timeouts.udp = 60;
    use(state);
    const Ends dns{.peer_port = 53, .own_port = 5000};
    ASSERT_EQ(udp(SG_OUT, dns), SG_REASON_RULE);
    const Bytes answer = ip(SG_IN, 1) / Udp{.from = 53, .to = 5000};
    EXPECT_EQ(judge(SG_IN, answer, "b").reason, SG_REASON_NO_RULE);
    EXPECT_EQ(judge(SG_IN, answer, "a").reason, SG_REASON_TRACKED);
    ASSERT_EQ(judge(SG_OUT, ip(SG_OUT, 1) / Udp{.from = 5000, .to = 53}, "b").reason, SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u);
    wait(45 * kSecond);
    EXPECT_EQ(judge(SG_IN, answer, "a").reason, SG_REASON_NO_RULE) << "30 s at a";
    EXPECT_EQ(judge(SG_IN, answer, "b").reason, SG_REASON_TRACKED) << "60 s at b";
}

TEST_P(FlowStatement, SG_5_4_AnyOtherProtocolOpensTheWayBackForTenMinutes) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, 47, 0, 0, net());
    use(state);
    EXPECT_EQ(other(SG_IN, 47), SG_REASON_NO_RULE);
    ASSERT_EQ(other(SG_OUT, 47), SG_REASON_RULE);
    EXPECT_EQ(other(SG_IN, 47), SG_REASON_TRACKED);
    EXPECT_EQ(other(SG_IN, 47, 2), SG_REASON_NO_RULE) << "another host";
    EXPECT_EQ(other(SG_IN, 132), SG_REASON_NO_RULE) << "another protocol";
    wait(600 * kSecond);
    EXPECT_EQ(other(SG_IN, 47), SG_REASON_TRACKED) << "refreshed by the last packet";
    wait(600 * kSecond + 1);
    EXPECT_EQ(other(SG_IN, 47), SG_REASON_NO_RULE);
}

TEST_P(FlowStatement, SG_5_5_QueriesPairWithTheirReplyByIdentifier) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, icmp(), -1, -1, net());
    use(state);
    ASSERT_EQ(icmp_packet(SG_OUT, echo_request(), 7), SG_REASON_RULE);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 8), SG_REASON_NO_RULE) << "another identifier";
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_NO_RULE) << "a request is no reply";
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_TRACKED);
    EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 7), SG_REASON_TRACKED) << "several answers to one identifier";
    if (!v6()) {
        for (const auto& [request, reply] : {std::pair{13, 14}, {15, 16}, {17, 18}}) {
            EXPECT_EQ(icmp_packet(SG_IN, static_cast<std::uint8_t>(reply), 9), SG_REASON_NO_RULE) << reply;
            ASSERT_EQ(icmp_packet(SG_OUT, static_cast<std::uint8_t>(request), 9), SG_REASON_RULE) << request;
            EXPECT_EQ(icmp_packet(SG_IN, static_cast<std::uint8_t>(reply), 9), SG_REASON_TRACKED) << reply;
            EXPECT_EQ(icmp_packet(SG_IN, echo_reply(), 9), SG_REASON_NO_RULE) << "a reply of another pair";
        }
    }
}

TEST_P(FlowStatement, SG_5_6_OtherIcmpMessagesGiveNoRightToAReply) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, icmp(), -1, -1, anyone());
    use(state);
    // v4: router solicitation and redirect; v6: node information query (RFC 4620).
    for (const int type : v6() ? std::vector<int>{139, 1, 100} : std::vector<int>{10, 5, 30}) {
        EXPECT_EQ(icmp_packet(SG_OUT, static_cast<std::uint8_t>(type), 7), SG_REASON_RULE) << type;
    }
    EXPECT_EQ(entries(), 0u);
    for (const int type : v6() ? std::vector<int>{140, 139} : std::vector<int>{9, 10, 5}) {
        EXPECT_EQ(icmp_packet(SG_IN, static_cast<std::uint8_t>(type), 7), SG_REASON_NO_RULE) << type;
    }
    // Nor does a reply that nobody asked for.
    EXPECT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_RULE);
    EXPECT_EQ(entries(), 0u);
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_NO_RULE);
}

TEST_P(FlowStatement, SG_5_7_IcmpIsAlwaysTracked) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    ASSERT_EQ(entries(), 0u) << "with these rules TCP is untracked";
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_RULE);
    EXPECT_EQ(entries(), 1u);
    EXPECT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_TRACKED);
    EXPECT_EQ(icmp_packet(SG_OUT, echo_request(), 8), SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u);
}

TEST_P(FlowStatement, SG_5_8_OnlyAnOpeningSegmentMakesAnEntry) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    for (const int flags : {+kAck, kAck | kPsh, kSyn | kAck, kFin | kAck, +kRst, kRst | kAck, kSyn | kRst, kSyn | kFin,
                            +kFin, 0, +kPsh, +kUrg}) {
        EXPECT_EQ(tcp(SG_IN, flags), SG_REASON_RULE) << flags;
        EXPECT_EQ(entries(), 0u) << flags;
    }
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(entries(), 1u);
    EXPECT_EQ(tcp(SG_IN, kSyn | kPsh | kUrg, {.peer_port = 40001}), SG_REASON_RULE) << "ACK, RST and FIN are clear";
    EXPECT_EQ(entries(), 2u);
}

TEST_P(FlowStatement, SG_5_9_MidStreamSegmentsAreJudgedByTheRulesOfTheirDirection) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck, {.own_port = 81}), SG_REASON_NO_RULE);
}

TEST_P(FlowStatement, SG_5_10_InNormalModeAPlausibleTupleIsEnough) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    handshake(SG_IN);
    EXPECT_EQ(judge(SG_OUT, tcp_frame(SG_OUT, kAck, {}, {.sequence = 0xdeadbeef})).reason, SG_REASON_TRACKED);
    EXPECT_EQ(judge(SG_IN, tcp_frame(SG_IN, kRst, {.peer_port = 40001}, {.sequence = 77})).reason, SG_REASON_RULE);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED) << "another tuple";
    EXPECT_EQ(judge(SG_IN, tcp_frame(SG_IN, kRst, {}, {.sequence = 77})).reason, SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_RESET);
}

TEST_P(FlowStatement, SG_5_43_TheOtherInterfaceJudgesByRulesAlone) {
    StateBuilder state = world();
    for (const char* name : {"a", "b"}) {
        state.state().interfaces.at(name).source_dest_check = false;
    }
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(judge(SG_OUT, tcp_frame(SG_OUT, kSyn | kAck), "b").reason, SG_REASON_NO_RULE);
    EXPECT_EQ(judge(SG_IN, tcp_frame(SG_IN, kAck), "b").reason, SG_REASON_RULE) << "a rule of b admits it";
    EXPECT_EQ(entries(), 1u);
}

TEST_P(FlowStatement, SG_5_44_OneSidedTrafficNeverEstablishes) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    for (const int flags : {+kAck, kAck | kPsh, +kSyn, kAck | kPsh}) {
        EXPECT_EQ(tcp(SG_IN, flags), SG_REASON_TRACKED);
        EXPECT_EQ(state_of_only_flow(), SG_FLOW_SYN_SENT) << flags;
    }
    // The opening timer stays: 120 s after the last packet.
    wait(120 * kSecond + 1);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_NO_RULE);
}

TEST_P(FlowStatement, SG_5_45_ARouterIsJudgedTwiceWithIndependentEntries) {
    StateBuilder state = world();
    state.state().interfaces.at("a").source_dest_check = false;
    state.allow("v/g", SG_IN, kUdp, 53, 53, net()).allow("v/g", SG_OUT, kUdp, 53, 53, net());
    use(state);
    const auto forwarded = [&](const char* from, const char* to, std::uint16_t from_port, std::uint16_t to_port) {
        return between(from, to) / Udp{.from = from_port, .to = to_port};
    };
    const std::string client = peer(1);
    const std::string server = peer(9);
    const Bytes request = forwarded(client.c_str(), server.c_str(), 5000, 53);
    const Bytes answer = forwarded(server.c_str(), client.c_str(), 53, 5000);
    EXPECT_EQ(judge(SG_IN, request).reason, SG_REASON_RULE);
    EXPECT_EQ(entries(), 1u);
    EXPECT_EQ(judge(SG_OUT, request).reason, SG_REASON_RULE)
        << "the same packet, judged by the other direction's rules";
    EXPECT_EQ(entries(), 2u);
    EXPECT_EQ(judge(SG_IN, answer).reason, SG_REASON_TRACKED);
    EXPECT_EQ(judge(SG_OUT, answer).reason, SG_REASON_TRACKED);
}

TEST_P(FlowStatement, SG_5_62_CrossingSynsOpenOneConnection) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, kTcp, 1, 65535, net());
    use(state);
    ASSERT_EQ(tcp(SG_OUT, kSyn), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_TRACKED) << "no inbound rule: it is the reply";
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_SYN_RECEIVED);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kSyn | kAck), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
}

TEST_P(FlowStatement, SG_5_63_ASynOnAClosingTupleReplacesTheEntryWhenTheRulesStillAdmitIt) {
    StateBuilder state = world();
    use(StateBuilder(state).allow("v/g", SG_IN, kTcp, 80, 80, net()));
    handshake(SG_IN);
    ASSERT_EQ(tcp(SG_OUT, kFin | kAck), SG_REASON_TRACKED);
    ASSERT_EQ(tcp(SG_IN, kFin | kAck), SG_REASON_TRACKED);
    ASSERT_EQ(state_of_only_flow(), SG_FLOW_TIME_WAIT);
    const std::uint32_t first = SG_WORD_INCARNATION(only_flow().word);
    wait(kSecond);
    handshake(SG_IN);
    EXPECT_NE(SG_WORD_INCARNATION(only_flow().word), first);
    EXPECT_EQ(only_flow().created, now_);
    ASSERT_EQ(tcp(SG_OUT, kRst), SG_REASON_TRACKED);
    use(state);
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_NO_RULE) << "the rules decide again";
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_TRACKED) << "the old entry is what it was";
}

TEST_P(FlowStatement, SG_5_64_AnUnsolicitedOutboundDatagramOpensTheWayBack) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, kUdp, 1, 65535, net());
    use(StateBuilder(state).allow("v/g", SG_IN, kUdp, 53, 53, net()));
    const Ends ends{.peer_port = 5000, .own_port = 53};
    ASSERT_EQ(udp(SG_IN, ends), SG_REASON_RULE);
    use(state);
    wait(31 * kSecond);
    EXPECT_EQ(udp(SG_IN, ends), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_OUT, ends), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_IN, ends), SG_REASON_TRACKED);
    wait(30 * kSecond + 1);
    EXPECT_EQ(udp(SG_IN, ends), SG_REASON_NO_RULE);
}

TEST_P(FlowStatement, SG_5_65_ARequestToAGroupAddressGivesNoRightToAnswer) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, kUdp, 5353, 5353, anyone());
    use(state);
    for (const std::string& group : v6() ? std::vector<std::string>{"ff02::fb", "ff05::2"}
                                         : std::vector<std::string>{"224.0.0.251", "255.255.255.255"}) {
        EXPECT_EQ(judge(SG_OUT, between(own(), group) / Udp{.from = 5353, .to = 5353}).reason, SG_REASON_RULE);
    }
    EXPECT_EQ(entries(), 0u);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 5353, .own_port = 5353}), SG_REASON_NO_RULE);
}

SG_STATEMENTS(FlowStatement);

}  // namespace
}  // namespace sgbpf::test
