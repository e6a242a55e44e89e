// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Section 6 of the specification, statement by statement, through the tc and the XDP programs: what passes
// without any rule, who may send it, how much of it, and that nothing else does.
#include <gtest/gtest.h>

#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kMac = "02:00:00:00:00:02";
constexpr const char* kOtherMac = "02:00:00:00:00:99";
constexpr const char* kOwn4 = "10.0.1.10";
constexpr const char* kOwn6 = "2001:db8:a:1::10";
constexpr const char* kOwnLink = "fe80::ff:fe00:2";  // of kMac
constexpr const char* kResolver4 = "10.0.0.2";
constexpr const char* kResolver6 = "fd00:ec2::253";
constexpr const char* kMetadata = "169.254.169.254";
constexpr std::uint64_t kStart = 1'000'000;

// guest: no rule at all. open: every rule. router: every rule, no source/dest check. server: role host, every
// rule. other: of another VPC, no rule.
State world() {
    StateBuilder builder;
    builder.vpc("v").group("v/none").group("v/all").vpc("w").group("w/none");
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        builder.allow("v/all", direction, kAllProtocols, 0, 0, "0.0.0.0/0");
        builder.allow("v/all", direction, kAllProtocols, 0, 0, "::/0");
    }
    builder.interface("guest", {"v/none"}, {kOwn4, kOwn6}, kMac);
    builder.interface("open", {"v/all"}, {"10.0.1.11", "2001:db8:a:1::11"}, kMac);
    builder.interface("router", {"v/all"}, {"10.0.1.12", "2001:db8:a:1::12"}, kMac);
    builder.interface("server", {"v/all"}, {"10.0.1.13", "2001:db8:a:1::13"}, kMac);
    builder.interface("other", {"w/none"}, {kOwn4, kOwn6}, kMac);
    builder.state().interfaces.at("router").source_dest_check = false;
    builder.state().interfaces.at("server").role = Role::kHost;
    return builder;
}

Service service(const char* endpoint, Protocol protocol, std::uint16_t port, bool in = true, bool out = true) {
    return {"v", StateBuilder::prefix(endpoint), protocol, port, in, out, ""};
}

HostPolicy services() {
    HostPolicy host;
    host.services = {service("10.0.0.2/32", kUdp, 53),          service("10.0.0.2/32", kTcp, 53),
                     service("fd00:ec2::253/128", kUdp, 53),    service("fd00:ec2::253/128", kTcp, 53),
                     service("169.254.169.254/32", kTcp, 80),   service("10.0.0.1/32", kIcmp, 0),
                     service("fd00:ec2::1/128", kIcmp, 0),      service("10.0.0.9/32", kAllProtocols, 0),
                     service("192.0.2.0/24", kUdp, 123, false), service("192.0.2.77/32", kUdp, 514, true, false)};
    return host;
}

Ipv4 out4(const char* destination, const char* source = kOwn4) {
    return {.source = source, .destination = destination};
}
Ipv6 out6(const char* destination, const char* source = kOwn6) {
    return {.source = source, .destination = destination};
}
Ipv4 in4(const char* source, const char* destination = kOwn4) {
    return {.source = source, .destination = destination};
}
Ipv6 in6(const char* source, const char* destination = kOwn6) {
    return {.source = source, .destination = destination};
}
Ipv6 nd(const char* source, const char* destination, std::uint8_t hop_limit = 255) {
    return {.source = source, .destination = destination, .hop_limit = hop_limit};
}
Ethernet guest(const char* mac = kMac) {
    return {.source = mac};
}
Raw target(const char* address) {
    const auto bytes = Address::parse(address)->bytes;
    return Raw{Bytes(bytes.begin(), bytes.end())};
}
// A link-layer address option (RFC 4861 4.6.1): 1 = of the source, 2 = of the target.
Raw link_option(std::uint8_t type, const char* mac, std::uint8_t length = 1) {
    const auto bytes = MacAddress::parse(mac)->bytes;
    Bytes option = {type, length};
    option.insert(option.end(), bytes.begin(), bytes.end());
    return Raw{option};
}

