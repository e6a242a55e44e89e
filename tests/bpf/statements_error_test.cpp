// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.36 to SG-5.42: ICMP errors about tracked flows.
#include <bpf/bpf.h>

#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class ErrorStatement : public Statement {
protected:
    // The quoted packet as bytes from its IP header on.
    [[nodiscard]] static Bytes quoted(const Frame& frame, std::size_t bytes = 10'000) {
        const Bytes all = frame;
        return {all.begin() + 14, all.begin() + static_cast<long>(std::min(all.size(), 14 + bytes))};
    }
    // An error from `router` that travels in `direction` and quotes `quote`.
    PacketResult error(unsigned direction, const Bytes& quote, std::uint8_t type, std::uint8_t code = 0,
                       const std::string& router = {}) {
        const std::string other = router.empty() ? peer(200) : router;
        const std::string from = direction == SG_IN ? other : own();
        const std::string to = direction == SG_IN ? own() : peer(1);
        return judge(direction,
                     between(from, to) / Icmp{.type = type, .code = code, .id = 0, .sequence = 0} / Raw{quote});
    }
    [[nodiscard]] std::uint8_t unreachable() const { return v6() ? 1 : 3; }
    // A TCP segment of the flow own:50000 -> peer:443 (out) or back (in).
    [[nodiscard]] Frame segment(unsigned direction, std::uint16_t own_port = 50000) const {
        return ip(direction, 1) / Tcp{.from = direction == SG_IN ? std::uint16_t{443} : own_port,
                                      .to = direction == SG_IN ? own_port : std::uint16_t{443},
                                      .flags = kAck};
    }
    void open_flow() {
        use(StateBuilder(world()).allow("v/g", SG_OUT, kTcp, 443, 443, net()));
        handshake(SG_OUT, {.peer_port = 443, .own_port = 50000});
    }
};

TEST_P(ErrorStatement, SG_5_36_ErrorsThatQuoteATrackedFlowPass) {
    open_flow();
    EXPECT_EQ(error(SG_IN, quoted(segment(SG_OUT)), unreachable()).reason, SG_REASON_RELATED);
    EXPECT_EQ(error(SG_OUT, quoted(segment(SG_IN)), unreachable()).reason, SG_REASON_RELATED);
}

TEST_P(ErrorStatement, SG_5_37_OnlyErrorsNeverRedirects) {
    open_flow();
    const Bytes quote = quoted(segment(SG_OUT));
    for (unsigned type = 0; type < 256; ++type) {
        const bool is_error = v6() ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
        const auto reason = error(SG_IN, quote, static_cast<std::uint8_t>(type)).reason;
        EXPECT_EQ(reason == SG_REASON_RELATED, is_error) << type;
    }
    for (unsigned code = 0; code < 16; ++code) {
        EXPECT_EQ(error(SG_IN, quote, unreachable(), static_cast<std::uint8_t>(code)).reason, SG_REASON_RELATED);
    }
}

TEST_P(ErrorStatement, SG_5_38_TheQuoteIsOfAPacketThatTheReceiverSent) {
    open_flow();
    EXPECT_EQ(error(SG_IN, quoted(segment(SG_IN)), unreachable()).reason, SG_REASON_NO_RULE)
        << "sent by the other side";
    EXPECT_EQ(error(SG_OUT, quoted(segment(SG_OUT)), unreachable()).reason, SG_REASON_NO_RULE);
    EXPECT_EQ(error(SG_IN, quoted(segment(SG_OUT)), unreachable(), 0, peer(77)).reason, SG_REASON_RELATED)
        << "any router may report it";
    // Outbound: an error of ours goes to the side whose packet it quotes, to nobody else.
    const Bytes other = quoted(between(peer(2), own()) / Tcp{.from = 443, .to = 50000, .flags = kAck});
    EXPECT_EQ(error(SG_OUT, other, unreachable()).reason, SG_REASON_NO_RULE);
}

