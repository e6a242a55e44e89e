// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Choices beside SG-5.21 and SG-5.8: revocation (recheck, kill) and adoption of connections that were there before.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class RevokeStatement : public Statement {
protected:
    [[nodiscard]] static StateBuilder with(Revocation revocation) {
        StateBuilder state = world();
        tracking(state).revocation = revocation;
        tracking(state, "b").revocation = Revocation::kKeep;
        return state;
    }
    static Ends from(int port) { return {.peer_port = static_cast<std::uint16_t>(port)}; }
};

TEST_P(RevokeStatement, SG_5_21_RecheckEndsWhatTheRulesNoLongerAdmit) {
    const StateBuilder without = with(Revocation::kRecheck);
    use(StateBuilder(without).allow("v/g", SG_IN, kTcp, 80, 80, net()).allow("v/g", SG_OUT, kUdp, 53, 53, net()));
    handshake(SG_IN, from(1000));
    handshake(SG_IN, from(1001));
    handshake(SG_IN, from(1000), "b");
    const Ends dns{.peer_port = 53, .own_port = 5000};
    ASSERT_EQ(udp(SG_OUT, dns), SG_REASON_RULE);
    use(StateBuilder(without).allow("v/g", SG_OUT, kUdp, 53, 53, net()));
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, from(1000)), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, from(1001)), SG_REASON_NO_RULE) << "a reply is judged by what opened the flow";
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, from(1000), "b"), SG_REASON_TRACKED) << "b keeps";
    EXPECT_EQ(udp(SG_IN, dns), SG_REASON_TRACKED) << "its rule is still there";
    EXPECT_EQ(entries(), 2u) << "what was ended is gone";
}

TEST_P(RevokeStatement, SG_5_22_RecheckFollowsListsGroupsAndAssociations) {
    StateBuilder listed = with(Revocation::kRecheck);
    listed.list("clients", {host(1), host(2)}).allow("v/g", SG_IN, kTcp, 80, 80, "list:clients");
    use(listed);
    handshake(SG_IN, {.peer = 1});
    handshake(SG_IN, {.peer = 2});
    State shorter = listed;
    shorter.prefix_lists.at("clients").entries.erase(shorter.prefix_lists.at("clients").entries.begin());
    use(shorter);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, {.peer = 1}), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, {.peer = 2}), SG_REASON_TRACKED);
}

TEST_P(RevokeStatement, SG_5_21_RecheckTakesTheRuleThatAdmitsNow) {
    const StateBuilder empty = with(Revocation::kRecheck);
    use(StateBuilder(empty).allow("v/g", SG_IN, kTcp, 80, 80, net(), "sgr-0000000000000000a"));
    handshake(SG_IN);
    use(StateBuilder(empty).allow("v/g", SG_IN, kTcp, 1, 1024, net(), "sgr-0000000000000000b"));
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_EQ(policy_->image().rule_id(only_flow().rule), "sgr-0000000000000000b");
}

TEST_P(RevokeStatement, SG_5_21_KillEndsFlowsOfRulesThatAreGone) {
    const StateBuilder empty = with(Revocation::kKill);
    use(StateBuilder(empty)
            .allow("v/g", SG_IN, kTcp, 80, 80, net(), "sgr-0000000000000000a")
            .allow("v/g", SG_IN, kTcp, 81, 81, net(), "sgr-0000000000000000b"));
    handshake(SG_IN, {.own_port = 80});
    handshake(SG_IN, {.own_port = 81});
    use(StateBuilder(empty).allow("v/g", SG_IN, kTcp, 81, 81, net(), "sgr-0000000000000000b"));
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, {.own_port = 80}), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, {.own_port = 80}), SG_REASON_NO_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, {.own_port = 81}), SG_REASON_TRACKED);
}

// Adoption: off by default (SG-5.8); while its window is open, segments in mid-stream make entries.
TEST_P(RevokeStatement, SG_5_8_WhileTheWindowOfAdoptionIsOpenConnectionsAreTakenUp) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_NO_RULE);
    sg_account open = account("a");
    open.adopt_until = now_ + 10 * kSecond;
    set_account(policy_->slot("a"), open);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_ADOPTED) << "a reply that inbound rules vouch for";
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_NE(SG_WORD_FLAGS(only_flow().word) & SG_FLOW_ADOPTED, 0);
    EXPECT_EQ(SG_WORD_FLAGS(only_flow().word) & SG_FLOW_OPENED_OUT, 0) << "the peer opened it";
    EXPECT_EQ(tcp(SG_OUT, kAck, {.own_port = 81}), SG_REASON_NO_RULE) << "no rule of either direction";
    for (const int flags : {+kRst, kFin | kAck, kSyn | kAck}) {
        EXPECT_EQ(tcp(SG_OUT, flags, from(1000)), SG_REASON_NO_RULE) << flags;
    }
    EXPECT_EQ(tcp(SG_OUT, kAck, from(1001), "b"), SG_REASON_NO_RULE) << "b has no window";
    EXPECT_EQ(account("a").adopted, 1u);
    wait(10 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, from(1002)), SG_REASON_NO_RULE) << "the window is over";
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_TRACKED);
}

SG_STATEMENTS(RevokeStatement);

}  // namespace
}  // namespace sgbpf::test
