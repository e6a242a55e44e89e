// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// why and reach over a fake kernel: what is asked of the programs, and what becomes of their answers.
#include <algorithm>

#include <gtest/gtest.h>

#include "frame/build.hpp"
#include "frame/describe.hpp"
#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kLists = "prefix_lists:\n  office: {family: ipv4, max_entries: 5, entries: [192.0.2.0/24, "
                               "192.0.2.4/30]}\n";
constexpr const char* kDb0 =
    "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [db]}\n";
constexpr const char* kDb = "  db:\n    vpc: prod\n    description: Databases\n    inbound:\n"
                            "      - {protocol: tcp, port: 3306, group: web}\n    outbound: []\n";
constexpr const char* kPacket = "tcp 192.0.2.7:40000 -> 10.0.1.10:80";

class WhyTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string text = state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n"
                                      "      - {protocol: tcp, port: 22, prefix_list: office}\n"
                                      "      - {protocol: tcp, port: 3306, group: db}\n",
                                      kDb, kDb0);
        text.insert(text.find("groups:"), kLists);
        auto applied = host_.apply(text);
        ASSERT_TRUE(applied) << applied.error().message;
        ASSERT_TRUE(applied->plan.input.errors.empty()) << applied->plan.input.errors[0];
    }
    // What the program will say.
    void answer(sg_reason reason, std::uint32_t rule, sg_tracking tracking, sg_stage stage) {
        host_.kernel.dry_run_answer = {};
        host_.kernel.dry_run_answer.passed = reason < SG_REASON_NO_RULE;
        sg_outcome& outcome = host_.kernel.dry_run_answer.outcome;
        outcome.generation = 1;
        outcome.reason = reason;
        outcome.rule = rule;
        outcome.tracking = static_cast<__u8>(tracking);
        outcome.stage = static_cast<__u8>(stage);
    }
    // Slot of web's inbound rule for a port.
    std::uint32_t slot(std::uint16_t port) {
        const auto rows = host_.engine->show_rules("web0");
        for (const RuleRow& row : *rows) {
            if (row.rule.ports.first == port) {
                return static_cast<std::uint32_t>(row.packets / 10);  // FakeKernel counts slots
            }
        }
        return 0;
    }
    WhyReport why(const std::string& packet, unsigned direction = SG_IN) {
        WhyQuest quest;
        quest.interface = "web0";
        quest.direction = direction;
        quest.packet = packet;
        auto report = host_.engine->why(quest);
        EXPECT_TRUE(report) << report.error().message;
        return report ? *report : WhyReport{};
    }

    Host host_;
};

TEST_F(WhyTest, AsksTheProgramOfTheInterfaceWithTheFrameOfTheWords) {
    answer(SG_REASON_RULE, slot(80), SG_TRACKING_OPENED, SG_STAGE_CIDR);
    const std::string before = host_.kernel_bytes();
    const std::string journal = host_.file("journal.log");
    const WhyReport report = why(kPacket);
    ASSERT_EQ(host_.kernel.dry_runs.size(), 1u);
    const DryRun& asked = host_.kernel.dry_runs[0];
    EXPECT_EQ(asked.direction, static_cast<unsigned>(SG_IN));
    EXPECT_EQ(asked.interface_slot, host_.kernel.attachment_list.at(0).interface_slot);
    EXPECT_FALSE(asked.xdp);
    EXPECT_EQ(describe(asked.frame, SG_IN), "tcp 192.0.2.7:40000 > 10.0.1.10:80 S");
    EXPECT_EQ(report.packet, "tcp 192.0.2.7:40000 > 10.0.1.10:80 S");
    EXPECT_TRUE(report.passes);
    EXPECT_EQ(report.reason, "rule");
    EXPECT_EQ(report.generation, 1u);
    ASSERT_TRUE(report.rule);
    EXPECT_EQ(report.rule_id, report.rule->rule.id);
    EXPECT_EQ(report.rule->group, "web");
    EXPECT_EQ(report.stage, "cidr");
    EXPECT_EQ(report.tracking, "would-be-tracked");
    EXPECT_EQ(report.tracking_why, "its rule is not for 0/0, no 0/0 outbound rule");
    EXPECT_FALSE(report.nearest);
    EXPECT_TRUE(report.notes.empty()) << report.notes[0];
    EXPECT_EQ(host_.kernel_bytes(), before);
    EXPECT_EQ(host_.file("journal.log"), journal);
}

