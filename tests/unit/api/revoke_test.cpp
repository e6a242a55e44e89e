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

TEST_F(Revoke, ResetTellsBothEndsOfWhatIsKilledByItsLastNumbers) {
    for (sg_flow& flow : host_.kernel.flow_list) {
        flow.key.family = SG_IPV4;
        flow.sequence[0] = SG_SEQUENCE(1000, 5000);
        flow.sequence[1] = SG_SEQUENCE(5000, 1000);
    }
    sg_flow unknown = host_.kernel.flow_list.back();
    unknown.word += std::uint64_t{1} << 32;
    unknown.sequence[0] = unknown.sequence[1] = 0;
    sg_flow udp = unknown;
    udp.key.protocol = 17;
    udp.word = SG_FLOW_UDP_STREAM;
    sg_flow over = unknown;
    over.word = SG_FLOW_TIME_WAIT;
    host_.kernel.flow_list.insert(host_.kernel.flow_list.end(), {unknown, udp, over});
    ApplyOptions options = revoking(Revocation::kKill);
    options.reset = true;
    const auto report = host_.apply(state_text(kOneRule), options);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_TRUE(report->ended.resets);
    EXPECT_EQ(report->ended.resets->to_string(), "reset sent for 1, 1 without known sequence numbers");
    ASSERT_EQ(host_.kernel.resets.size(), 1U);
    const auto& reset = host_.kernel.resets[0];
    EXPECT_EQ(reset.order.device.name, "tap-web0");
    EXPECT_EQ(reset.order.role, Role::kWorkload);
    ASSERT_EQ(reset.order.flows.size(), 1U);
    EXPECT_EQ(reset.order.flows[0].to_local.size(), 1U);
    EXPECT_EQ(reset.order.flows[0].to_remote.size(), 1U);
    EXPECT_EQ(reset.reaped, 4U) << "no packet passes any more, so that the numbers stay right";
    EXPECT_EQ(reset.generation, report->generation);
    EXPECT_EQ(reset.pending, report->generation) << "before rules that go are marked: that ends flows unseen";
    EXPECT_NE(host_.file("journal.log").find("; reset sent for 1, 1 without"), std::string::npos);
}

TEST_F(Revoke, ResetUsesTheNumbersOfTheLastPacket) {
    host_.kernel.flow_list.resize(1);
    host_.kernel.flow_list[0].key.family = SG_IPV4;
    host_.kernel.flow_list[0].sequence[0] = SG_SEQUENCE(1000, 5000);
    host_.kernel.last_packets = 7;
    ASSERT_EQ(host_.engine->flush_flows({}, true).value().resets->sent, 1U);
    const auto& frame = host_.kernel.resets.at(0).order.flows.at(0).to_local.at(0);
    EXPECT_EQ(frame[14 + 20 + 7], std::byte{(1000 + 7) & 0xff});
}

TEST_F(Revoke, ResetOfTheHostsOwnSocketsComesBeforeTheirFlowsEnd) {
    host_.kernel.flow_list.resize(1);
    host_.kernel.attachment_list[0].role = Role::kHost;
    ASSERT_EQ(host_.engine->flush_flows({}, true).value().resets->sent, 1U);
    EXPECT_EQ(host_.kernel.resets.at(0).order.role, Role::kHost);
    EXPECT_EQ(host_.kernel.resets[0].reaped, 0U);
    host_.kernel.attachment_list.clear();
    EXPECT_EQ(host_.engine->flush_flows({}, true).value().resets->to_string(),
              "reset sent for 0, 1 not to both ends (no device is attached for them)");
    EXPECT_FALSE(host_.engine->flush_flows({}).value().resets);
}

TEST_F(Revoke, ResetIsRefusedWhereNoFlowEnds) {
    ApplyOptions options;
    options.reset = true;
    const std::string before = host_.kernel_bytes();
    for (const auto revocation : {std::optional<Revocation>(), std::optional(Revocation::kRecheck)}) {
        options.revoke = revocation;
        const auto refused = host_.apply(state_text(kOneRule), options);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
    }
    host_.config.policy.tracking.revocation = Revocation::kKill;
    options.revoke.reset();
    options.confirm_seconds = 60;
    EXPECT_EQ(host_.apply(state_text(kOneRule), options).error().code, ErrorCode::kInvalid);
    EXPECT_EQ(host_.kernel_bytes(), before);
    options.confirm_seconds = 0;
    EXPECT_TRUE(host_.apply(state_text(kOneRule), options)) << "the host says kill";
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
