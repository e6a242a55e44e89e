// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Flows that are looked at again (revocation: SG-5.21, 5.26) and connections that were there before us (adoption), by
// the words that user space writes: epochs of the interface, its account.
#include <bpf/bpf.h>

#include <functional>

#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

class SecondLook : public Statement {
protected:
    // What a commit changes in the interface's configuration, without one.
    void configure(const std::function<void(sg_interface_config&)>& change) {
        const std::uint32_t slot = policy_->slot("a");
        const int map = policy_->programs().map_fd("sg_interfaces");
        sg_interface record{};
        ASSERT_EQ(bpf_map_lookup_elem(map, &slot, &record), 0);
        change(record.config[0]);
        change(record.config[1]);
        ASSERT_EQ(bpf_map_update_elem(map, &slot, &record, 0), 0);
    }
    void recheck() {
        configure([](sg_interface_config& config) { config.recheck_since = ++config.epoch; });
    }
    void kill() {
        configure([](sg_interface_config& config) { config.kill_since = ++config.epoch; });
    }
    sg_account account() {
        const std::uint32_t slot = policy_->slot("a");
        sg_account found{};
        EXPECT_EQ(bpf_map_lookup_elem(policy_->programs().map_fd("sg_accounts"), &slot, &found), 0);
        return found;
    }
    void adopt_for(std::uint64_t milliseconds) {
        const std::uint32_t slot = policy_->slot("a");
        sg_account changed = account();
        changed.adopt_until = now_ + milliseconds;
        ASSERT_EQ(bpf_map_update_elem(policy_->programs().map_fd("sg_accounts"), &slot, &changed, 0), 0);
    }
    [[nodiscard]] StateBuilder ssh() const { return StateBuilder(world()).allow("v/g", SG_IN, kTcp, 22, 22, net()); }
    const Ends ssh_ends_{.own_port = 22};
};

TEST_P(SecondLook, RecheckEndsWhatNoRuleAdmitsAnyMore) {
    for (const unsigned direction : {SG_IN, SG_OUT}) {  // of the packet that finds out; a reply too
        use(ssh());
        handshake(SG_IN, ssh_ends_);
        use(world());
        ASSERT_EQ(tcp(SG_IN, kAck | kPsh, ssh_ends_), SG_REASON_TRACKED) << "SG-5.21: without revocation it lives";
        recheck();
        EXPECT_EQ(tcp(direction, kAck | kPsh, ssh_ends_), SG_REASON_NO_RULE);
        EXPECT_EQ(entries(), 0u);
    }
}

TEST_P(SecondLook, RecheckKeepsWhatAnotherRuleAdmitsAndNamesIt) {
    use(ssh());
    handshake(SG_IN, ssh_ends_);
    StateBuilder other = world();
    other.allow("v/g", SG_IN, kTcp, 20, 30, anyone());
    use(other);
    recheck();
    const auto answer = judge(SG_OUT, tcp_frame(SG_OUT, kAck | kPsh, ssh_ends_));
    EXPECT_EQ(answer.reason, SG_REASON_TRACKED);
    EXPECT_EQ(policy_->rule_id(answer), other.state().groups.at("v/g").rules[SG_IN][0].id);
    EXPECT_EQ(state_of_only_flow(), static_cast<unsigned>(SG_FLOW_ESTABLISHED));
    use(world());
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh_ends_), SG_REASON_TRACKED) << "judged once, until the next revocation";
}

TEST_P(SecondLook, RecheckJudgesTheOpeningPacketNotTheReply) {
    StateBuilder out = world();
    out.allow("v/g", SG_OUT, kUdp, 53, 53, net());
    use(out);
    const Ends dns{.peer_port = 53, .own_port = 5353};
    ASSERT_EQ(udp(SG_OUT, dns), SG_REASON_RULE);
    recheck();
    EXPECT_EQ(udp(SG_IN, dns), SG_REASON_TRACKED);
    use(StateBuilder(world()).allow("v/g", SG_IN, kUdp, 5353, 5353, net()));
    recheck();
    EXPECT_EQ(udp(SG_OUT, dns), SG_REASON_NO_RULE);
    EXPECT_EQ(entries(), 0u);
}

TEST_P(SecondLook, RecheckAsksAboutTheIcmpTypeThatOpened) {
    use(StateBuilder(world()).allow("v/g", SG_IN, icmp(), echo_request(), -1, net()));
    ASSERT_EQ(icmp_packet(SG_IN, echo_request(), 7), SG_REASON_RULE);
    recheck();
    EXPECT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_TRACKED);
    use(StateBuilder(world()).allow("v/g", SG_IN, icmp(), echo_reply(), -1, net()));
    recheck();
    EXPECT_EQ(icmp_packet(SG_OUT, echo_reply(), 7), SG_REASON_NO_RULE);
}