TEST_F(WhyTest, AFrameWithoutItsSourceLeavesWithTheMacOfTheGuest) {
    std::string text = host_.file("../s.yaml");
    text.replace(text.find("addresses: [10.0.1.10]"), 0, "mac: \"52:54:00:12:34:56\", ");
    ASSERT_TRUE(host_.apply(text)->plan.input.errors.empty());
    WhyQuest quest;
    quest.interface = "web0";
    quest.frame = build_frame(*parse_packet(kPacket), {}, {});
    quest.has_source_mac = false;
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        quest.direction = direction;
        ASSERT_TRUE(host_.engine->why(quest));
        const std::byte first = host_.kernel.dry_runs.back().frame[6];
        EXPECT_EQ(static_cast<unsigned>(first), direction == SG_OUT ? 0x52u : 0u);
    }
}

TEST_F(WhyTest, TakesNoLock) {
    answer(SG_REASON_RULE, slot(80), SG_TRACKING_OPENED, SG_STAGE_CIDR);
    const auto lock = host_.store->lock(std::chrono::milliseconds(0));
    ASSERT_TRUE(lock);
    EXPECT_TRUE(why(kPacket).passes);
}

TEST_F(WhyTest, NamesTheListEntryAndTheMember) {
    answer(SG_REASON_RULE, slot(22), SG_TRACKING_OPENED, SG_STAGE_LIST);
    EXPECT_EQ(why("tcp 192.0.2.7:1 -> 10.0.1.10:22").entry, "192.0.2.4/30");
    EXPECT_EQ(why("tcp 192.0.2.9:1 -> 10.0.1.10:22").entry, "192.0.2.0/24");
    answer(SG_REASON_RULE, slot(3306), SG_TRACKING_OPENED, SG_STAGE_GROUP);
    const WhyReport report = why("tcp 10.0.1.20:1 -> 10.0.1.10:3306");
    EXPECT_EQ(report.member, "db0");
    EXPECT_EQ(report.entry, "");
}

