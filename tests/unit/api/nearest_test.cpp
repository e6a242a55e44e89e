// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which rule comes nearest, and the words about rules and tracking: states by hand, one row a packet.
#include "api/nearest.hpp"

#include <gtest/gtest.h>

#include "api/why_words.hpp"
#include "frame/build.hpp"
#include "frame/names.hpp"
#include "tests/support/states.hpp"

namespace sgbpf::test {
namespace {

// VPC v: web0 (web, more), db0 (db). VPC w, not peered: far0 (w/far).
class Nearest : public ::testing::Test {
protected:
    Nearest() {
        build_.vpc("v").vpc("w").list("office", {"198.51.100.0/24", "198.51.0.0/16"}).list("none", {});
        build_.group("v/web").group("v/more").group("v/db").group("v/empty").group("w/far");
        build_.interface("web0", "v", {"10.0.1.10/32", "2001:db8::10/128"}, {"v/web"});
        build_.interface("db0", "v", {"10.0.2.20/32"}, {"v/db"});
        build_.interface("far0", "w", {"10.9.0.1/32"}, {"w/far"});
    }

    WhyContext context(unsigned direction, const std::string& text) {
        const auto spec = parse_packet(text);
        EXPECT_TRUE(spec) << spec.error().message;
        return {build_.state, build_.at("web0"), fields_of(build_frame(*spec, {}, {}), direction)};
    }
    // "ID: words"; what the test expects is written with the ids that rule() returned.
    std::string nearest(unsigned direction, const std::string& text) {
        const WhyContext why = context(direction, text);
        const RuleQuestion asked = question_of(why.packet);
        const auto near = nearest_rule(build_.state, why.interface, direction, asked);
        return near ? near->rule->id + ": " + difference_text(build_.state, why.interface, *near, asked) : "none";
    }
    std::string admits(unsigned direction, const std::string& text) { return admits_words(context(direction, text)); }
    std::string tracking(unsigned direction, const std::string& text, sg_tracking tracking, sg_stage stage) {
        sg_outcome outcome{};
        outcome.tracking = static_cast<__u8>(tracking);
        outcome.stage = static_cast<__u8>(stage);
        return tracking_words(context(direction, text), outcome);
    }

    std::string in(Protocol protocol, PortRange ports, Peer peer) {
        return build_.rule("v/web", SG_IN, protocol, ports, std::move(peer));
    }
    std::string out(Protocol protocol, PortRange ports, Peer peer) {
        return build_.rule("v/web", SG_OUT, protocol, ports, std::move(peer));
    }

    StateBuilder build_;
};

const std::string kSsh = "tcp 192.0.2.7:4000 -> 10.0.1.10:22";

TEST_F(Nearest, NoRuleNoNearest) {
    out(kTcp, {22, 22}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), "none");
}

TEST_F(Nearest, FewestDimensionsFirst) {
    in(kUdp, {22, 22}, prefix("10.0.0.0/8"));    // protocol and peer
    in(kTcp, {23, 23}, prefix("192.0.3.0/24"));  // port and peer
    const std::string one = in(kTcp, {9000, 9000}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), one + ": another port");
}

TEST_F(Nearest, OfOneDimensionThePeerThenThePortThenTheProtocol) {
    const std::string protocol = in(kUdp, {22, 22}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), protocol + ": another protocol");
    const std::string port = in(kTcp, {80, 80}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), port + ": another port");
    const std::string peer = in(kTcp, {22, 22}, prefix("10.0.0.0/8"));
    EXPECT_EQ(nearest(SG_IN, kSsh), peer + ": another peer");
}

TEST_F(Nearest, TheSmallestDistanceThenTheLowestId) {
    in(kTcp, {80, 90}, prefix("0.0.0.0/0"));
    const std::string below = in(kTcp, {10, 20}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), below + ": another port");
    in(kTcp, {24, 24}, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), below + ": another port") << "equally far: the lower id";
    in(kTcp, {22, 22}, prefix("10.0.0.0/8"));
    const std::string close = in(kTcp, {22, 22}, prefix("192.0.2.128/25"));
    in(kTcp, {22, 22}, prefix("::/0"));
    EXPECT_EQ(nearest(SG_IN, kSsh), close + ": another peer");
}