TEST_P(SecondLook, AResetEndsARevokedFlowAndHelpsNobodyPast) {
    use(ssh());
    handshake(SG_IN, ssh_ends_);
    use(world());
    recheck();
    EXPECT_EQ(tcp(SG_IN, kRst, ssh_ends_), SG_REASON_TRACKED);
    EXPECT_EQ(state_of_only_flow(), static_cast<unsigned>(SG_FLOW_RESET));
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh_ends_), SG_REASON_NO_RULE) << "a reset does not stand for the second look";
    EXPECT_EQ(entries(), 0u);
}

TEST_P(SecondLook, KillEndsFlowsWhoseOwnRuleIsGone) {
    const StateBuilder both = StateBuilder(ssh()).allow("v/g", SG_IN, kTcp, 80, 80, net());
    use(both);
    const Ends web{.own_port = 80};
    handshake(SG_IN, ssh_ends_);
    handshake(SG_IN, web);
    StateBuilder after = both;
    auto& rules = after.state().groups.at("v/g").rules[SG_IN];
    rules.erase(rules.begin());
    use(after.allow("v/g", SG_IN, kTcp, 20, 30, net()));
    kill();
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, web), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh_ends_), SG_REASON_NO_RULE) << "another rule admits it, but its own is gone";
    EXPECT_EQ(tcp(SG_IN, kSyn, ssh_ends_), SG_REASON_RULE) << "it may be opened again";
}

TEST_P(SecondLook, AdoptionTakesUpMidstreamTcpByTheRulesOfEitherDirection) {
    use(ssh());
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh_ends_), SG_REASON_NO_RULE) << "off by default";
    adopt_for(5 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh_ends_), SG_REASON_ADOPTED) << "the answer of a server comes first";
    EXPECT_EQ(SG_WORD_TIER(only_flow().word), SG_TIER_OPENING) << "until the other side is seen";
    EXPECT_EQ(tcp(SG_IN, kAck | kPsh, ssh_ends_), SG_REASON_TRACKED);
    const sg_flow flow = only_flow();
    EXPECT_EQ(SG_WORD_FLAGS(flow.word), SG_FLOW_ADOPTED) << "opened from outside";
    EXPECT_EQ(SG_WORD_STATE(flow.word), SG_FLOW_ESTABLISHED);
    EXPECT_EQ(SG_WORD_TIER(flow.word), SG_TIER_ESTABLISHED);
    EXPECT_EQ(flow.packets[0], 1u);
    EXPECT_EQ(flow.packets[1], 1u);
    EXPECT_EQ(account().adopted, 1u);
    const Ends second{.peer_port = 40001, .own_port = 22};
    EXPECT_EQ(tcp(SG_IN, kAck, second), SG_REASON_ADOPTED);
    EXPECT_EQ(tcp(SG_OUT, kAck, second), SG_REASON_TRACKED);
    for (const sg_flow& one : flows()) {
        EXPECT_EQ(SG_WORD_STATE(one.word), SG_FLOW_ESTABLISHED);
    }
    EXPECT_EQ(account().opening, 0u);
    EXPECT_EQ(tcp(SG_IN, kAck, {.own_port = 23}), SG_REASON_NO_RULE) << "only what the rules admit";
    for (const int flags : {kSyn | kAck, kRst | kAck, kFin | kAck}) {
        EXPECT_NE(tcp(SG_OUT, flags, {.peer_port = 40002, .own_port = 22}), SG_REASON_ADOPTED) << flags;
    }
    EXPECT_EQ(entries(), 2u);
    wait(5 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 40003, .own_port = 22}), SG_REASON_NO_RULE) << "the window is over";
    EXPECT_EQ(tcp(SG_IN, kAck, ssh_ends_), SG_REASON_TRACKED) << "what was taken up stays";
}

TEST_P(SecondLook, AdoptionTakesTheHigherPortForTheOneThatAsked) {
    use(ssh().allow("v/g", SG_OUT, kTcp, 0, 65535, net()));
    adopt_for(5 * kSecond);
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, ssh_ends_), SG_REASON_ADOPTED);
    EXPECT_EQ(SG_WORD_FLAGS(only_flow().word) & SG_FLOW_OPENED_OUT, 0);
    ASSERT_TRUE(policy_->flush_all());
    EXPECT_EQ(tcp(SG_OUT, kAck | kPsh, {.peer_port = 443, .own_port = 50000}), SG_REASON_ADOPTED);
    EXPECT_NE(SG_WORD_FLAGS(only_flow().word) & SG_FLOW_OPENED_OUT, 0);
}

