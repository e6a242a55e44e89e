// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Strict mode, beside SG-5.9, SG-5.10 and SG-5.63: a blind or out-of-window segment neither ends, nor takes over,
// nor revives a connection (RFC 5961), and what real stacks send passes.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class StrictStatement : public Statement {
protected:
    // What the peer (opener) and the workload have sent so far.
    struct Side {
        std::uint32_t next;
        std::uint16_t window;
    };
    [[nodiscard]] StateBuilder strict() const {
        StateBuilder state = world();
        tracking(state).strict = true;
        state.allow("v/g", SG_IN, kTcp, 80, 80, net());
        return state;
    }
    sg_reason send(unsigned direction, int flags, std::uint32_t sequence, std::uint32_t acknowledgement,
                   std::size_t payload = 0, std::uint16_t window = 1000, const Bytes& options = {}) {
        return judge(direction, tcp_frame(direction, flags, ends_,
                                          {.sequence = sequence,
                                           .acknowledgement = acknowledgement,
                                           .window = window,
                                           .payload = payload,
                                           .options = options}))
            .reason;
    }
    // Sequence numbers behind the SYNs: client() of the peer, server() of the workload.
    void connect(std::uint32_t client_isn, std::uint32_t server_isn, const Bytes& client_options = {},
                 const Bytes& server_options = {}, std::uint16_t window = 1000) {
        client_ = client_isn + 1;
        server_ = server_isn + 1;
        ASSERT_EQ(send(SG_IN, kSyn, client_isn, 0, 0, window, client_options), SG_REASON_RULE);
        ASSERT_EQ(send(SG_OUT, kSyn | kAck, server_isn, client_, 0, window, server_options), SG_REASON_TRACKED);
        ASSERT_EQ(send(SG_IN, kAck, client_, server_, 0, window), SG_REASON_TRACKED);
        ASSERT_EQ(send(SG_OUT, kAck, server_, client_, 0, window), SG_REASON_TRACKED);
        ASSERT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED);
    }
    void expect_works() {
        EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 10), SG_REASON_TRACKED);
        client_ += 10;
        EXPECT_EQ(send(SG_OUT, kAck | kPsh, server_, client_, 10), SG_REASON_TRACKED);
        server_ += 10;
        EXPECT_EQ(send(SG_IN, kAck, client_, server_), SG_REASON_TRACKED);
        EXPECT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED);
    }
    static Bytes scale(std::uint8_t shift) { return {1, 3, 3, shift}; }

    Ends ends_ = {};
    std::uint32_t client_ = 0;
    std::uint32_t server_ = 0;
};

TEST_P(StrictStatement, SG_5_10_AResetMustBeExact) {
    use(strict());
    connect(1000, 5000);
    // Blind: anywhere else in the sequence space, from either side.
    for (const std::uint32_t off : {0x40000000U, 0x80000000U, 0xc0000000U, 5000U, static_cast<std::uint32_t>(-2)}) {
        EXPECT_EQ(send(SG_IN, kRst, client_ + off, 0), SG_REASON_TCP_WINDOW) << off;
        EXPECT_EQ(send(SG_OUT, kRst | kAck, server_ + off, client_), SG_REASON_TCP_WINDOW) << off;
    }
    // In the window but not exact: passes, for the receiver to challenge, and changes nothing (RFC 5961 3.2).
    EXPECT_EQ(send(SG_IN, kRst, client_ + 5, 0), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED);
    expect_works();
    EXPECT_EQ(send(SG_IN, kRst, client_, 0), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_RESET);
}