class Exempt : public testing::TestWithParam<TestPrograms::Mode> {
protected:
    void SetUp() override { start(services()); }
    void start(const HostPolicy& host) {
        auto policy = LivePolicy::make(world(), small_capacities(), GetParam(), host);
        ASSERT_TRUE(policy) << policy.error().message;
        policy_ = std::move(*policy);
    }
    PacketResult run(unsigned direction, const std::string& interface, const Frame& frame, std::uint64_t now = kStart) {
        return policy_->judge(direction, interface, frame.bytes(), now);
    }
    sg_reason out(const Frame& frame, const std::string& interface = "guest") {
        return run(SG_OUT, interface, frame).reason;
    }
    sg_reason in(const Frame& frame, const std::string& interface = "guest") {
        return run(SG_IN, interface, frame).reason;
    }
    std::unique_ptr<LivePolicy> policy_;
};

INSTANTIATE_TEST_SUITE_P(Programs, Exempt, testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),
                         [](const auto& one) { return one.param == TestPrograms::Mode::kTest ? "tc" : "xdp"; });

// --- Services ----------------------------------------------------------------------------------------

TEST_P(Exempt, SG_6_1_ServicesPassBothWaysWithoutRulesAndMakeNoState) {
    const struct {
        unsigned direction;
        Frame frame;
    } rows[] = {
        {SG_OUT, guest() / out4(kResolver4) / Udp{.from = 5000, .to = 53}},
        {SG_IN, Ethernet{} / in4(kResolver4) / Udp{.from = 53, .to = 5000}},
        {SG_OUT, guest() / out6(kResolver6) / Udp{.from = 5000, .to = 53}},
        {SG_IN, Ethernet{} / in6(kResolver6) / Udp{.from = 53, .to = 5000}},
        {SG_OUT, guest() / out6(kResolver6) / Tcp{.from = 5000, .to = 53}},
        {SG_IN, Ethernet{} / in6(kResolver6) / Tcp{.from = 53, .to = 5000, .flags = kSyn | kAck}},
        {SG_OUT, guest() / out4(kMetadata) / Tcp{.from = 5000, .to = 80}},
        {SG_IN, Ethernet{} / in4(kMetadata) / Tcp{.from = 80, .to = 5000, .flags = kSyn | kAck}},
        {SG_OUT, guest() / out4(kMetadata) / Tcp{.from = 5000, .to = 80, .flags = kAck}},
        {SG_OUT, guest() / out4("10.0.0.1") / Icmp{.type = 8}},
        {SG_IN, Ethernet{} / in4("10.0.0.1") / Icmp{.type = 0}},
        {SG_OUT, guest() / out6("fd00:ec2::1") / Icmp{.type = 128}},
        {SG_IN, Ethernet{} / in6("fd00:ec2::1") / Icmp{.type = 129}},
        {SG_OUT, guest() / out4("10.0.0.9") / Raw{Bytes(8), 47}},
        {SG_IN, Ethernet{} / in4("10.0.0.9") / Udp{.from = 1, .to = 2}},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(&row - rows);
        const PacketResult result = run(row.direction, "guest", row.frame);
        EXPECT_EQ(result.reason, SG_REASON_EXEMPT);
        EXPECT_EQ(result.outcome.tracking, SG_TRACKING_NONE);
    }
    EXPECT_TRUE(policy_->programs().live_flows().empty());
}

TEST_P(Exempt, SG_6_2_TheEndpointIsExemptNotThePort) {
    EXPECT_EQ(out(guest() / out4("192.0.2.53") / Udp{.to = 53}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / out6("2001:db8::53") / Udp{.to = 53}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / out4(kMetadata) / Tcp{.to = 8080}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / out4(kMetadata) / Udp{.to = 80}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / out4(kResolver4) / Icmp{.type = 8}), SG_REASON_NO_RULE);
    // Its own port is not the endpoint's: from 53 is no request, to 53 is no answer.
    EXPECT_EQ(out(guest() / out4(kResolver4) / Udp{.from = 53, .to = 5000}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in4(kResolver4) / Udp{.from = 5000, .to = 53}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in4("192.0.2.53") / Udp{.from = 53, .to = 5000}), SG_REASON_NO_RULE);
}

TEST_P(Exempt, SG_6_3_RulesCannotBlockAServiceNorATenantAddOne) {
    // No rule is asked: an interface without rules reaches it, and the answer names no rule.
    EXPECT_EQ(run(SG_OUT, "guest", guest() / out4(kResolver4) / Udp{.to = 53}).rule, 0U);
    EXPECT_EQ(run(SG_OUT, "open", guest() / out4(kResolver4, "10.0.1.11") / Udp{.to = 53}).reason, SG_REASON_EXEMPT);
}

