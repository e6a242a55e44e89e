// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.19, SG-5.46 to SG-5.52: always tracked flows, and a table that is full: tiers, budgets and their recount.
#include <algorithm>

#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class LimitStatement : public Statement {
protected:
    [[nodiscard]] StateBuilder web() const {
        StateBuilder state = world();
        state.allow("v/g", SG_IN, kTcp, 80, 80, net()).allow("v/g", SG_IN, kUdp, 53, 53, net());
        return state;
    }
    static Capacities table_of(std::uint32_t flows) {
        Capacities capacities = small_capacities();
        capacities.flows = flows + 1;  // slot 0 is never used
        return capacities;
    }
    static Ends from(int port) { return {.peer_port = static_cast<std::uint16_t>(port)}; }
    void sweep() { policy_->programs().sweep_once(now_); }
};

TEST_P(LimitStatement, SG_5_19_AlwaysTrackLeavesNoFlowUntracked) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(entries(), 0u) << "off by default";
    tracking(state).always_track = true;
    use(state);
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_OUT), SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u);
    EXPECT_EQ(tcp(SG_IN, kSyn, {}, "b"), SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u) << "of a, not of b";
}

TEST_P(LimitStatement, SG_5_19_OrOnlyThoseWithNamedPeers) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    tracking(state).always_track = false;
    tracking(state).always_track_peers = {StateBuilder::prefix(host(1))};
    use(state);
    EXPECT_EQ(tcp(SG_IN, kSyn, {.peer = 2}), SG_REASON_RULE);
    EXPECT_EQ(entries(), 0u);
    EXPECT_EQ(tcp(SG_IN, kSyn, {.peer = 1}), SG_REASON_RULE);
    EXPECT_EQ(udp(SG_OUT, {.peer = 1}), SG_REASON_RULE);
    EXPECT_EQ(entries(), 2u);
}

TEST_P(LimitStatement, SG_5_46_AFullTableRefusesNewFlowsInBothDirectionsAndKeepsTheOthers) {
    StateBuilder state = web().allow("v/g", SG_OUT, kUdp, 53, 53, net());
    tracking(state).max_flows = tracking(state).max_opening = 4;
    use(state, table_of(4));
    for (int flow = 0; flow < 4; ++flow) {
        handshake(SG_IN, from(1000 + flow));
    }
    EXPECT_EQ(tcp(SG_IN, kSyn, from(2000)), SG_REASON_NO_CAPACITY);
    EXPECT_EQ(udp(SG_OUT, {.peer_port = 53, .own_port = 5000}), SG_REASON_NO_CAPACITY);
    EXPECT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_NO_RULE) << "without a rule there is no need of one";
    for (int flow = 0; flow < 4; ++flow) {
        EXPECT_EQ(tcp(SG_IN, kAck | kPsh, from(1000 + flow)), SG_REASON_TRACKED);
        EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, from(1000 + flow)), SG_REASON_TRACKED);
    }
    ASSERT_EQ(tcp(SG_IN, kRst, from(1000)), SG_REASON_TRACKED);
    wait(11 * kSecond + 1);
    EXPECT_EQ(tcp(SG_IN, kSyn, from(2000)), SG_REASON_RULE) << "what has ended makes room, with no sweeper";
}

TEST_P(LimitStatement, SG_5_47_UntrackedFlowsNeedNoEntry) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone()).allow("v/g", SG_IN, kTcp, 22, 22, net());
    state.allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    tracking(state).max_flows = tracking(state).max_opening = 1;
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn, {.own_port = 22}), SG_REASON_RULE);
    ASSERT_NE(tcp(SG_IN, kSyn, {.peer_port = 40001, .own_port = 22}), SG_REASON_RULE);
    for (int flow = 0; flow < 10; ++flow) {
        EXPECT_EQ(tcp(SG_IN, kSyn, from(1000 + flow)), SG_REASON_RULE);
    }
    EXPECT_EQ(account("a").flows, 1u);
}