TEST_P(StrictStatement, SG_5_10_ABlindSynNeitherEndsNorTakesOver) {
    use(strict());
    connect(1000, 5000);
    const std::uint64_t word = only_flow().word;
    for (const std::uint32_t sequence : {client_ + 0x40000000U, client_ + 5, 77U}) {
        const sg_reason reason = send(SG_IN, kSyn, sequence, 0);
        EXPECT_TRUE(reason == SG_REASON_TRACKED || reason == SG_REASON_TCP_WINDOW) << reason;
        EXPECT_EQ(only_flow().word, word);
    }
    EXPECT_EQ(send(SG_IN, kSyn | kAck, client_ + 0x40000000, server_), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(only_flow().word, word);
    expect_works();
}

TEST_P(StrictStatement, SG_5_10_BlindDataAndAcknowledgementsAreRefused) {
    use(strict());
    connect(1000, 5000);
    const std::uint32_t last_seen = only_flow().last_seen;
    wait(kSecond);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 0x40000000, server_, 10), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 1001, server_, 10), SG_REASON_TCP_WINDOW) << "beyond the window";
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ - 5000, server_, 10), SG_REASON_TCP_WINDOW) << "far before it";
    EXPECT_EQ(send(SG_IN, kAck, client_, server_ + 1), SG_REASON_TCP_WINDOW) << "acknowledges what was never sent";
    EXPECT_EQ(send(SG_IN, kAck, client_, server_ - 0x40000000), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(send(SG_OUT, kFin | kAck, server_ + 0x40000000, client_), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(only_flow().last_seen, last_seen) << "nor do they keep it alive";
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_ESTABLISHED);
    expect_works();
}

TEST_P(StrictStatement, SG_5_10_WhatRealStacksSendPasses) {
    use(strict());
    connect(1000, 5000);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 500), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 500, server_, 500), SG_REASON_TRACKED) << "up to the window's edge";
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 500), SG_REASON_TRACKED) << "sent again";
    // The first half was lost: a duplicate acknowledgement with SACK of the second (RFC 2018).
    Bytes sack = {1, 1, 5, 10};
    for (const std::uint32_t edge : {client_ + 500, client_ + 1000}) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            sack.push_back(static_cast<std::uint8_t>(edge >> shift));
        }
    }
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_, 0, 1000, sack), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 500), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_ + 1000, 0, 0), SG_REASON_TRACKED) << "closes its window";
    client_ += 1000;
    EXPECT_EQ(send(SG_IN, kAck, client_, server_, 1), SG_REASON_TRACKED) << "probe of a closed window";
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_, 0, 1000), SG_REASON_TRACKED) << "opens it";
    EXPECT_EQ(send(SG_IN, kAck, client_ - 1, server_), SG_REASON_TRACKED) << "keepalive";
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_), SG_REASON_TRACKED);
    expect_works();
    EXPECT_EQ(send(SG_IN, kFin | kAck, client_, server_), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_ + 1), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_OUT, kFin | kAck, server_, client_ + 1), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_IN, kAck, client_ + 1, server_ + 1), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_TIME_WAIT);
    EXPECT_EQ(send(SG_OUT, kFin | kAck, server_, client_ + 1), SG_REASON_TRACKED) << "the last FIN again";
}

TEST_P(StrictStatement, SG_5_10_ScaledWindowsReachAsFarAsTheyReach) {
    use(strict());
    connect(1000, 5000, scale(7), scale(7), 500);  // 500 << 7 = 64,000 from the first segment after the SYNs on
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 60000, server_, 1000, 500), SG_REASON_TRACKED);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 70000, server_, 1000, 500), SG_REASON_TCP_WINDOW);
}

TEST_P(StrictStatement, SG_5_10_AScaleOfOneSideOnlyCountsForNobody) {
    use(strict());
    connect(1000, 5000, scale(7), {}, 500);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 60000, server_, 1000, 500), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 500, 500), SG_REASON_TRACKED);
}

TEST_P(StrictStatement, SG_5_10_SequenceNumbersWrapAround) {
    use(strict());
    connect(0xfffffff0, 0xfffffffe);
    for (int i = 0; i < 8; ++i) {
        expect_works();
    }
    EXPECT_LT(client_, 1000U);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 0x40000000, server_, 10), SG_REASON_TCP_WINDOW);
    EXPECT_EQ(send(SG_IN, kRst, client_, 0), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_RESET);
}

TEST_P(StrictStatement, SG_5_62_SimultaneousOpen) {
    use(strict().allow("v/g", SG_OUT, kTcp, 1, 65535, net()));
    ASSERT_EQ(send(SG_OUT, kSyn, 5000, 0), SG_REASON_RULE);
    ASSERT_EQ(send(SG_IN, kSyn, 1000, 0), SG_REASON_TRACKED);
    ASSERT_EQ(send(SG_OUT, kSyn | kAck, 5000, 1001), SG_REASON_TRACKED);
    ASSERT_EQ(send(SG_IN, kSyn | kAck, 1000, 5001), SG_REASON_TRACKED);
    client_ = 1001;
    server_ = 5001;
    EXPECT_EQ(send(SG_OUT, kAck, server_, client_), SG_REASON_TRACKED);
    expect_works();
}