TEST_P(Exempt, SG_6_4_TheListIsTheHostsPerVpcAndEmptyByDefault) {
    EXPECT_EQ(out(guest() / out4(kResolver4) / Udp{.to = 53}, "other"), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in4(kResolver4) / Udp{.from = 53}, "other"), SG_REASON_NO_RULE);
    // Prefixes, directions: 192.0.2.0/24 takes requests only, 192.0.2.77 sends only.
    EXPECT_EQ(out(guest() / out4("192.0.2.200") / Udp{.to = 123}), SG_REASON_EXEMPT);
    EXPECT_EQ(in(Ethernet{} / in4("192.0.2.200") / Udp{.from = 123}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / out4("192.0.2.77") / Udp{.to = 514}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in4("192.0.2.77") / Udp{.from = 514}), SG_REASON_EXEMPT);
    // A change of the list is a commit like any other.
    policy_->host().services = {service("10.0.0.2/32", kUdp, 53)};
    policy_->host().services.front().vpc = "*";
    ASSERT_TRUE(policy_->commit(world()));
    EXPECT_EQ(out(guest() / out4(kResolver4) / Udp{.to = 53}, "other"), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / out4(kMetadata) / Tcp{.to = 80}), SG_REASON_NO_RULE);
    policy_->host().services.clear();
    ASSERT_TRUE(policy_->commit(world()));
    EXPECT_EQ(out(guest() / out4(kResolver4) / Udp{.to = 53}), SG_REASON_NO_RULE);
    EXPECT_EQ(out(guest() / Arp{.sender_mac = kMac, .sender = kOwn4}), SG_REASON_EXEMPT);
}

TEST_P(Exempt, SG_6_5_AServiceAnswersItOpensNothing) {
    EXPECT_EQ(in(Ethernet{} / in4(kMetadata) / Tcp{.from = 80, .to = 22, .flags = kSyn}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in6(kResolver6) / Tcp{.from = 53, .to = 22, .flags = kSyn}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / in4(kMetadata) / Tcp{.from = 80, .to = 22, .flags = kRst}), SG_REASON_EXEMPT);
    // Not to addresses that are not the interface's.
    EXPECT_EQ(in(Ethernet{} / in4(kResolver4, "10.0.1.99") / Udp{.from = 53}), SG_REASON_SOURCE_DEST);
}

TEST_P(Exempt, SG_6_5_ARequestWithAForgedSourceIsDropped) {
    EXPECT_EQ(out(guest() / out4(kResolver4, "10.0.1.99") / Udp{.to = 53}), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / out6(kResolver6, "2001:db8:a:1::99") / Udp{.to = 53}), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / out4(kResolver4, "10.0.1.99") / Udp{.to = 53}, "router"), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / out4(kResolver4, "127.0.0.1") / Udp{.to = 53}, "router"), SG_REASON_BAD_ADDRESS);
    EXPECT_EQ(out(guest(kOtherMac) / out4(kResolver4) / Udp{.to = 53}), SG_REASON_SOURCE_MAC);
}

TEST_P(Exempt, SG_6_2_FragmentsWithoutPortsAreNoRequest) {
    const Ipv4 first{.source = kOwn4, .destination = kResolver4, .protocol = 17, .more = true};
    const Ipv4 later{.source = kOwn4, .destination = kResolver4, .protocol = 17, .fragment_offset = 9};
    EXPECT_EQ(out(guest() / first / Udp{.to = 53} / Raw{Bytes(64)}), SG_REASON_EXEMPT);
    EXPECT_NE(out(guest() / later / Raw{Bytes(64)}), SG_REASON_EXEMPT);
    const Ipv4 any{.source = kOwn4, .destination = "10.0.0.9", .protocol = 17, .fragment_offset = 9};
    EXPECT_EQ(out(guest() / any / Raw{Bytes(64)}), SG_REASON_EXEMPT);
}

// --- DHCP --------------------------------------------------------------------------------------------