// The gauge and the counter that `show counters` names are made of these (unit tests of the api).
TEST_P(LimitStatement, SG_5_48_SG_5_51_RefusalsForLackOfAnEntryAreCountedByThemselves) {
    StateBuilder state = web();
    tracking(state).max_flows = 3;
    tracking(state).max_opening = 2;
    use(state);
    handshake(SG_IN, from(1000));
    ASSERT_EQ(tcp(SG_IN, kSyn, from(1001)), SG_REASON_RULE);
    ASSERT_EQ(tcp(SG_IN, kSyn, from(1002)), SG_REASON_RULE);
    EXPECT_EQ(account("a").flows, 3u);
    EXPECT_EQ(account("a").opening, 2u);
    EXPECT_EQ(tcp(SG_IN, kSyn, from(1003)), SG_REASON_OPENING_LIMIT);
    ASSERT_EQ(tcp(SG_OUT, kSyn | kAck, from(1001)), SG_REASON_TRACKED);
    ASSERT_EQ(tcp(SG_IN, kAck, from(1001)), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kSyn, from(1003)), SG_REASON_NO_CAPACITY);
    EXPECT_EQ(tcp(SG_IN, kSyn, {.own_port = 81}), SG_REASON_NO_RULE);
    EXPECT_EQ(counted("a", SG_REASON_OPENING_LIMIT), 1u);
    EXPECT_EQ(counted("a", SG_REASON_NO_CAPACITY), 1u);
    EXPECT_EQ(counted("a", SG_REASON_NO_RULE), 1u);
    EXPECT_EQ(counted("b", SG_REASON_NO_CAPACITY) + counted("b", SG_REASON_OPENING_LIMIT), 0u);
}

TEST_P(LimitStatement, SG_5_50_NothingLiveIsEvictedAndNothingEstablishedAges) {
    StateBuilder state = web();
    tracking(state).max_flows = 64;
    tracking(state).max_opening = 8;
    use(state, table_of(64));
    for (int flow = 0; flow < 4; ++flow) {
        handshake(SG_IN, from(1000 + flow));
    }
    const auto before = flows();
    std::size_t admitted = 0;
    for (int flow = 0; flow < 1000; ++flow) {
        admitted += tcp(SG_IN, kSyn, from(2000 + flow)) == SG_REASON_RULE ? 1 : 0;
    }
    EXPECT_EQ(admitted, 8u) << "the first ones stay: the deviation is off by default";
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck, from(2000)), SG_REASON_TRACKED);
    EXPECT_EQ(entries(), 12u);
    for (const sg_flow& old : before) {
        const auto now = policy_->programs().live_flows();
        const auto found = std::find_if(now.begin(), now.end(),
                                        [&](const sg_flow& one) { return one.key.remote_port == old.key.remote_port; });
        ASSERT_NE(found, now.end());
        EXPECT_EQ(found->word, old.word);
        EXPECT_EQ(found->last_seen, old.last_seen);
    }
}

TEST_P(LimitStatement, SG_5_50_RecyclingUnansweredFlowsIsADeviationThatIsAskedFor) {
    StateBuilder state = web();
    tracking(state).max_flows = 7;
    tracking(state).max_opening = 4;
    tracking(state).opening_recycle = 3;
    use(state, table_of(7));
    handshake(SG_IN, from(1000));
    for (int flow = 0; flow < 4; ++flow) {
        ASSERT_EQ(tcp(SG_IN, kSyn, from(2000 + flow)), SG_REASON_RULE);
    }
    wait(3 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kSyn, from(3000)), SG_REASON_OPENING_LIMIT) << "not for longer than 3 s yet";
    wait(1);
    EXPECT_EQ(tcp(SG_IN, kSyn, from(3000)), SG_REASON_RULE);
    EXPECT_GE(account("a").recycled, 1u);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, from(1000)), SG_REASON_TRACKED) << "never an established one";
}

