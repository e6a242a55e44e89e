// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// bpf/flow_state.h on the host: transitions and timers (spec sections 5.2, 5.5; SG-13.19).
#include "bpf/flow_state.h"

#include <gtest/gtest.h>

#include "support/packet.hpp"

namespace sgbpf::test {
namespace {

constexpr bool kOpener = true;
constexpr bool kOther = false;

struct Step {
    bool from_opener;
    std::uint8_t flags;
    std::uint8_t state_after;
};

void expect_walk(const std::vector<Step>& steps) {
    std::uint8_t state = sg_flow_first(SG_PROTO_TCP);
    ASSERT_EQ(state, SG_FLOW_SYN_SENT);
    for (std::size_t i = 0; i < steps.size(); ++i) {
        SCOPED_TRACE(i);
        state = sg_flow_next(state, steps[i].from_opener, steps[i].flags);
        EXPECT_EQ(state, steps[i].state_after);
    }
}

TEST(TcpState, HandshakeAndOrderlyClose) {
    expect_walk({{kOther, kSyn | kAck, SG_FLOW_SYN_RECEIVED},
                 {kOpener, kAck, SG_FLOW_ESTABLISHED},
                 {kOther, kAck | kPsh, SG_FLOW_ESTABLISHED},
                 {kOpener, kFin | kAck, SG_FLOW_FIN_WAIT},
                 {kOther, kAck, SG_FLOW_FIN_WAIT},
                 {kOther, kFin | kAck, SG_FLOW_TIME_WAIT},
                 {kOpener, kAck, SG_FLOW_TIME_WAIT}});
}

TEST(TcpState, OneSidedTrafficNeverPromotes) {  // SG-5.44
    expect_walk({{kOpener, kSyn, SG_FLOW_SYN_SENT},
                 {kOpener, kAck, SG_FLOW_SYN_SENT},
                 {kOpener, kAck | kPsh, SG_FLOW_SYN_SENT},
                 {kOther, kAck, SG_FLOW_SYN_SENT}});
}

TEST(TcpState, SimultaneousOpen) {  // SG-5.62
    expect_walk({{kOther, kSyn, SG_FLOW_SYN_RECEIVED}, {kOpener, kSyn | kAck, SG_FLOW_ESTABLISHED}});
}

TEST(TcpState, ResetEndsEveryState) {  // SG-5.34
    for (std::uint8_t state = SG_FLOW_SYN_SENT; state <= SG_FLOW_RESET; ++state) {
        EXPECT_EQ(sg_flow_next(state, kOther, kRst | kAck), SG_FLOW_RESET);
        EXPECT_EQ(sg_flow_next(state, kOpener, kRst), SG_FLOW_RESET);
    }
}

TEST(TcpState, CloseFromTheOtherSideFirst) {
    expect_walk({{kOther, kSyn | kAck, SG_FLOW_SYN_RECEIVED},
                 {kOpener, kAck, SG_FLOW_ESTABLISHED},
                 {kOther, kFin | kAck, SG_FLOW_CLOSE_WAIT},
                 {kOpener, kFin | kAck, SG_FLOW_TIME_WAIT}});
}

// SG-13.19: none, SYN+FIN, SYN+RST, FIN alone, all.
TEST(TcpState, ImpossibleFlagsChangeNothing) {
    for (const int flags : {0, kSyn | kFin, kSyn | kRst, +kFin, 0x3f, kSyn | kFin | kAck, kSyn | kRst | kAck}) {
        SCOPED_TRACE(flags);
        EXPECT_FALSE(sg_tcp_flags_sane(static_cast<std::uint8_t>(flags)));
        EXPECT_FALSE(sg_tcp_opens(static_cast<std::uint8_t>(flags)));
        for (std::uint8_t state = SG_FLOW_SYN_SENT; state <= SG_FLOW_RESET; ++state) {
            EXPECT_EQ(sg_flow_next(state, kOpener, static_cast<std::uint8_t>(flags)), state);
            EXPECT_EQ(sg_flow_next(state, kOther, static_cast<std::uint8_t>(flags)), state);
        }
    }
}

TEST(TcpState, OnlyABareSynOpens) {  // SG-5.8
    for (int flags = 0; flags < 64; ++flags) {
        const bool opens = (flags & kSyn) && !(flags & (kAck | kRst | kFin));
        EXPECT_EQ(sg_tcp_opens(static_cast<std::uint8_t>(flags)) != 0, opens) << flags;
    }
    EXPECT_TRUE(sg_tcp_opens(kSyn | 0x40 | 0x80));  // ECN setup (RFC 3168)
}

TEST(UdpState, StreamAtTheSecondReplyAfterTheSecondRequest) {  // SG-5.32
    std::uint8_t state = sg_flow_first(SG_PROTO_UDP);
    const auto next = [&state](bool from_opener) { return state = sg_flow_next(state, from_opener, 0); };
    EXPECT_EQ(next(kOpener), SG_FLOW_UDP_ASKED);
    EXPECT_EQ(next(kOther), SG_FLOW_UDP_ANSWERED);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(next(kOther), SG_FLOW_UDP_ANSWERED);  // one long answer stays short
    }
    EXPECT_EQ(next(kOpener), SG_FLOW_UDP_ASKED_AGAIN);
    EXPECT_EQ(next(kOpener), SG_FLOW_UDP_ASKED_AGAIN);
    EXPECT_EQ(next(kOther), SG_FLOW_UDP_STREAM);
    EXPECT_EQ(next(kOther), SG_FLOW_UDP_STREAM);
    EXPECT_EQ(next(kOpener), SG_FLOW_UDP_STREAM);
}

TEST(Timers, AreThoseOfTable55) {
    sg_interface_config config = {};
    config.tcp_established = 1000;
    config.udp = 31;
    config.udp_stream = 61;
    const struct {
        std::uint8_t state;
        std::uint32_t seconds;
    } rows[] = {{SG_FLOW_ESTABLISHED, 1000},   {SG_FLOW_SYN_SENT, 120},  {SG_FLOW_SYN_RECEIVED, 60},
                {SG_FLOW_FIN_WAIT, 120},       {SG_FLOW_CLOSE_WAIT, 60}, {SG_FLOW_TIME_WAIT, 120},
                {SG_FLOW_RESET, 10},           {SG_FLOW_UDP_ASKED, 31},  {SG_FLOW_UDP_ANSWERED, 31},
                {SG_FLOW_UDP_ASKED_AGAIN, 31}, {SG_FLOW_UDP_STREAM, 61}, {SG_FLOW_ICMP, 30},
                {SG_FLOW_OTHER, 600},          {SG_FLOW_FRAGMENT, 15}};
    for (const auto& row : rows) {
        EXPECT_EQ(sg_flow_seconds(row.state, &config), row.seconds) << int{row.state};
    }
    EXPECT_EQ(std::size(rows), std::size_t{SG_FLOW_STATES - SG_FLOW_SYN_SENT});
}

// SG-5.35: expired when idle for longer than the timeout; not at it. The clock may wrap or be a tick behind.
TEST(Timers, ExpireAfterTheTimeout) {
    EXPECT_FALSE(sg_flow_expired(30'000, 0, 30, 1000));
    EXPECT_TRUE(sg_flow_expired(30'001, 0, 30, 1000));
    EXPECT_FALSE(sg_flow_expired(999, 1000, 30, 1000));
    EXPECT_FALSE(sg_flow_expired(100, 0xffffff00u, 30, 1000));
    EXPECT_TRUE(sg_flow_expired(40'000, 0xffffff00u, 30, 1000));
    EXPECT_FALSE(sg_flow_expired(432'000'000u, 0, 432000, 1000));
    EXPECT_TRUE(sg_flow_expired(432'000'001u, 0, 432000, 1000));
}

}  // namespace
}  // namespace sgbpf::test