TEST_P(Exempt, SG_6_5_AGuestServesNoDhcpWhateverTheRules) {
    const Udp offer4{.from = 67, .to = 68};
    const Udp reply6{.from = 547, .to = 546};
    for (const char* interface : {"open", "router"}) {
        SCOPED_TRACE(interface);
        const bool open = std::string(interface) == "open";
        const char* own4 = open ? "10.0.1.11" : "10.0.1.12";
        const char* own6 = open ? "2001:db8:a:1::11" : "2001:db8:a:1::12";
        EXPECT_EQ(out(guest() / out4("255.255.255.255", own4) / offer4, interface), SG_REASON_DHCP_SERVER);
        EXPECT_EQ(out(guest() / out4("192.0.2.9", own4) / offer4, interface), SG_REASON_DHCP_SERVER);
        EXPECT_EQ(out(guest() / out6("2001:db8::9", own6) / reply6, interface), SG_REASON_DHCP_SERVER);
        EXPECT_EQ(out(guest() / out6("fe80::9", kOwnLink) / reply6, interface), SG_REASON_DHCP_SERVER);
    }
    // A machine of the host's may; the rules decide.
    EXPECT_EQ(out(guest() / out4("192.0.2.9", "10.0.1.13") / offer4, "server"), SG_REASON_RULE);
    EXPECT_EQ(out(guest() / out6("2001:db8::9", "2001:db8:a:1::13") / reply6, "server"), SG_REASON_RULE);
}

// The answer to a tracked request does not slip through the established path, however often it is tried.
TEST_P(Exempt, SG_6_5_NorAsAnAnswerToATrackedRequest) {
    State state = world();
    state.groups.at("v/all").rules[SG_OUT].clear();  // so that flows are tracked
    ASSERT_TRUE(policy_->commit(state));
    ASSERT_EQ(in(Ethernet{} / in4("192.0.2.9", "10.0.1.11") / Udp{.from = 68, .to = 67}, "open"), SG_REASON_RULE);
    ASSERT_EQ(policy_->programs().live_flows().size(), 1U);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(out(guest() / out4("192.0.2.9", "10.0.1.11") / Udp{.from = 67, .to = 68}, "open"),
                  SG_REASON_DHCP_SERVER);
        in(Ethernet{} / in4("192.0.2.9", "10.0.1.11") / Udp{.from = 68, .to = 67}, "open");
    }
}

TEST_P(Exempt, SG_6_4_DhcpClientsNeedNoRule) {
    EXPECT_EQ(out(guest() / out4("255.255.255.255", "0.0.0.0") / Udp{.from = 68, .to = 67}), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / out4("255.255.255.255", "10.0.1.99") / Udp{.from = 68, .to = 67}), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(in(Ethernet{} / in4("10.0.1.1") / Udp{.from = 67, .to = 68}), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / out6("ff02::1:2", kOwnLink) / Udp{.from = 546, .to = 547}), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / out6("ff02::1:2", "fe80::1") / Udp{.from = 546, .to = 547}), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / out6("ff02::1:3", kOwnLink) / Udp{.from = 546, .to = 547}), SG_REASON_SOURCE_DEST);
    EXPECT_EQ(in(Ethernet{} / in6("fe80::1", kOwnLink) / Udp{.from = 547, .to = 546}), SG_REASON_EXEMPT);
}

// --- Senders -----------------------------------------------------------------------------------------

TEST_P(Exempt, SG_6_6_TheSourceMacOfEveryFrameIsTheInterfaces) {
    const Tcp web{.to = 443};
    const Frame frames[] = {
        guest(kOtherMac) / out4("192.0.2.9", "10.0.1.11") / web,
        guest(kOtherMac) / out6("2001:db8::9", "2001:db8:a:1::11") / web,
        guest(kOtherMac) / out4("192.0.2.9", "10.0.1.11") / Icmp{.type = 8},
        guest(kOtherMac) / Arp{.sender_mac = kMac, .sender = "10.0.1.11"},
        guest(kOtherMac) / nd(kOwnLink, "ff02::2") / Icmp{.type = 133},
        guest(kOtherMac) / out4("255.255.255.255", "0.0.0.0") / Udp{.from = 68, .to = 67},
        Ethernet{.source = kOtherMac, .type = 0x88cc} / Raw{Bytes(46)},
        Ethernet{.source = kOtherMac, .tags = {5}} / out4("192.0.2.9", "10.0.1.11") / web,
        Ethernet{.source = kOtherMac, .tags = {5, 6}} / out4("192.0.2.9", "10.0.1.11") / web,
        // One bit in each word of the comparison.
        guest("03:00:00:00:00:02") / out4("192.0.2.9", "10.0.1.11") / web,
        guest("02:00:00:00:01:02") / out4("192.0.2.9", "10.0.1.11") / web,
    };
    for (const Frame& frame : frames) {
        SCOPED_TRACE(&frame - frames);
        EXPECT_EQ(out(frame, "open"), SG_REASON_SOURCE_MAC);
        EXPECT_EQ(out(frame, "router"), SG_REASON_SOURCE_MAC) << "also with the source/dest check off";
        EXPECT_NE(in(frame, "open"), SG_REASON_SOURCE_MAC) << "what it receives has others' MACs";
    }
}

