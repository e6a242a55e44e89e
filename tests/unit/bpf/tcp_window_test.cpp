// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Strict mode's judgement of segments (bpf/tcp_window.h), on a connection that is walked through step by step.
#include <gtest/gtest.h>

#include "bpf/tcp_window.h"

namespace {

constexpr std::uint32_t kIsn[2] = {0xfffffff0, 0x7ffffff8};  // both wrap soon: unsigned and signed
constexpr std::uint8_t kAck = SG_TCP_ACK;
constexpr std::uint8_t kSyn = SG_TCP_SYN;
constexpr std::uint8_t kRst = SG_TCP_RST;
constexpr std::uint8_t kFin = SG_TCP_FIN;

// What sg_tcp_keep (bpf/tcp.h) and the state machine do, for one CPU.
struct Connection {
    sg_tcp_sides sides{};
    std::uint8_t state = SG_FLOW_SYN_SENT;

    static sg_segment segment(std::uint8_t flags, std::uint32_t sequence, std::uint32_t ack, std::uint32_t bytes,
                              std::uint16_t window = 1000, std::uint8_t scale = 0) {
        const std::uint32_t end = sequence + bytes + ((flags & kSyn) != 0 ? 1 : 0) + ((flags & kFin) != 0 ? 1 : 0);
        return {.sequence = sequence,
                .end = end,
                .acknowledgement = (flags & kAck) != 0 ? ack : 0,
                .window = window,
                .flags = flags,
                .scale = scale};
    }

    [[nodiscard]] sg_segment_verdict judge(int side, const sg_segment& s) const {
        return sg_judge_segment(&sides, side, state, &s);
    }

    void keep(int side, const sg_segment& s) {
        if ((s.flags & kSyn) != 0) {
            sides.scale[side] = s.scale | ((s.flags & kAck) != 0 ? SG_SCALE_ACKNOWLEDGED : 0);
            sides.window[side] = sg_window_of_syn(s.window, s.scale);
            sides.sequence[side] = SG_SEQUENCE(s.end, s.acknowledgement);
            return;
        }
        sides.window[side] = std::max(sides.window[side], s.window);
        sides.sequence[side] = sg_sequence_after(sides.sequence[side], sides.scale[side], &s);
        sides.scale[side] |= SG_SCALE_ACKNOWLEDGED;
    }

    // A connection after its handshake; both windows 1000, `shift` in force on both sides if not 0.
    static Connection established(std::uint8_t shift = 0) {
        const std::uint8_t scale = shift != 0 ? SG_SCALE_OFFERED | shift : 0;
        Connection c;
        c.keep(0, segment(kSyn, kIsn[0], 0, 0, 1000, scale));
        const auto answer = segment(kSyn | kAck, kIsn[1], kIsn[0] + 1, 0, 1000, scale);
        EXPECT_EQ(c.judge(1, answer), SG_SEGMENT_FITS);
        c.keep(1, answer);
        c.state = SG_FLOW_SYN_RECEIVED;
        const auto third = segment(kAck, kIsn[0] + 1, kIsn[1] + 1, 0);
        EXPECT_EQ(c.judge(0, third), SG_SEGMENT_FITS);
        c.keep(0, third);
        c.state = SG_FLOW_ESTABLISHED;
        return c;
    }
    [[nodiscard]] static std::uint32_t next(int side) { return kIsn[side] + 1; }
};

using C = Connection;

TEST(TcpWindow, AnswersMustAcknowledgeTheSyn) {
    C c;
    c.keep(0, C::segment(kSyn, kIsn[0], 0, 0));
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, 5, kIsn[0] + 2, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, 5, kIsn[0] - 5000, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(1, C::segment(kRst | kAck, 0, kIsn[0] + 7, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(1, C::segment(kRst, kIsn[0] + 1, 0, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(1, C::segment(kRst | kAck, 0, kIsn[0] + 1, 0)), SG_SEGMENT_FITS);  // refused
    EXPECT_EQ(c.judge(1, C::segment(kAck, 5, kIsn[0] + 1, 0)), SG_SEGMENT_OUT);          // no SYN, no answer
    EXPECT_EQ(c.judge(0, C::segment(kSyn, 77, 0, 0)), SG_SEGMENT_FITS);                  // tried again
    EXPECT_EQ(c.judge(1, C::segment(kSyn, 9, 0, 0)), SG_SEGMENT_FITS);                   // SG-5.62: crossed
}

TEST(TcpWindow, OnlyTheRightAcknowledgementCompletesTheHandshake) {
    C c;
    c.keep(0, C::segment(kSyn, kIsn[0], 0, 0));
    c.keep(1, C::segment(kSyn | kAck, kIsn[1], kIsn[0] + 1, 0));
    c.state = SG_FLOW_SYN_RECEIVED;
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0), C::next(1), 0)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0), C::next(1) - 1, 0)), SG_SEGMENT_HOLDS);
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0), C::next(1) + 1, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0), 12345, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, kIsn[1], kIsn[0] + 1, 0)), SG_SEGMENT_FITS);  // sent again
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, 99, kIsn[0] + 1, 0)), SG_SEGMENT_OUT);        // another's
}