TEST_F(Nearest, WordsForEveryKindOfPeer) {
    const std::string list = in(kTcp, {22, 22}, list_peer("office"));
    EXPECT_EQ(nearest(SG_IN, kSsh), list + ": another peer");
    EXPECT_EQ(nearest(SG_IN, "tcp [2001:db8:1::1]:1 -> [2001:db8::10]:22"), list + ": another peer");
    const std::string group = in(kTcp, {23, 23}, group_peer("v/db"));
    EXPECT_EQ(nearest(SG_IN, "tcp 10.0.2.21:1 -> 10.0.1.10:23"), group + ": another peer");
    const std::string empty = in(kTcp, {24, 24}, group_peer("v/empty"));
    EXPECT_EQ(nearest(SG_IN, "tcp 10.0.2.20:1 -> 10.0.1.10:24"), empty + ": group v/empty has no member here");
    const std::string far = in(kTcp, {25, 25}, group_peer("w/far"));
    EXPECT_EQ(nearest(SG_IN, "tcp 10.9.0.1:1 -> 10.0.1.10:25"), far + ": group w/far has no member here");
    const std::string six = in(kTcp, {26, 26}, prefix("::/0"));
    EXPECT_EQ(nearest(SG_IN, "tcp 10.9.0.1:1 -> 10.0.1.10:26"), six + ": another address family");
}

TEST_F(Nearest, IcmpTypesAndProtocolsWithoutPorts) {
    const std::string echo = build_.icmp_rule("v/web", SG_IN, kIcmp, 8, -1, prefix("0.0.0.0/0"));
    EXPECT_EQ(nearest(SG_IN, "icmp 192.0.2.7 -> 10.0.1.10 type 13 code 0"), echo + ": another type");
    EXPECT_EQ(nearest(SG_IN, "gre 192.0.2.7 -> 10.0.1.10"), echo + ": another protocol");
    const std::string all = in(kAllProtocols, {}, prefix("10.0.0.0/8"));
    EXPECT_EQ(nearest(SG_IN, "gre 192.0.2.7 -> 10.0.1.10"), all + ": another peer") << "the same protocol first";
}

TEST_F(Nearest, AFragmentHasNoPort) {
    const std::string ssh = in(kTcp, {0, 65535}, prefix("0.0.0.0/0"));
    RuleQuestion asked;
    asked.protocol = kTcp;
    asked.is_fragment = true;
    asked.peer = address("192.0.2.7");
    const auto near = nearest_rule(build_.state, build_.at("web0"), SG_IN, asked);
    ASSERT_TRUE(near);
    EXPECT_EQ(near->rule->id, ssh);
    EXPECT_EQ(difference_text(build_.state, build_.at("web0"), *near, asked), "a fragment has no port");
    EXPECT_EQ(differences(*near, asked), std::vector<std::string>{"port"});
}

TEST_F(Nearest, EntryIsTheLongestAndMemberTheOneSeen) {
    const PrefixList& office = build_.state.prefix_lists.at("office");
    EXPECT_EQ(entry_of(office, address("198.51.100.1"))->prefix.to_string(), "198.51.100.0/24");
    EXPECT_EQ(entry_of(office, address("198.51.7.1"))->prefix.to_string(), "198.51.0.0/16");
    EXPECT_EQ(entry_of(office, address("198.52.7.1")), nullptr);
    EXPECT_EQ(member_of(build_.state, build_.at("web0"), "v/db", address("10.0.2.20")), &build_.at("db0"));
    EXPECT_EQ(member_of(build_.state, build_.at("web0"), "v/db", address("10.0.2.21")), nullptr);
    EXPECT_EQ(member_of(build_.state, build_.at("web0"), "w/far", address("10.9.0.1")), nullptr) << "SG-4.17";
    build_.peering("v", "w");
    EXPECT_EQ(member_of(build_.state, build_.at("web0"), "w/far", address("10.9.0.1")), &build_.at("far0"));
}

TEST_F(Nearest, WhatIsAdmittedInstead) {
    EXPECT_EQ(admits(SG_IN, kSsh), "web has no inbound rule");
    in(kTcp, {3306, 3306}, prefix("10.0.0.0/8"));
    in(kTcp, {80, 81}, prefix("10.0.0.0/8"));
    in(kUdp, {53, 53}, prefix("10.0.0.0/8"));
    in(47, {}, prefix("10.0.0.0/8"));
    build_.icmp_rule("v/web", SG_IN, kIcmp, 8, -1, prefix("10.0.0.0/8"));
    EXPECT_EQ(admits(SG_IN, kSsh),
              "inbound of web admits only icmp echo-request, tcp 80-81, 3306, udp 53, protocol 47");
    in(kTcp, {20, 30}, list_peer("office"));
    in(kTcp, {22, 22}, group_peer("v/db"));
    in(kTcp, {22, 22}, prefix("10.0.0.0/8"));
    EXPECT_EQ(admits(SG_IN, kSsh), "inbound of web admits tcp 22 only from prefix list office, group v/db, 10.0.0.0/8");
    build_.at("web0").groups = {"v/more", "v/web"};
    EXPECT_EQ(admits(SG_OUT, "tcp 10.0.1.10:1 -> 192.0.2.7:22"), "more, web have no outbound rule");
    for (std::uint16_t port = 100; port < 112; ++port) {
        out(kTcp, {port, port}, prefix("10.0.0.0/8"));
    }
    EXPECT_EQ(admits(SG_OUT, "tcp 10.0.1.10:1 -> 192.0.2.7:22"),
              "outbound of more, web admit only tcp 100, 101, 102, 103, 104, 105, 106, 107 and 4 more");
}