TEST_P(Exempt, SG_6_6_TheSourceMacOfAnEstablishedFlowToo) {
    State state = world();
    state.groups.at("v/all").rules[SG_IN].clear();
    ASSERT_TRUE(policy_->commit(state));
    const auto segment = [&](const char* mac, std::uint8_t flags) {
        return out(guest(mac) / out4("192.0.2.9", "10.0.1.11") / Tcp{.from = 999, .to = 443, .flags = flags}, "open");
    };
    ASSERT_EQ(segment(kMac, kSyn), SG_REASON_RULE);
    ASSERT_EQ(
        in(Ethernet{} / in4("192.0.2.9", "10.0.1.11") / Tcp{.from = 443, .to = 999, .flags = kSyn | kAck}, "open"),
        SG_REASON_TRACKED);
    ASSERT_EQ(segment(kMac, kAck), SG_REASON_TRACKED);
    EXPECT_EQ(segment(kOtherMac, kAck), SG_REASON_SOURCE_MAC);
    EXPECT_EQ(segment(kMac, kAck), SG_REASON_TRACKED);
}

TEST_P(Exempt, SG_6_6_ArpSendersAreTheInterfaces) {
    for (const std::uint16_t operation : {std::uint16_t{1}, std::uint16_t{2}}) {
        EXPECT_EQ(out(guest() / Arp{.operation = operation, .sender_mac = kMac, .sender = kOwn4}), SG_REASON_EXEMPT);
        EXPECT_EQ(out(guest() / Arp{.operation = operation, .sender_mac = kMac, .sender = "10.0.1.1"}),
                  SG_REASON_EXEMPT_SENDER);
        EXPECT_EQ(out(guest() / Arp{.operation = operation, .sender_mac = kOtherMac, .sender = kOwn4}),
                  SG_REASON_EXEMPT_SENDER);
        // Without the source/dest check the address is free, the MAC is not.
        EXPECT_EQ(out(guest() / Arp{.operation = operation, .sender_mac = kMac, .sender = "10.0.1.1"}, "router"),
                  SG_REASON_EXEMPT);
        EXPECT_EQ(out(guest() / Arp{.operation = operation, .sender_mac = kOtherMac, .sender = kOwn4}, "router"),
                  SG_REASON_EXEMPT_SENDER);
    }
}

TEST_P(Exempt, SG_6_6_LinkLayerOptionsAreTheInterfaces) {
    const Frame solicitation = guest() / nd(kOwnLink, "ff02::1:ff00:1") / Icmp{.type = 135} / target("fe80::1");
    const Frame advertisement = guest() / nd(kOwn6, "ff02::1") / Icmp{.type = 136} / target(kOwn6);
    const Frame router = guest() / nd(kOwnLink, "ff02::2") / Icmp{.type = 133};
    for (const char* interface : {"guest", "router"}) {
        SCOPED_TRACE(interface);
        for (const Frame& message : {solicitation, advertisement, router}) {
            EXPECT_EQ(out(message, interface), SG_REASON_EXEMPT) << "without options";
            for (const std::uint8_t type : {std::uint8_t{1}, std::uint8_t{2}}) {
                EXPECT_EQ(out(message / link_option(type, kMac), interface), SG_REASON_EXEMPT);
                EXPECT_EQ(out(message / link_option(type, kOtherMac), interface), SG_REASON_EXEMPT_SENDER);
                // Not only the first: an own nonce (RFC 7527) in front.
                EXPECT_EQ(out(message / Raw{{14, 1, 1, 2, 3, 4, 5, 6}} / link_option(type, kOtherMac), interface),
                          SG_REASON_EXEMPT_SENDER);
                EXPECT_EQ(
                    out(message / Raw{{14, 2, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0}} / link_option(type, kMac),
                        interface),
                    SG_REASON_EXEMPT);
                EXPECT_EQ(out(message / link_option(type, kMac, 2) / Raw{Bytes(8)}, interface), SG_REASON_EXEMPT_SENDER)
                    << "an address of 14 bytes";
            }
            EXPECT_EQ(out(message / link_option(1, kMac, 0), interface), SG_REASON_BAD_HEADER) << "length 0";
            EXPECT_EQ(out(message / Raw{{1, 1, 2, 0}}, interface), SG_REASON_BAD_HEADER) << "cut off";
            EXPECT_EQ(out(message / link_option(14, kMac, 3), interface), SG_REASON_BAD_HEADER) << "beyond the end";
            Frame many = message;
            for (int i = 0; i < 6; ++i) {
                many = many / link_option(14, kMac);
            }
            EXPECT_EQ(out(many, interface), SG_REASON_EXEMPT);
            EXPECT_EQ(out(many / link_option(1, kOtherMac), interface), SG_REASON_BAD_HEADER) << "too many to read";
        }
    }
}