TEST_P(SecondLook, AdoptionTakesUpAnswersOfOtherProtocolsAndLeavesUntrackedFlowsUntracked) {
    use(StateBuilder(world())
            .allow("v/g", SG_OUT, kUdp, 53, 53, net())
            .allow("v/g", SG_IN, kUdp, 161, 161, net())
            .allow("v/g", SG_IN, kTcp, 22, 22, anyone())
            .allow("v/g", SG_OUT, kTcp, 0, 65535, anyone()));
    adopt_for(5 * kSecond);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 53, .own_port = 5353}), SG_REASON_NO_RULE) << "anybody can send an answer";
    EXPECT_EQ(udp(SG_OUT, {.peer_port = 40000, .own_port = 161}), SG_REASON_ADOPTED) << "what the workload answers";
    EXPECT_EQ(udp(SG_OUT, {.peer_port = 40000, .own_port = 162}), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 40000, .own_port = 161}), SG_REASON_TRACKED);
    EXPECT_EQ(tcp(SG_IN, kAck, ssh_ends_), SG_REASON_RULE) << "SG-5.15: would never have been tracked";
    EXPECT_EQ(entries(), 1u);
}

TEST_P(SecondLook, AdoptionIsNoWayPastTheRules) {
    use(StateBuilder(world()).allow("v/g", SG_OUT, kTcp, 0, 65535, net()).allow("v/g", SG_OUT, kUdp, 0, 65535, net()));
    adopt_for(60 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kAck, ssh_ends_), SG_REASON_NO_RULE) << "the higher port asks: no rule lets it";
    EXPECT_EQ(udp(SG_IN, {.peer_port = 40000, .own_port = 161}), SG_REASON_NO_RULE);
    EXPECT_EQ(udp(SG_IN, {.peer_port = 1, .own_port = 161}), SG_REASON_NO_RULE);
    const Ends forged{.peer_port = 21, .own_port = 22};  // as if port 22 of the workload had asked
    EXPECT_EQ(tcp(SG_IN, kAck, forged), SG_REASON_ADOPTED);
    EXPECT_EQ(tcp(SG_IN, kSyn, forged), SG_REASON_NO_RULE) << "a SYN opens a connection, whatever was adopted";
    EXPECT_EQ(tcp(SG_IN, kAck, forged), SG_REASON_TRACKED);
    EXPECT_EQ(SG_WORD_STATE(only_flow().word), SG_FLOW_SYN_RECEIVED) << "one side alone completes nothing (SG-5.44)";
    wait(61 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kAck, forged), SG_REASON_NO_RULE);
}

TEST_P(SecondLook, ResetsKeepNoRevokedFlowAlive) {
    use(ssh());
    handshake(SG_IN, ssh_ends_);
    use(world());
    recheck();
    ASSERT_EQ(tcp(SG_IN, kRst, ssh_ends_), SG_REASON_TRACKED);
    wait(6 * kSecond);
    ASSERT_EQ(tcp(SG_IN, kRst | kAck, ssh_ends_), SG_REASON_TRACKED);
    wait(6 * kSecond);
    EXPECT_EQ(tcp(SG_IN, kRst | kAck, ssh_ends_), SG_REASON_NO_RULE);
}

// SG-5.17 holds in strict mode too: the answers of a server that anybody may reach are no segments of no connection.
TEST_P(SecondLook, StrictModePassesTheAnswersOfUntrackedFlows) {
    StateBuilder open = world();
    open.allow("v/g", SG_IN, kTcp, 80, 80, anyone()).allow("v/g", SG_OUT, kAllProtocols, 0, 0, anyone());
    open.state().interfaces.at("a").tracking.strict = true;
    use(open);
    EXPECT_EQ(tcp(SG_IN, kSyn), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck), SG_REASON_RULE);
    EXPECT_EQ(tcp(SG_IN, kAck), SG_REASON_RULE);
    EXPECT_EQ(entries(), 0u);
    EXPECT_EQ(tcp(SG_OUT, kAck, {.peer_port = 443, .own_port = 50000}), SG_REASON_TCP_NO_FLOW) << "would be tracked";
    EXPECT_EQ(tcp(SG_OUT, kSyn | kAck, {.own_port = 81}), SG_REASON_TCP_NO_FLOW) << "nobody may ask there";
}

TEST_P(SecondLook, TheSweeperRecyclesForAnInterfaceWithoutRoom) {
    StateBuilder state = ssh();
    state.state().interfaces.at("a").tracking.max_opening = 4;
    state.state().interfaces.at("a").tracking.opening_recycle = 2;
    use(state);
    for (std::uint16_t port = 1; port <= 4; ++port) {
        ASSERT_EQ(tcp(SG_IN, kSyn, {.peer_port = port, .own_port = 22}), SG_REASON_RULE);
    }
    policy_->programs().sweep_once(now_);
    ASSERT_EQ(entries(), 4u) << "young";
    wait(2 * kSecond + 1);
    policy_->programs().sweep_once(now_);
    EXPECT_EQ(entries(), 3u) << "one made room; the others are not in the way";
    EXPECT_EQ(account().recycled, 1u);
    EXPECT_EQ(tcp(SG_IN, kSyn, {.peer_port = 9, .own_port = 22}), SG_REASON_RULE);
}

SG_STATEMENTS(SecondLook);

}  // namespace
}  // namespace sgbpf::test