TEST(TcpWindow, DataInBothDirectionsAcrossTheWrapFits) {
    C c = C::established();
    std::uint32_t sent[2] = {C::next(0), C::next(1)};
    for (int i = 0; i < 200; ++i) {
        const int side = i % 3 == 0 ? 1 : 0;
        const auto s = C::segment(kAck, sent[side], sent[1 - side], 700);
        ASSERT_EQ(c.judge(side, s), SG_SEGMENT_FITS) << i;
        c.keep(side, s);
        sent[side] += 700;
        const auto ack = C::segment(kAck, sent[1 - side], sent[side], 0);
        ASSERT_EQ(c.judge(1 - side, ack), SG_SEGMENT_FITS) << i;
        c.keep(1 - side, ack);
    }
}

TEST(TcpWindow, WhatRealStacksSendBesidesDataFits) {
    C c = C::established();
    const auto data = C::segment(kAck, C::next(0), C::next(1), 900);
    c.keep(0, data);
    EXPECT_EQ(c.judge(0, data), SG_SEGMENT_FITS);                                               // sent again
    c.keep(1, C::segment(kAck, C::next(1), C::next(0) + 900, 0, 0));                            // window closed
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0) + 900, C::next(1), 1)), SG_SEGMENT_FITS);  // probe
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0) + 899, C::next(1), 0)), SG_SEGMENT_FITS);  // keepalive
    EXPECT_EQ(c.judge(0, C::segment(kAck, C::next(0) + 899, C::next(1), 1)), SG_SEGMENT_FITS);  // with a byte
    EXPECT_EQ(c.judge(0, C::segment(kAck | kFin, C::next(0) + 900, C::next(1), 0)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(1, C::segment(kAck, C::next(1), C::next(0) + 1, 0)), SG_SEGMENT_FITS);  // overtaken
}

TEST(TcpWindow, DataOutsideTheWindowIsOut) {
    C c = C::established();
    const std::uint32_t a = C::next(0);
    const std::uint32_t b = C::next(1);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a + 1000, b, 10)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a + 1001, b, 10)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a - 1000, b, 0)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a - 1001, b, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a + 0x80000000U, b, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kAck, a, b + 1, 10)), SG_SEGMENT_OUT);  // acknowledges what nobody sent
    EXPECT_EQ(c.judge(0, C::segment(kAck, a, b - SG_ACK_SLACK - 1, 10)), SG_SEGMENT_OUT);  // RFC 5961 5
    EXPECT_EQ(c.judge(0, C::segment(kAck, a, b - SG_ACK_SLACK, 10)), SG_SEGMENT_FITS);
}

TEST(TcpWindow, ScalingCountsOnlyWhenBothOffered) {
    C scaled = C::established(7);
    const std::uint32_t a = C::next(0);
    scaled.keep(1, C::segment(kAck, C::next(1), a, 0, 1000));  // the first that is scaled
    EXPECT_EQ(scaled.judge(0, C::segment(kAck, a + 1000 * 128, C::next(1), 10)), SG_SEGMENT_FITS);
    EXPECT_EQ(scaled.judge(0, C::segment(kAck, a + 1001 * 128, C::next(1), 10)), SG_SEGMENT_OUT);
    C half;
    half.keep(0, C::segment(kSyn, kIsn[0], 0, 0, 1000, SG_SCALE_OFFERED | 7));
    half.keep(1, C::segment(kSyn | kAck, kIsn[1], kIsn[0] + 1, 0, 1000));
    half.keep(0, C::segment(kAck, a, C::next(1), 0));
    half.state = SG_FLOW_ESTABLISHED;
    EXPECT_EQ(half.judge(0, C::segment(kAck, a + 1000, C::next(1), 10)), SG_SEGMENT_FITS);
    EXPECT_EQ(half.judge(0, C::segment(kAck, a + 1001, C::next(1), 10)), SG_SEGMENT_OUT);
    EXPECT_EQ(sg_window_of_syn(65535, SG_SCALE_OFFERED | 7) << 7, 65536);
}