TEST_P(Exempt, SG_6_6_NeighboursAreClaimedForOwnAddressesOnly) {
    const Icmp solicit{.type = 135};
    const Icmp advertise{.type = 136};
    EXPECT_EQ(out(guest() / nd(kOwn6, "ff02::1") / advertise / target(kOwn6)), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / nd(kOwnLink, "ff02::1") / advertise / target(kOwnLink)), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / nd(kOwn6, "ff02::1") / advertise / target("2001:db8:a:1::1")), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / nd("2001:db8:a:1::1", "ff02::1") / advertise / target(kOwn6)), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / nd("fe80::1", "ff02::1") / advertise / target(kOwn6)), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / nd("::", "ff02::1:ff00:10") / solicit / target(kOwn6)), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / nd("::", "ff02::1:ff00:1") / solicit / target("2001:db8:a:1::1")), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(guest() / nd("::", "ff02::1:ff00:1") / solicit), SG_REASON_TRUNCATED);
    // A router without the source/dest check answers for others.
    EXPECT_EQ(out(guest() / nd("2001:db8:a:1::12", "ff02::1") / advertise / target("2001:db8:a:1::99"), "router"),
              SG_REASON_EXEMPT);
}

TEST_P(Exempt, SG_6_6_NoRouterAdvertisementFromWorkloads) {
    const Frame advertisement = guest() / nd(kOwnLink, "ff02::1") / Icmp{.type = 134} / Raw{Bytes(8)};
    EXPECT_EQ(out(advertisement), SG_REASON_EXEMPT_SENDER);
    EXPECT_EQ(out(advertisement, "open"), SG_REASON_EXEMPT_SENDER) << "whatever the rules say";
    EXPECT_EQ(out(advertisement, "router"), SG_REASON_EXEMPT_SENDER) << "SG-6.6 knows no exception for routers";
    EXPECT_NE(out(advertisement, "server"), SG_REASON_EXEMPT_SENDER) << "a machine of the host's: for the rules";
    // In: from a router's link-local address only (RFC 4861 6.1.2); else a packet like any other.
    EXPECT_EQ(in(Ethernet{} / nd("fe80::1", "ff02::1") / Icmp{.type = 134} / Raw{Bytes(8)}), SG_REASON_EXEMPT);
    EXPECT_NE(in(Ethernet{} / nd("2001:db8::1", kOwn6) / Icmp{.type = 134} / Raw{Bytes(8)}), SG_REASON_EXEMPT);
    EXPECT_NE(in(Ethernet{} / nd("fe80::1", kOwn6, 64) / Icmp{.type = 134} / Raw{Bytes(8)}), SG_REASON_EXEMPT);
    EXPECT_NE(in(Ethernet{} / nd("fe80::1", kOwn6) / Icmp{.type = 134, .code = 1} / Raw{Bytes(8)}), SG_REASON_EXEMPT);
    // Who asks without an address of its own asks the solicited-node group (RFC 4861 7.1.1).
    EXPECT_EQ(in(Ethernet{} / nd("::", "ff02::1:ff00:10") / Icmp{.type = 135} / target(kOwn6)), SG_REASON_EXEMPT);
    EXPECT_NE(in(Ethernet{} / nd("::", kOwn6) / Icmp{.type = 135} / target(kOwn6)), SG_REASON_EXEMPT);
    EXPECT_NE(in(Ethernet{} / nd("::", "ff02::1") / Icmp{.type = 136} / target(kOwn6)), SG_REASON_EXEMPT);
}

