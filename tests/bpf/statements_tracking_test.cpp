// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.11 to SG-5.19: which flows are tracked.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class TrackingStatement : public Statement {
protected:
    enum class Tracked { kYes, kNo, kDropped };
    // Whether the first packet of a flow makes an entry.
    Tracked opens(unsigned direction, Protocol protocol, std::uint16_t port, int peer_number = 1) {
        const std::size_t before = entries();
        ++ephemeral_;
        const Ends ends = direction == SG_IN ? Ends{.peer_port = ephemeral_, .own_port = port, .peer = peer_number}
                                             : Ends{.peer_port = port, .own_port = ephemeral_, .peer = peer_number};
        const sg_reason reason = protocol == kTcp ? tcp(direction, kSyn, ends) : udp(direction, ends);
        if (reason != SG_REASON_RULE) {
            return Tracked::kDropped;
        }
        return entries() == before ? Tracked::kNo : Tracked::kYes;
    }
    // Both families; the family under test is `anyone()`.
    [[nodiscard]] StateBuilder open_out() const {
        StateBuilder state = world();
        state.allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
        return state;
    }

private:
    std::uint16_t ephemeral_ = 50000;
};

TEST_P(TrackingStatement, SG_5_11_TheTwoRulesMayComeFromDifferentGroups) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    state.allow("v/h", SG_OUT, kTcp, 0, 65535, anyone());
    use(state);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes) << "g alone";
    ASSERT_TRUE(policy_->flush_all());
    state.state().interfaces.at("a").groups = {"v/g", "v/h"};
    use(state);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kNo);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck, {.peer_port = 50001}), SG_REASON_RULE);
}

TEST_P(TrackingStatement, SG_5_12_TwoHalvesOrAListThatAddUpToEverythingAreNotEveryone) {
    const std::vector<std::string> halves =
        v6() ? std::vector<std::string>{"::/1", "8000::/1"} : std::vector<std::string>{"0.0.0.0/1", "128.0.0.0/1"};
    StateBuilder by_halves = open_out();
    by_halves.allow("v/g", SG_IN, kTcp, 80, 80, halves[0]).allow("v/g", SG_IN, kTcp, 80, 80, halves[1]);
    use(by_halves);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes);

    StateBuilder by_list = open_out();
    by_list.list("all", {anyone()}).allow("v/g", SG_IN, kTcp, 80, 80, "list:all");
    use(by_list);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes);

    StateBuilder halves_back = world();
    halves_back.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    halves_back.allow("v/g", SG_OUT, kTcp, 0, 65535, halves[0]).allow("v/g", SG_OUT, kTcp, 0, 65535, halves[1]);
    use(halves_back);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes) << "the other direction must be literal too";
}

TEST_P(TrackingStatement, SG_5_12_AGroupReferenceNeverMakesAFlowUntracked) {
    StateBuilder state = open_out();
    state.allow("v/g", SG_IN, kTcp, 80, 80, "group:v/g");
    use(state);
    const Bytes syn = between(own("b"), own("a")) / Tcp{.from = 50000, .to = 80, .flags = kSyn};
    const PacketResult result = judge(SG_IN, syn);
    EXPECT_EQ(result.reason, SG_REASON_RULE);
    EXPECT_TRUE(result.tracked);
}

TEST_P(TrackingStatement, SG_5_13_ANarrowerRuleBesideItDoesNotTrack) {
    StateBuilder state = open_out();
    state.allow("v/g", SG_IN, kTcp, 80, 80, host(1)).allow("v/g", SG_IN, kTcp, 1, 1024, net());
    use(state);
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes);
    use(state.allow("v/g", SG_IN, kTcp, 80, 80, anyone()));
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kNo);
    EXPECT_EQ(opens(SG_IN, kTcp, 81), Tracked::kYes) << "only the narrower rule admits this port";
}

TEST_P(TrackingStatement, SG_5_14_FamiliesAreIndependent) {
    StateBuilder state = world();
    for (const std::string& all : {anyone(), other_anyone()}) {
        state.allow("v/g", SG_IN, kTcp, 80, 80, all);
    }
    // All out of the other family only: flows of ours are tracked.
    use(StateBuilder(state).allow("v/g", SG_OUT, kAllProtocols, 0, 0, other_anyone()));
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kYes);
    use(StateBuilder(state).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone()));
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kNo) << "that of the other family is gone, ours is back";
}

TEST_P(TrackingStatement, SG_5_15_TypicalRules) {
    StateBuilder state = open_out();
    state.allow("v/g", SG_IN, kTcp, 22, 22, host(1)).allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    state.allow("v/g", SG_IN, icmp(), -1, -1, anyone());
    use(state);
    EXPECT_EQ(opens(SG_IN, kTcp, 22), Tracked::kYes) << "SSH";
    EXPECT_EQ(opens(SG_IN, kTcp, 80), Tracked::kNo) << "HTTP";
    EXPECT_EQ(opens(SG_IN, kTcp, 22, 2), Tracked::kDropped);
    const std::size_t before = entries();
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_RULE);
    EXPECT_EQ(entries(), before + 1);
}

TEST_P(TrackingStatement, SG_5_16_ConnectionsThatTheWorkloadOpensAreTrackedByTheSameRules) {
    StateBuilder state = open_out();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    use(state);
    EXPECT_EQ(opens(SG_OUT, kTcp, 443), Tracked::kYes) << "inbound has no rule for all ports";
    EXPECT_EQ(opens(SG_OUT, kUdp, 53), Tracked::kYes);
    use(state.allow("v/g", SG_IN, kTcp, 0, 65535, anyone()));
    EXPECT_EQ(opens(SG_OUT, kTcp, 443), Tracked::kNo);
    EXPECT_EQ(opens(SG_OUT, kUdp, 53), Tracked::kYes) << "all ports of TCP are not all ports of UDP";
}

TEST_P(TrackingStatement, SG_5_17_RepliesOfAnUntrackedFlowNeedARuleOfTheirOwn) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    use(StateBuilder(state).allow("v/g", SG_OUT, kTcp, 0, 65535, anyone()));
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_RULE);
    ASSERT_EQ(entries(), 0u);
    use(state);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_NO_RULE);
}

SG_STATEMENTS(TrackingStatement);

}  // namespace
}  // namespace sgbpf::test