TEST(TcpWindow, BlindResetsKillNothing) {
    C c = C::established();
    const std::uint32_t a = C::next(0);
    c.keep(0, C::segment(kAck, a, C::next(1), 500));                          // on its way
    EXPECT_EQ(c.judge(0, C::segment(kRst, a, 0, 0)), SG_SEGMENT_FITS);        // where the receiver is
    EXPECT_EQ(c.judge(0, C::segment(kRst, a + 500, 0, 0)), SG_SEGMENT_FITS);  // behind all that was sent
    EXPECT_EQ(c.judge(0, C::segment(kRst, a + 1, 0, 0)), SG_SEGMENT_QUIET);   // RFC 5961 3.2: in the window
    EXPECT_EQ(c.judge(0, C::segment(kRst, a + 1000, 0, 0)), SG_SEGMENT_QUIET);
    EXPECT_EQ(c.judge(0, C::segment(kRst, a + 1001, 0, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kRst, a - 1, 0, 0)), SG_SEGMENT_OUT);
    EXPECT_EQ(c.judge(0, C::segment(kRst | kAck, 12345, C::next(1), 0)), SG_SEGMENT_OUT);
}

TEST(TcpWindow, BlindSynsChangeNothingAndAreAnsweredByTheHost) {
    C c = C::established();
    for (const std::uint32_t sequence : {0U, C::next(0), C::next(0) + 500, 0x12345678U}) {
        EXPECT_EQ(c.judge(0, C::segment(kSyn, sequence, 0, 0)), SG_SEGMENT_QUIET);  // RFC 5961 4.2
    }
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, kIsn[1], kIsn[0] + 1, 0)), SG_SEGMENT_QUIET);  // sent again
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, 0x12345678, kIsn[0] + 1, 0)), SG_SEGMENT_OUT);
    for (const std::uint8_t state : {SG_FLOW_FIN_WAIT, SG_FLOW_CLOSE_WAIT}) {
        c.state = state;
        EXPECT_EQ(c.judge(0, C::segment(kSyn, C::next(0) + 9000, 0, 0)), SG_SEGMENT_QUIET);  // half of it lives
    }
}

TEST(TcpWindow, PortsAreUsedAgainBehindTheLastSequenceNumber) {
    C c = C::established();
    c.state = SG_FLOW_TIME_WAIT;
    EXPECT_EQ(c.judge(0, C::segment(kSyn, C::next(0) + 1, 0, 0)), SG_SEGMENT_NEW);
    EXPECT_EQ(c.judge(0, C::segment(kSyn, C::next(0) - 100, 0, 0)), SG_SEGMENT_QUIET);
    c.state = SG_FLOW_RESET;
    EXPECT_EQ(c.judge(0, C::segment(kSyn, C::next(0) - 100, 0, 0)), SG_SEGMENT_NEW);
}

TEST(TcpWindow, SynsThatCrossCompleteOnTheAnswer) {
    C c;
    c.keep(0, C::segment(kSyn, kIsn[0], 0, 0));
    c.keep(1, C::segment(kSyn, kIsn[1], 0, 0));
    c.state = SG_FLOW_SYN_RECEIVED;
    EXPECT_EQ(c.judge(0, C::segment(kSyn | kAck, kIsn[0], C::next(1), 0)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, kIsn[1], C::next(0), 0)), SG_SEGMENT_FITS);
    EXPECT_EQ(c.judge(1, C::segment(kSyn | kAck, kIsn[1] + 5, C::next(0) + 5, 0)), SG_SEGMENT_OUT);
}

TEST(TcpWindow, NothingKnownGoesBack) {
    const sg_segment old = C::segment(kAck, 100, 50, 10);
    const std::uint64_t own = SG_SEQUENCE(500U, 70U);
    EXPECT_EQ(sg_sequence_after(own, SG_SCALE_ACKNOWLEDGED, &old), own);
    const sg_segment newer = C::segment(kAck, 495, 71, 10);
    EXPECT_EQ(sg_sequence_after(own, SG_SCALE_ACKNOWLEDGED, &newer), SG_SEQUENCE(505U, 71U));
    const sg_segment first = C::segment(kAck, 499, 0xf0000000, 1);
    EXPECT_EQ(sg_sequence_after(own, 0, &first), SG_SEQUENCE(500U, 0xf0000000U));  // nothing was acknowledged before
}

}  // namespace