TEST_P(Exempt, SG_6_7_OtherIcmpv6IsForStateAndRules) {
    for (int type = 0; type < 256; ++type) {
        const bool discovery = type >= 133 && type <= 136;
        const bool listener = (type >= 130 && type <= 132) || type == 143;
        const Icmp message{.type = static_cast<std::uint8_t>(type)};
        SCOPED_TRACE(type);
        EXPECT_EQ(in(Ethernet{} / nd("fe80::1", "ff02::1:ff00:10") / message / target(kOwn6)) == SG_REASON_EXEMPT,
                  discovery);
        EXPECT_EQ(in(Ethernet{} / nd("fe80::1", "ff02::1", 1) / message / target(kOwn6)) == SG_REASON_EXEMPT, listener);
    }
    // A redirect is never exempt, not from a service either; nor is discovery in the name of a service.
    EXPECT_EQ(in(Ethernet{} / in4("10.0.0.1") / Icmp{.type = 5}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / nd("fd00:ec2::1", kOwn6) / Icmp{.type = 137} / Raw{Bytes(32)}), SG_REASON_NO_RULE);
    EXPECT_EQ(in(Ethernet{} / nd("fd00:ec2::1", kOwn6) / Icmp{.type = 134} / Raw{Bytes(8)}), SG_REASON_NO_RULE);
}

TEST_P(Exempt, SG_6_7_ListenersReportFromTheirOwnAddress) {
    const Icmp report{.type = 143};
    EXPECT_EQ(out(guest() / nd(kOwnLink, "ff02::16", 1) / report), SG_REASON_EXEMPT);
    EXPECT_EQ(out(guest() / nd("::", "ff02::16", 1) / report), SG_REASON_EXEMPT) << "before it has one (RFC 3590)";
    EXPECT_EQ(out(guest() / nd("fe80::1", "ff02::16", 1) / report), SG_REASON_EXEMPT_SENDER);
    EXPECT_NE(out(guest() / nd(kOwn6, "ff02::16", 1) / report), SG_REASON_EXEMPT);
    EXPECT_NE(out(guest() / nd(kOwnLink, "fe80::1", 1) / report), SG_REASON_EXEMPT);
    EXPECT_NE(out(guest() / nd(kOwnLink, "ff02::16", 64) / report), SG_REASON_EXEMPT);
    EXPECT_NE(out(guest() / nd(kOwnLink, "ff02::1", 1) / Icmp{.type = 130}), SG_REASON_EXEMPT) << "a router asks";
    EXPECT_EQ(in(Ethernet{} / nd("fe80::1", "ff02::1", 1) / Icmp{.type = 130}), SG_REASON_EXEMPT);
}

TEST_P(Exempt, SG_6_8_OtherEthertypesAreDropped) {
    for (const std::uint16_t type : {std::uint16_t{0x88cc}, std::uint16_t{0x8863}, std::uint16_t{0x0027}}) {
        EXPECT_EQ(out(Ethernet{.source = kMac, .type = type} / Raw{Bytes(46)}, "open"), SG_REASON_NOT_IP);
        EXPECT_EQ(in(Ethernet{.type = type} / Raw{Bytes(46)}, "open"), SG_REASON_NOT_IP);
    }
}

// --- Rates -------------------------------------------------------------------------------------------

class Rate : public Exempt {
protected:
    void SetUp() override {
        HostPolicy host = services();
        host.exempt_rate = 10;
        start(host);
    }
    // How many of `tries` pass at one instant; the others must be over the rate.
    int passing(unsigned direction, const Frame& frame, int tries, std::uint64_t now) {
        int passed = 0;
        for (int i = 0; i < tries; ++i) {
            const PacketResult result = run(direction, "guest", frame, now);
            passed += result.reason == SG_REASON_EXEMPT ? 1 : 0;
            EXPECT_EQ(result.reason, result.passed() ? SG_REASON_EXEMPT : SG_REASON_EXEMPT_RATE);
        }
        return passed;
    }
    const Frame arp_in_ = Ethernet{} / Arp{};
    const Frame arp_out_ = guest() / Arp{.sender_mac = kMac, .sender = kOwn4};
    const Frame query_ = guest() / out4(kResolver4) / Udp{.to = 53};
    const Frame answer_ = Ethernet{} / in4(kResolver4) / Udp{.from = 53, .to = 5000};
};

INSTANTIATE_TEST_SUITE_P(Programs, Rate, testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),
                         [](const auto& one) { return one.param == TestPrograms::Mode::kTest ? "tc" : "xdp"; });

