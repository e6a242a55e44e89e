// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.20 to SG-5.28: what a change of the rules does to flows that exist.
#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

using ChangeStatement = Statement;

TEST_P(ChangeStatement, SG_5_20_AnUntrackedFlowBreaksAtOnceWithItsRule) {
    StateBuilder state = world();
    state.allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    use(StateBuilder(state).allow("v/g", SG_IN, kTcp, 22, 22, anyone()));
    const Ends ssh{.own_port = 22};
    ASSERT_EQ(tcp(SG_IN, kSyn, ssh), SG_REASON_RULE);
    ASSERT_EQ(tcp(SG_OUT, kSyn | kAck, ssh), SG_REASON_RULE);
    ASSERT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_RULE);
    ASSERT_EQ(entries(), 0u);
    use(state);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_NO_RULE);
    // The workload's own segments pass by the rule that is left and make no entry that would revive it.
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_NO_RULE);
}

TEST_P(ChangeStatement, SG_5_21_ATrackedFlowSurvivesTheRemovalOfItsRule) {
    StateBuilder state = world();
    use(StateBuilder(state).allow("v/g", SG_IN, kTcp, 22, 22, net()));
    const Ends ssh{.own_port = 22};
    handshake(SG_IN, ssh);
    use(state);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kSyn, {.peer_port = 40001, .own_port = 22}), SG_REASON_NO_RULE) << "new ones are refused";
    wait(432000 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_TRACKED) << "until it idles out";
    wait(432000 * kSecond + 1);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh), SG_REASON_NO_RULE);
}

// The same for every other way in which what admitted a flow can go away.
TEST_P(ChangeStatement, SG_5_22_TrackedFlowsSurviveTheOtherChangesToo) {
    const Ends dns{.peer_port = 53, .own_port = 5000};
    const auto survives = [&](const char* what, const State& before, const State& after) {
        SCOPED_TRACE(what);
        use(before);
        ASSERT_EQ(udp(SG_OUT, dns), SG_REASON_RULE);
        use(after);
        EXPECT_EQ(udp(SG_IN, dns), SG_REASON_TRACKED);
        EXPECT_EQ(udp(SG_OUT, dns), SG_REASON_TRACKED);
        EXPECT_EQ(udp(SG_OUT, {.peer_port = 53, .own_port = 5001}), SG_REASON_NO_RULE) << "new flows are refused";
        ASSERT_TRUE(policy_->flush_all());
    };
    survives("the outbound rule is removed", StateBuilder(world()).allow("v/g", SG_OUT, kUdp, 53, 53, net()), world());
    StateBuilder listed = world();
    listed.list("servers", {host(1), host(2)}).allow("v/g", SG_OUT, kUdp, 53, 53, "list:servers");
    State shorter = listed;
    shorter.prefix_lists.at("servers").entries.erase(shorter.prefix_lists.at("servers").entries.begin());
    survives("the peer leaves the prefix list", listed, shorter);
    StateBuilder grouped = world();
    grouped.allow("v/g", SG_OUT, kUdp, 53, 53, "group:v/h");
    grouped.interface("server", {"v/h"}, {peer(1)});
    State elsewhere = grouped;
    elsewhere.interfaces.at("server").groups = {"v/g"};
    survives("the peer leaves the referenced group", grouped, elsewhere);
    StateBuilder associated = world();
    associated.allow("v/h", SG_OUT, kUdp, 53, 53, net());
    State dissociated = associated;
    associated.state().interfaces.at("a").groups = {"v/g", "v/h"};
    survives("the interface leaves the group", associated, dissociated);
}

TEST_P(ChangeStatement, SG_5_23_AnAddedRuleHoldsForTheNextPacket) {
    StateBuilder state = world();
    use(state);
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_NO_RULE);
    use(state.allow("v/g", SG_IN, kTcp, 80, 80, net()));
    handshake(SG_IN);
}

TEST_P(ChangeStatement, SG_5_24_AFlowThatWouldNowNeedTrackingIsInterrupted) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    use(StateBuilder(state).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone()));
    ASSERT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    ASSERT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_RULE);
    use(state);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_RULE) << "its inbound segments still match";
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_NO_RULE) << "its replies match nothing";
    handshake(SG_IN, {.peer_port = 40001});
}

TEST_P(ChangeStatement, SG_5_25_AnEntryStaysWhenItsFlowCouldBeUntracked) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, anyone());
    use(state);
    handshake(SG_IN);
    use(state.allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone()));
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_TRACKED);
    ASSERT_EQ(tcp(SG_OUT, kRst), SG_REASON_TRACKED);
    wait(11 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE) << "after its end the tuple is untracked";
    policy_->programs().sweep_once(now_ + kSecond);
    EXPECT_EQ(entries(), 0u);
}

// The loss of the agent is the loss of nothing: entries are in maps that commits do not touch. Processes that
// end and are upgraded: tests/netns, tests/bpf/datapath.
TEST_P(ChangeStatement, SG_5_27_EntriesSurviveReloadsAndRestarts) {
    StateBuilder state = world();
    state.allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(state);
    handshake(SG_IN);
    for (int commit = 0; commit < 5; ++commit) {
        use(state.allow("v/g", SG_IN, kTcp, 1000 + commit, 1000 + commit, net()));
        EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
    }
    ASSERT_TRUE(policy_->recover()) << "what the next process does first";
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh), SG_REASON_TRACKED);
}

SG_STATEMENTS(ChangeStatement);

}  // namespace
}  // namespace sgbpf::test