TEST_P(StrictStatement, SG_5_63_PortReuseInTimeWaitNeedsALaterSequenceNumber) {
    use(strict());
    connect(1000, 5000);
    ASSERT_EQ(send(SG_IN, kFin | kAck, client_, server_), SG_REASON_TRACKED);
    ASSERT_EQ(send(SG_OUT, kFin | kAck, server_, client_ + 1), SG_REASON_TRACKED);
    ASSERT_EQ(send(SG_IN, kAck, client_ + 1, server_ + 1), SG_REASON_TRACKED);
    ASSERT_EQ(state_of_only_flow(), SG_FLOW_TIME_WAIT);
    static_cast<void>(send(SG_IN, kSyn, client_ - 100, 0));
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_TIME_WAIT) << "an old duplicate";
    EXPECT_EQ(send(SG_IN, kSyn, client_ + 64000, 0), SG_REASON_RULE);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_SYN_SENT);
    EXPECT_EQ(send(SG_OUT, kSyn | kAck, 9000, client_ + 64001), SG_REASON_TRACKED);
}

TEST_P(StrictStatement, SG_5_10_ARefusedConnectionEndsByTheExactReset) {
    use(strict());
    ASSERT_EQ(send(SG_IN, kSyn, 1000, 0), SG_REASON_RULE);
    EXPECT_EQ(send(SG_OUT, kRst | kAck, 0, 2000), SG_REASON_TCP_WINDOW) << "does not acknowledge the SYN";
    EXPECT_EQ(send(SG_OUT, kSyn | kAck, 5000, 0x40000000), SG_REASON_TCP_WINDOW) << "nor does this";
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_SYN_SENT);
    EXPECT_EQ(send(SG_OUT, kRst | kAck, 0, 1001), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), SG_FLOW_RESET);
}

TEST_P(StrictStatement, SG_5_9_SegmentsOfNoConnectionAreRefusedWhatTheRulesSay) {
    use(strict());
    for (const int flags : {+kAck, kAck | kPsh, kFin | kAck, +kRst, kSyn | kAck}) {
        EXPECT_EQ(send(SG_IN, flags, 1, 1), SG_REASON_TCP_NO_FLOW) << flags;
    }
    EXPECT_EQ(entries(), 0u);
    connect(1000, 5000);
    ASSERT_EQ(send(SG_IN, kRst, client_, 0), SG_REASON_TRACKED);
    wait(10 * kSecond + 1);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_, server_, 10), SG_REASON_TCP_NO_FLOW) << "nothing revives it";
}

TEST_P(StrictStatement, SG_5_10_ImpossibleFlagsAreRefused) {
    use(strict());
    connect(1000, 5000);
    for (const int flags : {0, kSyn | kFin, kSyn | kRst, +kFin, +kPsh, +kUrg, kFin | kPsh | kUrg, 0x3f}) {
        EXPECT_EQ(send(SG_IN, flags, client_, server_), SG_REASON_TCP_FLAGS) << flags;
    }
    expect_works();
}

TEST_P(StrictStatement, SG_5_10_AFlowOfNormalModeIsTakenAsItComes) {
    StateBuilder state = strict();
    tracking(state).strict = false;
    use(state);
    connect(1000, 5000);
    tracking(state).strict = true;
    use(state);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, client_ + 0x40000000, server_, 10), SG_REASON_TRACKED) << "its SYN was not seen";
    ends_.peer_port = 40001;
    EXPECT_EQ(send(SG_IN, kSyn, 1000, 0), SG_REASON_RULE);
    EXPECT_EQ(send(SG_IN, kAck | kPsh, 0x40000000, 0, 10), SG_REASON_TCP_WINDOW) << "new ones are checked";
}

SG_STATEMENTS(StrictStatement);

}  // namespace
}  // namespace sgbpf::test