TEST_P(Rate, SG_6_9_IsHeldAndCountedBySecond) {
    EXPECT_EQ(passing(SG_OUT, query_, 25, kStart), 10) << "one second's worth at once";
    EXPECT_EQ(passing(SG_OUT, query_, 5, kStart + 99), 0);
    EXPECT_EQ(passing(SG_OUT, query_, 5, kStart + 100), 1) << "ten a second: one each 100 ms";
    EXPECT_EQ(passing(SG_OUT, query_, 5, kStart + 450), 3);
    EXPECT_EQ(passing(SG_OUT, query_, 5, kStart + 500), 1) << "the rest of a token is not lost";
    EXPECT_EQ(passing(SG_OUT, query_, 25, kStart + 60'000), 10) << "never more than a second's worth";
    const auto counters = policy_->programs().sandbox().read_counters(policy_->slot("guest"));
    ASSERT_TRUE(counters);
    EXPECT_EQ(counters->packets[SG_OUT][SG_REASON_EXEMPT], 25U);
    EXPECT_EQ(counters->packets[SG_OUT][SG_REASON_EXEMPT_RATE], 45U);
}

TEST_P(Rate, SG_6_9_AFloodOfOneKindStopsNoOther) {
    EXPECT_EQ(passing(SG_IN, arp_in_, 1000, kStart), 10);
    EXPECT_EQ(passing(SG_OUT, arp_out_, 5, kStart), 5);
    EXPECT_EQ(passing(SG_OUT, query_, 5, kStart), 5);
    EXPECT_EQ(passing(SG_IN, answer_, 5, kStart), 5);
    // Of another interface neither.
    EXPECT_EQ(run(SG_IN, "open", arp_in_).reason, SG_REASON_EXEMPT);
    // A frame that is refused anyway takes no token.
    policy_->host().exempt_rate = 2;
    ASSERT_TRUE(policy_->commit(world()));
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(run(SG_OUT, "guest", guest() / Arp{.sender_mac = kMac, .sender = "10.0.1.1"}, kStart + 9000).reason,
                  SG_REASON_EXEMPT_SENDER);
    }
    EXPECT_EQ(passing(SG_OUT, arp_out_, 5, kStart + 9000), 2);
}

TEST_P(Rate, SG_5_49_OrdinaryTrafficHasNone) {
    for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(out(guest() / out4("192.0.2.9", "10.0.1.11") / Udp{.to = 53}, "open"), SG_REASON_RULE);
    }
    policy_->host().exempt_rate = 0;
    ASSERT_TRUE(policy_->commit(world()));
    EXPECT_EQ(passing(SG_OUT, query_, 3000, kStart), 3000) << "0 = no limit";
}

// SG-6.10: nobody's port is special; 25 is judged like every other.
TEST_P(Exempt, SG_6_10_Port25IsAnOrdinaryPort) {
    EXPECT_EQ(out(guest() / out4("192.0.2.9", "10.0.1.11") / Tcp{.to = 25}, "open"), SG_REASON_RULE);
    EXPECT_EQ(out(guest() / out4("192.0.2.9") / Tcp{.to = 25}), SG_REASON_NO_RULE);
}

// --- Always tracked peers ------------------------------------------------------------------------------

TEST_P(Exempt, SG_5_19_FlowsWithAlwaysTrackedPeersHaveEntries) {
    policy_->host().tracking.always_track_peers = {StateBuilder::prefix("192.0.2.0/24"),
                                                   StateBuilder::prefix("2001:db8:64::/48")};
    ASSERT_TRUE(policy_->commit(world()));
    const auto tracking = [&](const Frame& frame) {
        return static_cast<sg_tracking>(run(SG_IN, "open", frame).outcome.tracking);
    };
    EXPECT_EQ(tracking(Ethernet{} / in4("192.0.2.9", "10.0.1.11") / Tcp{.to = 80}), SG_TRACKING_OPENED);
    EXPECT_EQ(tracking(Ethernet{} / in4("192.0.3.9", "10.0.1.11") / Tcp{.to = 80}), SG_TRACKING_OPEN_RULES);
    EXPECT_EQ(tracking(Ethernet{} / in6("2001:db8:64::9", "2001:db8:a:1::11") / Udp{.to = 80}), SG_TRACKING_OPENED);
    EXPECT_EQ(tracking(Ethernet{} / in6("2001:db8:65::9", "2001:db8:a:1::11") / Udp{.to = 80}), SG_TRACKING_OPEN_RULES);
}

}  // namespace
}  // namespace sgbpf::test