TEST_P(LimitStatement, SG_5_52_OneInterfaceCannotTakeWhatIsReservedForAnother) {
    StateBuilder state = web();
    tracking(state, "a").max_flows = tracking(state, "a").max_opening = 16;
    tracking(state, "b").max_flows = tracking(state, "b").max_opening = 16;
    tracking(state, "a").reserved = 0;
    tracking(state, "b").reserved = 4;
    use(state, table_of(16));
    int taken = 0;
    while (taken < 20 && tcp(SG_IN, kSyn, from(1000 + taken)) == SG_REASON_RULE) {
        ++taken;
    }
    EXPECT_EQ(taken, 12) << "the pool";
    EXPECT_EQ(account_at(0).limit, 12u);
    EXPECT_EQ(counted("a", SG_REASON_NO_CAPACITY), 1u);
    for (int flow = 0; flow < 4; ++flow) {
        EXPECT_EQ(tcp(SG_IN, kSyn, from(1000 + flow), "b"), SG_REASON_RULE) << "the reserve of b";
    }
    EXPECT_EQ(tcp(SG_IN, kSyn, from(1004), "b"), SG_REASON_NO_CAPACITY);
    EXPECT_EQ(account("b").reserved, 4u);
    // What ends goes back to where it was taken from.
    ASSERT_TRUE(policy_->flush_all());
    EXPECT_EQ(account("b").reserved, 0u);
    EXPECT_EQ(account_at(0).flows, 0u);
}

TEST_P(LimitStatement, SG_5_52_AnInterfaceHasACapOfItsOwn) {
    StateBuilder state = web();
    tracking(state).max_flows = tracking(state).max_opening = 3;
    use(state);
    for (int flow = 0; flow < 3; ++flow) {
        handshake(SG_IN, from(1000 + flow));
    }
    EXPECT_EQ(tcp(SG_IN, kSyn, from(1003)), SG_REASON_NO_CAPACITY);
    handshake(SG_IN, from(1003), "b");
}

// The tier of a flow: opening until the other side answered, and counted there.
TEST_P(LimitStatement, SG_5_44_OnlyAnAnswerPromotes) {
    StateBuilder state = web().allow("v/g", SG_IN, icmp(), -1, -1, net()).allow("v/g", SG_IN, 47, 0, 0, net());
    use(state);
    const auto opening = [&] { return account("a").opening; };
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    ASSERT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 1u);
    ASSERT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 1u) << "the handshake is not complete";
    ASSERT_EQ(tcp(SG_IN, kAck), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 0u);
    const Ends dns{.peer_port = 5000, .own_port = 53};
    ASSERT_EQ(udp(SG_IN, dns), SG_REASON_RULE);
    ASSERT_EQ(udp(SG_IN, dns), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 1u);
    ASSERT_EQ(udp(SG_OUT, dns), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 0u);
    ASSERT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_RULE);
    ASSERT_EQ(other(SG_IN, 47), SG_REASON_RULE);
    EXPECT_EQ(opening(), 2u);
    ASSERT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_TRACKED);
    ASSERT_EQ(other(SG_OUT, 47), SG_REASON_TRACKED);
    EXPECT_EQ(opening(), 0u);
    EXPECT_EQ(account("a").flows, 4u);
}

TEST_P(LimitStatement, SG_5_52_ARecountMakesACountGoodThatWasLost) {
    StateBuilder state = web();
    use(state);
    handshake(SG_IN, from(1000));
    ASSERT_EQ(tcp(SG_IN, kSyn, from(1001)), SG_REASON_RULE);
    sweep();
    sweep();
    EXPECT_EQ(account("a").corrected, 0u) << "nothing was wrong";
    for (const int drift : {7, -1}) {
        sg_account wrong = account("a");
        wrong.flows += static_cast<std::uint32_t>(drift);
        wrong.opening += static_cast<std::uint32_t>(drift);
        set_account(policy_->slot("a"), wrong);
        sg_account pool = account_at(0);
        pool.flows += 5;
        set_account(0, pool);
        sweep();
        sweep();
        EXPECT_EQ(account("a").flows, 2u);
        EXPECT_EQ(account("a").opening, 1u);
        EXPECT_EQ(flow_table_faults(policy_->programs()), "");
    }
    EXPECT_EQ(account("a").corrected, 2u);
    EXPECT_EQ(account_at(0).corrected, 2u);
}

SG_STATEMENTS(LimitStatement);

}  // namespace
}  // namespace sgbpf::test