TEST_F(WhyTest, DescribesTheEntryOfATrackedFlow) {
    sg_flow flow{};
    const auto fields = fields_of(build_frame(*parse_packet(kPacket), {}, {}), SG_IN);
    flow.key = fields.key;
    flow.key.interface_slot = static_cast<__u16>(host_.kernel.attachment_list.at(0).interface_slot);
    flow.word = SG_FLOW_ESTABLISHED;
    flow.created = static_cast<__u32>(host_.kernel.now - 90'000);
    flow.last_seen = static_cast<__u32>(host_.kernel.now - 10'000);
    flow.rule = slot(80);
    sg_flow other = flow;
    other.key.remote_port = 1;
    host_.kernel.flow_list = {other, flow};
    answer(SG_REASON_TRACKED, slot(80), SG_TRACKING_FLOW, SG_STAGE_NONE);
    host_.kernel.dry_run_answer.outcome.flow_slot = 2;
    WhyReport report = why(kPacket);
    ASSERT_TRUE(report.flow);
    EXPECT_EQ(report.flow->state, "established");
    EXPECT_EQ(report.flow->age_s, 90u);
    EXPECT_EQ(report.flow->remote, "192.0.2.7:40000");
    EXPECT_EQ(report.flow->interface, "web0");
    EXPECT_EQ(report.tracking, "tracked");
    ASSERT_TRUE(report.rule);
    // The record became another flow's in between.
    host_.kernel.dry_run_answer.outcome.flow_slot = 1;
    EXPECT_FALSE(why(kPacket).flow);
}

TEST_F(WhyTest, ARuleThatIsGoneKeepsItsId) {
    const std::uint32_t gone = slot(22);
    const std::string id(host_.engine->show_rules("web0")->at(1).rule.id);
    ASSERT_TRUE(host_.apply(state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n", kDb, kDb0)));
    answer(SG_REASON_TRACKED, gone, SG_TRACKING_FLOW, SG_STAGE_NONE);
    host_.kernel.dry_run_answer.outcome.generation = 2;
    const WhyReport report = why(kPacket);
    EXPECT_EQ(report.rule_id, id);
    EXPECT_FALSE(report.rule);
}

TEST_F(WhyTest, ADropHasTheNearestRule) {
    answer(SG_REASON_NO_RULE, 0, SG_TRACKING_NONE, SG_STAGE_NONE);
    const WhyReport report = why("tcp 192.0.2.7:40000 -> 10.0.1.10:81");
    EXPECT_FALSE(report.passes);
    EXPECT_EQ(report.detail, "inbound of web admits only tcp 22, 80, 3306");
    ASSERT_TRUE(report.nearest);
    EXPECT_EQ(report.nearest->rule.rule.ports.first, 80);
    EXPECT_EQ(report.nearest->differs, std::vector<std::string>{"port"});
    EXPECT_EQ(report.tracking, "");
    answer(SG_REASON_SOURCE_DEST, 0, SG_TRACKING_NONE, SG_STAGE_NONE);
    EXPECT_FALSE(why(kPacket).nearest);
}

TEST_F(WhyTest, SaysWhyTheAnswerMayNotBeWhatHappens) {
    answer(SG_REASON_RULE, slot(80), SG_TRACKING_OPENED, SG_STAGE_CIDR);
    const auto note = [&] {
        const WhyReport report = why(kPacket);
        return report.notes.empty() ? "" : report.notes[0];
    };
    const Attachment attached = host_.kernel.attachment_list[0];
    host_.kernel.attachment_list.clear();
    EXPECT_EQ(note(), "web0 is not attached, this is what its rules say: tap-web0 passes ALL traffic; `sgbpf attach "
                      "web0`");
    host_.kernel.device_list.clear();
    EXPECT_EQ(note(), "web0 is not attached, this is what its rules say: no device tap-web0");
    host_.kernel.attachment_list = {attached};
    host_.kernel.attachment_list[0].foreign_before = {"accept_all"};
    EXPECT_NE(note().find("program accept_all of somebody else"), std::string::npos) << note();
    host_.kernel.attachment_list = {attached};
    host_.kernel.attachment_list[0].interface_slot = 0;
    EXPECT_NE(note().find("not bound to web0"), std::string::npos) << note();
    host_.kernel.attachment_list = {attached};
    host_.kernel.attachment_list[0].since = 2;
    EXPECT_NE(note().find("was attached by an apply that was undone"), std::string::npos) << note();
    host_.kernel.attachment_list = {attached};
    ASSERT_TRUE(host_.kernel.set_pending(2));
    EXPECT_NE(note().find("generation 1 is still in force"), std::string::npos) << note();
    ASSERT_TRUE(host_.kernel.set_pending(0));
    host_.kernel.dry_run_answer.outcome.generation = 7;
    host_.kernel.dry_runs.clear();
    EXPECT_NE(note().find("the rules changed while this was asked"), std::string::npos) << note();
    EXPECT_EQ(host_.kernel.dry_runs.size(), 3u) << "it is asked again first";
}

TEST_F(WhyTest, XdpJudgesWhatComesInWhereItIsAttached) {
    answer(SG_REASON_RULE, slot(80), SG_TRACKING_OPENED, SG_STAGE_CIDR);
    host_.kernel.attachment_list[0].hook = "xdp native + tcx";
    why(kPacket);
    why("tcp 10.0.1.10:1 -> 192.0.2.7:80", SG_OUT);
    EXPECT_TRUE(host_.kernel.dry_runs[0].xdp);
    EXPECT_FALSE(host_.kernel.dry_runs[1].xdp);
}

TEST_F(WhyTest, ReachAsksBothEndsAndTheirReplies) {
    answer(SG_REASON_RULE, slot(3306), SG_TRACKING_OPENED, SG_STAGE_GROUP);
    auto report = host_.engine->reach({"web0", "db0", "tcp 3306", {}});
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->paths.size(), 1u) << "they share IPv4 only";
    EXPECT_TRUE(report->reaches());
    EXPECT_EQ(report->paths[0].replies, "tracked at both ends");
    EXPECT_EQ(report->relation, "both are in VPC prod");
    ASSERT_EQ(host_.kernel.dry_runs.size(), 4u);
    const std::vector<std::pair<unsigned, std::string>> asked = {
        {SG_OUT, "tcp 10.0.1.10:49152 > 10.0.1.20:3306 S"},
        {SG_IN, "tcp 10.0.1.10:49152 > 10.0.1.20:3306 S"},
        {SG_OUT, "tcp 10.0.1.20:3306 > 10.0.1.10:49152 SA"},
        {SG_IN, "tcp 10.0.1.20:3306 > 10.0.1.10:49152 SA"},
    };
    for (std::size_t i = 0; i < asked.size(); ++i) {
        EXPECT_EQ(host_.kernel.dry_runs[i].direction, asked[i].first) << i;
        EXPECT_EQ(describe(host_.kernel.dry_runs[i].frame, asked[i].first), asked[i].second) << i;
    }
    EXPECT_NE(host_.kernel.dry_runs[0].interface_slot, host_.kernel.dry_runs[1].interface_slot);
    answer(SG_REASON_RULE, slot(80), SG_TRACKING_OPEN_RULES, SG_STAGE_ANY);
    report = host_.engine->reach({"web0", "db0", "udp 53", {}});
    const std::string id = host_.engine->show_rules("web0")->at(0).rule.id;
    EXPECT_EQ(report->paths[0].replies, "by rule " + id + " at db0, by rule " + id + " at web0");
    answer(SG_REASON_NO_RULE, 0, SG_TRACKING_NONE, SG_STAGE_NONE);
    report = host_.engine->reach({"web0", "db0", "icmp", {}});
    EXPECT_FALSE(report->reaches());
    EXPECT_EQ(report->paths[0].replies, "");
    EXPECT_EQ(describe(host_.kernel.dry_runs[10].frame, SG_OUT).substr(0, 38),
              "icmp 10.0.1.20 > 10.0.1.10 echo-reply ");
}

TEST_F(WhyTest, BadQuestionsAreOneSentence) {
    const auto error = [&](const WhyQuest& quest) { return host_.engine->why(quest).error(); };
    EXPECT_EQ(error({"wbe0", SG_IN, kPacket, {}, 0}).code, ErrorCode::kNotFound);
    EXPECT_EQ(error({"web0", SG_IN, "tpc 1 -> 2", {}, 0}).code, ErrorCode::kInvalid);
    const auto reach = [&](const ReachQuest& quest) { return host_.engine->reach(quest).error(); };
    EXPECT_EQ(reach({"web0", "web0", "tcp 80", {}}).code, ErrorCode::kInvalid);
    EXPECT_EQ(reach({"web0", "db0", "tcp", {}}).code, ErrorCode::kInvalid);
    EXPECT_EQ(reach({"web0", "db0", "tcp http", {}}).code, ErrorCode::kInvalid);
    EXPECT_EQ(reach({"web0", "db0", "tcp 80", Family::kIpv6}).message, "web0 and db0 do not both have an ipv6 address");
    EXPECT_EQ(reach({"web0", "nobody", "tcp 80", {}}).code, ErrorCode::kNotFound);
    EXPECT_TRUE(host_.kernel.dry_runs.empty());
}

}  // namespace
}  // namespace sgbpf::test