TEST_P(ErrorStatement, SG_5_39_WhatCannotBeToldFromTheQuoteIsForTheRules) {
    open_flow();
    const Bytes whole = quoted(segment(SG_OUT));
    const std::size_t header = v6() ? 40 : 20;
    for (const std::size_t bytes : {std::size_t{0}, header - 1, header, header + 4, header + 7}) {
        EXPECT_EQ(error(SG_IN, Bytes(whole.begin(), whole.begin() + static_cast<long>(bytes)), unreachable()).reason,
                  SG_REASON_NO_RULE)
            << bytes;
    }
    EXPECT_EQ(error(SG_IN, Bytes(whole.begin(), whole.begin() + static_cast<long>(header) + 8), unreachable()).reason,
              SG_REASON_RELATED)
        << "8 bytes are enough (RFC 792)";
    EXPECT_EQ(error(SG_IN, quoted(segment(SG_OUT, 50001)), unreachable()).reason, SG_REASON_NO_RULE) << "no such flow";
    Bytes version = whole;
    version[0] ^= 0x20;
    EXPECT_EQ(error(SG_IN, version, unreachable()).reason, SG_REASON_NO_RULE);
    const Bytes later = v6() ? quoted(ip(SG_OUT, 1) / Fragment6{.offset = 4} / Raw{Bytes(40), kTcp})
                             : quoted(Ethernet{} / Ipv4{.source = own(), .destination = peer(1), .fragment_offset = 4} /
                                      Tcp{.from = 50000, .to = 443, .flags = kAck});
    EXPECT_EQ(error(SG_IN, later, unreachable()).reason, SG_REASON_NO_RULE) << "a fragment without ports";
    use(StateBuilder(world()).allow("v/g", SG_IN, icmp(), unreachable(), -1, anyone()));
    EXPECT_EQ(error(SG_IN, later, unreachable()).reason, SG_REASON_RULE);
}

TEST_P(ErrorStatement, SG_5_39_QuotesWithOptionsAndExtensionHeadersAreRead) {
    open_flow();
    const Tcp tcp{.from = 50000, .to = 443, .flags = kAck};
    if (v6()) {
        EXPECT_EQ(error(SG_IN,
                        quoted(ip(SG_OUT, 1) / Extension{.type = 60, .body = Bytes(6)} / Fragment6{.more = true} / tcp),
                        2)
                      .reason,
                  SG_REASON_RELATED);
    } else {
        EXPECT_EQ(
            error(SG_IN,
                  quoted(Ethernet{} / Ipv4{.source = own(), .destination = peer(1), .options = Bytes(12, 1)} / tcp), 3,
                  4)
                .reason,
            SG_REASON_RELATED);
    }
}

TEST_P(ErrorStatement, SG_5_40_AnErrorNeitherRefreshesNorClosesTheFlow) {
    open_flow();
    const sg_flow before = only_flow();
    wait(1000 * kSecond);
    ASSERT_EQ(error(SG_IN, quoted(segment(SG_OUT)), unreachable()).reason, SG_REASON_RELATED);
    const sg_flow after = only_flow();
    EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
}

TEST_P(ErrorStatement, SG_5_41_UntrackedFlowsHaveNoErrorsOfTheirOwn) {
    use(StateBuilder(world())
            .allow("v/g", SG_IN, kTcp, 80, 80, anyone())
            .allow("v/g", SG_OUT, kTcp, 0, 65535, anyone()));
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    ASSERT_EQ(entries(), 0u);
    const Bytes quote = quoted(ip(SG_OUT, 1) / Tcp{.from = 80, .to = 40000, .flags = kAck});
    EXPECT_EQ(error(SG_IN, quote, unreachable()).reason, SG_REASON_NO_RULE);
}

TEST_P(ErrorStatement, SG_5_42_TracepathSeesTheHops) {
    use(StateBuilder(world()).allow("v/g", SG_OUT, kUdp, 33434, 33500, net()));
    const Ends probe{.peer_port = 33434, .own_port = 50000};
    ASSERT_EQ(udp(SG_OUT, probe), SG_REASON_RULE);
    const Bytes quote = quoted(ip(SG_OUT, 1) / Udp{.from = 50000, .to = 33434});
    EXPECT_EQ(error(SG_IN, quote, v6() ? 3 : 11, 0, peer(99)).reason, SG_REASON_RELATED) << "a hop on the way";
    EXPECT_EQ(error(SG_IN, quote, unreachable(), v6() ? 4 : 3, peer(1)).reason, SG_REASON_RELATED) << "the end";
    const Bytes ping = quoted(ip(SG_OUT, 1) / Icmp{.type = echo_request(), .id = 9});
    EXPECT_EQ(error(SG_IN, ping, unreachable()).reason, SG_REASON_NO_RULE);
    use(StateBuilder(world()).allow("v/g", SG_OUT, icmp(), echo_request(), -1, net()));
    ASSERT_EQ(icmp_packet(SG_OUT, echo_request(), 9), SG_REASON_RULE);
    EXPECT_EQ(error(SG_IN, ping, unreachable()).reason, SG_REASON_RELATED) << "of a ping";
}

SG_STATEMENTS(ErrorStatement);

}  // namespace
}  // namespace sgbpf::test
