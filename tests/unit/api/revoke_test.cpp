// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an apply does to flows whose rules go, and to connections that run already. Packets: tests/bpf.
#include "model/parse.hpp"
#include "tests/unit/api/host.hpp"

#include <gtest/gtest.h>

namespace sgbpf::test {
namespace {

const char* const kTwoRules = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n"
                              "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n";
const char* const kOneRule = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";

ApplyOptions revoking(Revocation revocation) {
    ApplyOptions options;
    options.revoke = revocation;
    return options;
}

class Revoke : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_TRUE(host_.apply(state_text(kTwoRules)));
        const auto rules = host_.engine->show_rules("web0");
        for (const RuleRow& row : *rules) {
            sg_flow flow{};
            flow.key.interface_slot = 1;
            flow.key.protocol = 6;
            flow.rule = *image().rule_slot(row.rule.id);
            flow.word = (std::uint64_t{row.rule.ports.first} << 32) | SG_FLOW_ESTABLISHED;
            host_.kernel.flow_list.push_back(flow);
        }
    }
    MapImage image() {
        const auto maps = host_.kernel.read_maps();
        return image_from_maps(*maps, host_.kernel.generation());
    }
    sg_interface_config config() { return image().interface_at(1)->config; }
    // Ports of the rules whose flows were ended.
    std::vector<std::uint32_t> ended() {
        std::vector<std::uint32_t> ports;
        for (const FlowRef& flow : host_.kernel.reaped) {
            ports.push_back(flow.incarnation);
        }
        return ports;
    }
    Host host_;
};

TEST_F(Revoke, KeepIsTheDefault) {  // SG-5.21
    const auto report = host_.apply(state_text(kOneRule));
    ASSERT_TRUE(report);
    EXPECT_EQ(report->ended.flows, 0u);
    EXPECT_TRUE(host_.kernel.reaped.empty());
    EXPECT_EQ(config().epoch, 1u);
}

TEST_F(Revoke, KillEndsTheFlowsOfRulesThatAreGoneAndNoOthers) {
    const auto report = host_.apply(state_text(kOneRule), revoking(Revocation::kKill));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->ended.flows, 1u);
    EXPECT_EQ(ended(), std::vector<std::uint32_t>{22});
    EXPECT_EQ(config().kill_since, static_cast<std::uint32_t>(report->generation));
    EXPECT_NE(host_.file("journal.log").find("ended 1 flow"), std::string::npos);
}

// The rule is alive at others; the interface lost the group.
TEST_F(Revoke, KillEndsTheFlowsOfAGroupThatWasTakenOff) {
    const std::string other = "  bare: {vpc: prod, description: Nothing}\n";
    const std::string db = "  db0: {vpc: prod, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [web]}\n";
    ASSERT_TRUE(host_.apply(state_text(kTwoRules, other, db)));
    std::string moved = state_text(kTwoRules, other, db);
    moved.replace(moved.find("groups: [web]}"), 14, "groups: [bare]}");
    const auto report = host_.apply(moved, revoking(Revocation::kKill));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->ended.flows, 2u);
}

TEST_F(Revoke, RecheckIsLeftToThePacketPath) {
    const auto report = host_.apply(state_text(kOneRule), revoking(Revocation::kRecheck));
    ASSERT_TRUE(report);
    EXPECT_TRUE(host_.kernel.reaped.empty());
    EXPECT_EQ(config().recheck_since, static_cast<std::uint32_t>(report->generation));
    EXPECT_EQ(config().epoch, config().recheck_since);
}

TEST_F(Revoke, IsACommitAlsoWhenTheFileSaysTheSame) {
    const std::uint64_t before = host_.kernel.generation();
    ASSERT_TRUE(host_.apply(state_text(kTwoRules)));
    EXPECT_EQ(host_.kernel.generation(), before);
    ASSERT_TRUE(host_.apply(state_text(kTwoRules), revoking(Revocation::kKeep)));
    EXPECT_EQ(host_.kernel.generation(), before);
    const auto report = host_.apply(state_text(kTwoRules), revoking(Revocation::kRecheck));
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->committed);
    EXPECT_EQ(host_.kernel.generation(), before + 1);
    EXPECT_EQ(config().recheck_since, static_cast<std::uint32_t>(before + 1));
    EXPECT_TRUE(host_.kernel.is_consistent());
}

TEST_F(Revoke, AnUnconfirmedApplyEndsNothing) {
    ApplyOptions options = revoking(Revocation::kKill);
    options.confirm_seconds = 60;
    const std::string before = host_.kernel_bytes();
    const auto refused = host_.apply(state_text(kOneRule), options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(host_.kernel_bytes(), before);
}

// What the interface says waits for the confirmation, which is then a commit more.
TEST_F(Revoke, AConfirmationDoesWhatTheInterfaceSays) {
    host_.config.policy.tracking.revocation = Revocation::kKill;
    ASSERT_TRUE(host_.apply(state_text(kTwoRules)));
    ApplyOptions options;
    options.confirm_seconds = 60;
    const auto report = host_.apply(state_text(kOneRule), options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(host_.kernel.reaped.empty());
    EXPECT_EQ(config().kill_since, 0u);
    EXPECT_TRUE(std::any_of(report->notes.begin(), report->notes.end(), [](const std::string& note) {
        return note.starts_with("flows of rules that are gone go on until");
    }));
    const auto confirmed = host_.engine->confirm(false);
    ASSERT_TRUE(confirmed) << confirmed.error().message;
    EXPECT_EQ(ended(), std::vector<std::uint32_t>{22});
    EXPECT_EQ(confirmed->generation, report->generation + 1);
    EXPECT_EQ(config().kill_since, static_cast<std::uint32_t>(confirmed->generation));
    EXPECT_TRUE(host_.kernel.is_consistent());
}

TEST_F(Revoke, SettingsOfTheHostAreAppliedThoughTheFileSaysTheSame) {
    const std::uint64_t before = host_.kernel.generation();
    host_.config.policy.tracking.max_flows = 1234;
    ASSERT_TRUE(host_.apply(state_text(kTwoRules)));
    EXPECT_EQ(config().max_flows, 1234u);
    EXPECT_EQ(host_.kernel.generation(), before + 1);
    ASSERT_TRUE(host_.apply(state_text(kTwoRules)));
    EXPECT_EQ(host_.kernel.generation(), before + 1);
}

TEST(Adopt, TheWindowOpensBeforeTheDeviceIsAttached) {
    Host host;
    ApplyOptions options;
    options.adopt_seconds = 60;
    ASSERT_TRUE(host.apply(state_text(), options));
    ASSERT_EQ(host.kernel.adoptions.size(), 1u);
    EXPECT_EQ(host.kernel.adoptions[0].slot, 1u);
    EXPECT_EQ(host.kernel.adoptions[0].seconds, 60u);
    EXPECT_EQ(host.kernel.adoptions[0].attached, 0u);
    EXPECT_EQ(host.kernel.attachment_list.size(), 1u);
    // By name also where the device is attached already; without the option never.
    ASSERT_TRUE(host.engine->attach("web0", HookChoice::kAuto, std::nullopt, 30));
    ASSERT_EQ(host.kernel.adoptions.size(), 2u);
    EXPECT_EQ(host.kernel.adoptions[1].seconds, 30u);
    ASSERT_TRUE(host.engine->attach("web0", HookChoice::kAuto));
    ASSERT_TRUE(host.apply(state_text()));
    EXPECT_EQ(host.kernel.adoptions.size(), 2u);
}

}  // namespace
}  // namespace sgbpf::test
