// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The operator's own connection is not cut by accident.
#include <gtest/gtest.h>

#include <arpa/inet.h>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kRules = "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n";
constexpr int kTap = 12;  // ifindex of tap-web0

OperatorSession over_ssh() {
    return *OperatorSession::parse("198.51.100.7 50122 10.0.1.10 22");
}

ApplyOptions guarded() {
    ApplyOptions options;
    options.session = over_ssh();
    return options;
}

// The machine that the rules protect is this host.
std::string host_state(const std::string& rules = kRules) {
    std::string text = state_text(rules);
    text.replace(text.find("role: workload"), 14, "role: host");
    return text;
}

struct Guarded : testing::Test {
    Guarded() {
        host.kernel.between = {kTap};
        pass(SG_IN, true);
        pass(SG_OUT, true);
    }
    void pass(unsigned direction, bool passed) {
        host.kernel.trial_answer[direction].passed = passed;
        host.kernel.trial_answer[direction].outcome.reason = passed ? SG_REASON_RULE : SG_REASON_NO_RULE;
    }
    Host host;
};

TEST(OperatorSession, IsReadFromWhatSshdWrites) {
    const auto v4 = OperatorSession::parse("198.51.100.7 50122 10.0.1.10 22");
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->to_string(), "198.51.100.7:50122 -> :22");
    const auto v6 = OperatorSession::parse("fe80::1%eth0 50122 fe80::2%eth0 2222");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->to_string(), "[fe80::1]:50122 -> :2222");
    for (const char* bad :
         {"", "x", "198.51.100.7 50122", "198.51.100.7 50122 10.0.1.10 99999", "198.51.100.7 50122 fe80::2 22"}) {
        EXPECT_FALSE(OperatorSession::parse(bad)) << bad;
    }
}

TEST_F(Guarded, ApplyIsRefusedBeforeAnythingChanges) {
    pass(SG_IN, false);
    const std::string before = host.kernel_bytes();
    const auto refused = host.apply(host_state(), guarded());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kRefused);
    EXPECT_EQ(
        refused.error().message,
        "your session 198.51.100.7:50122 -> :22 runs over tap-web0 and would be cut: no rule admits it; --force to "
        "override; nothing changed");
    EXPECT_EQ(host.kernel_bytes(), before);
    EXPECT_TRUE(host.apply(host_state())) << "without a session nothing is guarded";
}

TEST_F(Guarded, AConnectionFromBeforeNeedsARuleForItsAnswersToo) {
    pass(SG_OUT, false);
    const auto refused = host.apply(host_state(), guarded());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("no rule admits its answers"), std::string::npos) << refused.error().message;
    ASSERT_EQ(host.kernel.trials.size(), 2u);
    EXPECT_EQ(host.kernel.trials[0].direction, SG_IN);
    EXPECT_EQ(host.kernel.trials[1].direction, SG_OUT);
}

TEST_F(Guarded, ATrackedConnectionDoesNot) {
    ASSERT_TRUE(host.apply(host_state()));
    sg_flow flow{};
    flow.key.interface_slot = 1;
    flow.key.protocol = kTcp;
    flow.key.family = SG_IPV4;
    flow.key.local_port = htons(22);
    flow.key.remote_port = htons(50122);
    flow.word = SG_FLOW_ESTABLISHED;
    host.kernel.flow_list = {flow};
    pass(SG_OUT, false);
    EXPECT_TRUE(host.apply(host_state("      - {protocol: tcp, port: 22, cidr: 0.0.0.0/0}\n"), guarded()));
    pass(SG_IN, false);  // but the next one could not be opened
    const auto refused = host.apply(host_state("      - {protocol: tcp, port: 80, cidr: 0.0.0.0/0}\n"), guarded());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("could not be opened again"), std::string::npos) << refused.error().message;
}

TEST_F(Guarded, AnOperatorInAGuestIsGuardedTheOtherWayRound) {
    pass(SG_OUT, false);
    EXPECT_FALSE(host.apply(state_text(kRules), guarded()));
    ASSERT_FALSE(host.kernel.trials.empty());
    EXPECT_EQ(host.kernel.trials[0].direction, SG_OUT) << "the guest opened it";
}

TEST_F(Guarded, OtherDevicesAreNoConcern) {
    pass(SG_IN, false);
    host.kernel.between = {kTap + 1};
    EXPECT_TRUE(host.apply(host_state(), guarded()));
    EXPECT_TRUE(host.kernel.trials.empty());
}

TEST_F(Guarded, AnInterfaceThatLeavesOrIsQuarantinedWouldCutItToo) {
    ASSERT_TRUE(host.apply(host_state()));
    std::string gone = host_state();
    gone.erase(gone.find("  web0:"));
    gone += "  other0: {vpc: prod, match: {device: tap-other}, addresses: [10.0.1.11], groups: [web]}\n";
    ApplyOptions options = guarded();
    options.allow_leaving = true;
    const std::string before = host.kernel_bytes();
    const auto left = host.apply(gone, options);
    ASSERT_FALSE(left);
    EXPECT_NE(left.error().message.find("without an interface"), std::string::npos) << left.error().message;
    const auto quarantined = host.engine->detach("web0", true, over_ssh());
    ASSERT_FALSE(quarantined);
    EXPECT_NE(quarantined.error().message.find("a quarantine drops everything"), std::string::npos);
    EXPECT_EQ(host.kernel_bytes(), before);
}

TEST_F(Guarded, AttachIsGuardedAsWell) {
    host.kernel.device_list.clear();
    ASSERT_TRUE(host.apply(host_state()));
    host.kernel.device_list = {tap("tap-web0", kTap)};
    pass(SG_IN, false);
    EXPECT_FALSE(host.engine->attach("web0", HookChoice::kAuto, over_ssh()));
    EXPECT_TRUE(host.kernel.attachment_list.empty());
    EXPECT_TRUE(host.engine->attach("web0", HookChoice::kAuto));
}

TEST_F(Guarded, TheWayOutOfAQuarantineIsOpen) {
    ASSERT_TRUE(host.apply(host_state()));
    ASSERT_TRUE(host.engine->detach("web0", true));
    pass(SG_IN, false);  // by the rules, once the quarantine is over
    const std::string before = host.kernel_bytes();
    const auto refused = host.engine->attach("web0", HookChoice::kAuto, over_ssh());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("no rule admits it"), std::string::npos) << refused.error().message;
    EXPECT_EQ(host.kernel_bytes(), before);
    pass(SG_IN, true);
    const auto ended = host.engine->attach("web0", HookChoice::kAuto, over_ssh());
    EXPECT_TRUE(ended) << ended.error().message;
    EXPECT_NE(host.kernel_bytes(), before);
}

TEST_F(Guarded, IsJudgedOnMapsOfTheSizesThatAreLoaded) {
    ASSERT_TRUE(host.apply(host_state()));
    const Capacities loaded = host.config.capacities;
    host.config.capacities.prefixes /= 2;  // host.yaml changed since
    host.restart();
    ASSERT_TRUE(host.apply(host_state("      - {protocol: tcp, port: 22, cidr: 0.0.0.0/0}\n"), guarded()));
    EXPECT_EQ(host.kernel.trial_capacities, loaded);
}

}  // namespace
}  // namespace sgbpf::test