TEST_F(Nearest, WhyAFlowWouldBeTracked) {  // SG-5.11..5.17
    const auto would = [&](const std::string& packet, sg_stage stage) {
        return tracking(SG_IN, packet, SG_TRACKING_OPENED, stage);
    };
    EXPECT_EQ(would(kSsh, SG_STAGE_ANY), "no 0/0 outbound rule");
    EXPECT_EQ(would(kSsh, SG_STAGE_CIDR), "its rule is not for 0/0, no 0/0 outbound rule");
    out(kTcp, {1, 65535}, prefix("0.0.0.0/0"));
    EXPECT_EQ(would(kSsh, SG_STAGE_ANY), "no 0/0 outbound rule covers all tcp ports");
    out(kTcp, {}, prefix("0.0.0.0/1"));
    EXPECT_EQ(would(kSsh, SG_STAGE_ANY), "no 0/0 outbound rule covers all tcp ports") << "SG-5.12";
    out(kAllProtocols, {}, prefix("0.0.0.0/0"));
    EXPECT_EQ(would(kSsh, SG_STAGE_LIST), "its rule is not for 0/0");
    EXPECT_EQ(would("tcp [2001:db8:1::1]:1 -> [2001:db8::10]:22", SG_STAGE_ANY), "no ::/0 outbound rule") << "SG-5.14";
    EXPECT_EQ(would("icmp 192.0.2.7 -> 10.0.1.10", SG_STAGE_ANY), "icmp always is (SG-5.7)");
    EXPECT_EQ(would("gre 192.0.2.7 -> 10.0.1.10", SG_STAGE_ANY), "protocol 47 always is (SG-5.4)");
    EXPECT_EQ(tracking(SG_OUT, "tcp 10.0.1.10:1 -> 192.0.2.7:22", SG_TRACKING_OPENED, SG_STAGE_ANY),
              "no 0/0 inbound rule");
}

TEST_F(Nearest, EveryKindOfTrackingHasWords) {
    EXPECT_EQ(tracking(SG_IN, kSsh, SG_TRACKING_OPEN_RULES, SG_STAGE_ANY),
              "0/0 rules admit it and every answer (SG-5.11)");
    EXPECT_EQ(tracking(SG_IN, kSsh + " A", SG_TRACKING_NO_OPENER, SG_STAGE_ANY),
              "only a SYN opens a TCP flow (SG-5.8)");
    EXPECT_EQ(tracking(SG_IN, kSsh + " SF", SG_TRACKING_NO_OPENER, SG_STAGE_ANY),
              "only a SYN without other flags opens a TCP flow (SG-5.8)");
    EXPECT_EQ(tracking(SG_IN, "icmp 192.0.2.7 -> 10.0.1.10 echo-reply", SG_TRACKING_NO_OPENER, SG_STAGE_ANY),
              "only an ICMP request opens a flow (SG-5.5)");
    for (const sg_tracking each : {SG_TRACKING_GROUP_TARGET, SG_TRACKING_AH}) {
        EXPECT_FALSE(tracking(SG_IN, kSsh, each, SG_STAGE_ANY).empty());
        EXPECT_EQ(tracking_name(each), "not-tracked");
    }
    EXPECT_EQ(tracking(SG_IN, kSsh, SG_TRACKING_NONE, SG_STAGE_NONE), "");
    EXPECT_EQ(tracking_name(SG_TRACKING_NONE), "");
}

TEST_F(Nearest, DropsThatAreNotAboutRules) {
    const WhyContext wrong = context(SG_OUT, "tcp 10.0.1.99:1 -> 192.0.2.7:22");
    EXPECT_EQ(drop_words(wrong, SG_REASON_SOURCE_DEST),
              "source 10.0.1.99 is not an address of web0, which has 10.0.1.10, 2001:db8::10");
    EXPECT_EQ(drop_words(context(SG_IN, "tcp 192.0.2.7:1 -> 10.0.1.99:22"), SG_REASON_SOURCE_DEST),
              "destination 10.0.1.99 is not an address of web0, which has 10.0.1.10, 2001:db8::10");
#define SG_EXPECT_WORDS(number, symbol, reason_name, verdict, sentence)                                                \
    EXPECT_EQ(reason_words(number).name, reason_name);                                                                 \
    EXPECT_FALSE(drop_words(wrong, number).empty());
    SG_REASONS(SG_EXPECT_WORDS)
#undef SG_EXPECT_WORDS
    EXPECT_NE(drop_words(wrong, SG_REASON_QUARANTINE).find("sgbpf attach web0"), std::string::npos);
}

}  // namespace
}  // namespace sgbpf::test
