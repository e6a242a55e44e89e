// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What apply, diff and check do when all is well.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kPort22 = "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n";

bool contains(const std::vector<std::string>& list, const std::string& part) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& text) { return text.find(part) != std::string::npos; });
}

TEST(Apply, CommitsThenAttachesAndASecondTimeChangesNothing) {
    Host host;
    auto first = host.apply(state_text());
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_TRUE(first->committed);
    EXPECT_EQ(first->generation, 1u);
    EXPECT_GT(first->writes, 0u);
    ASSERT_EQ(first->attached.size(), 1u);
    EXPECT_EQ(first->attached[0].interface, "web0");
    EXPECT_EQ(first->attached[0].ifindex, 12);
    EXPECT_EQ(first->attached[0].generation, 1u);

    const std::string before = host.kernel_bytes();
    const std::string applied = host.file("applied.json");
    const std::string journal = host.file("journal.log");
    host.restart();
    auto second = host.apply(state_text());
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_FALSE(second->committed);
    EXPECT_FALSE(second->plan.differs());
    EXPECT_TRUE(second->attached.empty());
    EXPECT_EQ(host.kernel_bytes(), before);
    EXPECT_EQ(host.file("applied.json"), applied);
    EXPECT_EQ(host.file("journal.log"), journal);
}

TEST(Apply, ChangesNothingEvenWhenTheImageCacheIsLost) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string before = host.kernel_bytes();
    std::filesystem::remove(host.directory.file("state/image.bin"));
    auto again = host.apply(state_text());
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_FALSE(again->plan.differs());
    EXPECT_EQ(host.kernel_bytes(), before);
    // And a change after that is right as well: compared with a host that never lost anything.
    ASSERT_TRUE(host.apply(state_text(kPort22)));
    auto rules = host.engine->show_rules("web0");
    ASSERT_TRUE(rules);
    ASSERT_EQ(rules->size(), 1u);
    EXPECT_EQ((*rules)[0].rule.ports.first, 22);
}

TEST(Apply, RulesAreCompleteBeforeADeviceIsFiltered) {  // SG-13.3
    class Watched final : public FakeDatapath {
    public:
        Result<Attachment> attach(const AttachRequest& request) override {
            generation_when_attached = generation();
            pending_when_attached = control()->pending;
            return FakeDatapath::attach(request);
        }
        std::uint64_t generation_when_attached = 0;
        std::uint64_t pending_when_attached = 99;
    };
    Host host;
    Watched kernel;
    kernel.device_list = {tap("tap-web0", 12)};
    Engine engine(&kernel, host.store.get(), host.config, host.ids, nullptr);
    ASSERT_TRUE(engine.apply(host.directory.write("s.yaml", state_text()), {}));
    EXPECT_EQ(kernel.generation_when_attached, 1u);
    EXPECT_EQ(kernel.pending_when_attached, 0u);
}

TEST(Apply, KeepsTheIdsOfWhatStaysAndNeverReusesOne) {  // SG-2.32
    Host host;
    const std::string http = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
    ASSERT_TRUE(host.apply(state_text(http)));
    const std::string id = host.engine->show_rules("web0")->at(0).rule.id;
    ASSERT_TRUE(host.apply(state_text(http + kPort22)));
    auto both = host.engine->show_rules("web0");
    ASSERT_EQ(both->size(), 2u);
    EXPECT_EQ(std::count_if(both->begin(), both->end(), [&](const RuleRow& row) { return row.rule.id == id; }), 1);
    ASSERT_TRUE(host.apply(state_text(kPort22)));
    ASSERT_TRUE(host.apply(state_text(http)));
    EXPECT_NE(host.engine->show_rules("web0")->at(0).rule.id, id);
}

// The kernel's side of it: tests/bpf/attribution_test.cpp.
TEST(Apply, CountersOfSlotsWithANewOwnerAreResetBeforeTheFlip) {
    class Watched final : public FakeDatapath {
    public:
        Result<void> reset_counters(const std::vector<std::uint32_t>& rules,
                                    const std::vector<std::uint32_t>& interfaces) override {
            generation_when_reset = generation();
            return FakeDatapath::reset_counters(rules, interfaces);
        }
        std::uint64_t generation_when_reset = 99;
    };
    Host host;
    Watched kernel;
    Engine engine(&kernel, host.store.get(), host.config, host.ids, nullptr);
    const std::string http = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
    ASSERT_TRUE(engine.apply(host.directory.write("s.yaml", state_text(http)), {}));
    EXPECT_TRUE(kernel.rule_slots_reset.empty()) << "fresh maps are zero";
    const std::string db = "  db0: {vpc: prod, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [web]}\n";
    ASSERT_TRUE(engine.apply(host.directory.write("s.yaml", state_text(http + kPort22, "", db)), {}));
    EXPECT_EQ(kernel.rule_slots_reset, std::vector<std::uint32_t>{2}) << "the rule that stays keeps its counters";
    EXPECT_EQ(kernel.interface_slots_reset, std::vector<std::uint32_t>{2});
    EXPECT_EQ(kernel.generation_when_reset, 1u);
    ApplyOptions unconfirmed;
    unconfirmed.confirm_seconds = 60;
    ASSERT_TRUE(engine.apply(host.directory.write("s.yaml", state_text(kPort22, "", db)), unconfirmed));
    ASSERT_TRUE(engine.confirm(false));
    ASSERT_TRUE(engine.apply(host.directory.write("s.yaml", state_text(http, "", db)), unconfirmed));
    EXPECT_EQ(kernel.rule_slots_reset, (std::vector<std::uint32_t>{2, 3})) << "http is a new rule again";
}

TEST(Apply, AnAbsentDeviceWaitsAndIsAttachedByTheNextApply) {
    Host host;
    host.kernel.device_list.clear();
    auto first = host.apply(state_text());
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_TRUE(first->committed);
    EXPECT_TRUE(contains(first->plan.waiting, "web0: no device tap-web0"));
    EXPECT_TRUE(host.kernel.attachment_list.empty());
    host.kernel.device_list = {tap("tap-web0", 30)};
    auto second = host.apply(state_text());
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_FALSE(second->committed);
    ASSERT_EQ(second->attached.size(), 1u);
    EXPECT_EQ(second->attached[0].ifindex, 30);
}

TEST(Apply, AReplacedDeviceIsAttachedAgain) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.device_list = {tap("tap-web0", 31)};
    host.kernel.attachment_list[0].device = {};  // as the kernel tells of a link whose device is gone
    host.kernel.attachment_list[0].problem = "the device is gone";
    auto report = host.apply(state_text());
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_EQ(report->attached.size(), 1u);
    EXPECT_EQ(report->attached[0].ifindex, 31);
    EXPECT_TRUE(report->plan.leaving.empty());
}

TEST(Apply, ADescriptionIsSavedWithoutAWrite) {
    Host host;
    std::string text = state_text();
    ASSERT_TRUE(host.apply(text));
    text.replace(text.find("Web servers"), 11, "Shop front!");
    auto report = host.apply(text);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->committed);
    EXPECT_EQ(report->writes, 0u);
    EXPECT_EQ(report->generation, 1u);
    EXPECT_NE(host.file("applied.json").find("Shop front!"), std::string::npos);
    EXPECT_FALSE(host.apply(text)->committed);
}

TEST(Apply, PrunedInterfacesDropUntilTheyAreDetached) {
    Host host;
    const std::string db =
        "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], groups: "
        "[web]}\n";
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    ASSERT_TRUE(host.apply(state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n", "", db)));
    const std::uint32_t slot = host.kernel.attachment_list.at(0).interface_slot;
    const std::string name = host.kernel.attachment_list.at(0).device.name;
    ASSERT_EQ(name, "tap-db0");
    ApplyOptions options;
    options.allow_leaving = true;
    auto report = host.apply(state_text(), options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(contains(report->plan.leaving, "tap-db0 leaves the file with interface db0"));
    EXPECT_TRUE(contains(report->notes, "tap-db0 stays attached and drops all traffic"));
    ASSERT_EQ(host.kernel.attachment_list.size(), 2u) << "it must not become unfiltered";
    for (const Attachment& attachment : host.kernel.attachment_list) {
        EXPECT_EQ(attachment.interface_slot == 0, attachment.device.name == "tap-db0");
    }
    // Its flows are forgotten: the slot may mean another interface later.
    EXPECT_TRUE(std::any_of(host.kernel.flushes.begin(), host.kernel.flushes.end(),
                            [&](const FlowFilter& flush) { return flush.interface_slot == slot; }));
    EXPECT_FALSE(host.apply(state_text())->plan.differs()) << "nothing is left to ask about";
    auto detached = host.engine->detach("tap-db0", false);
    ASSERT_TRUE(detached) << detached.error().message;
    EXPECT_EQ(host.kernel.attachment_list.size(), 1u);
}

TEST(Apply, TwoInterfacesMayChangeDevices) {
    Host host;
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    const auto text = [](const char* web, const char* db) {
        std::string state = state_text("      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n", "",
                                       std::string("  db0: {vpc: prod, role: workload, match: {device: ") + db +
                                           "}, addresses: [10.0.1.20]}\n");
        return state.replace(state.find("tap-web0"), 8, web);
    };
    ASSERT_TRUE(host.apply(text("tap-web0", "tap-db0")));
    std::map<std::string, std::uint32_t> before;
    for (const Attachment& attachment : host.kernel.attachment_list) {
        before[attachment.device.name] = attachment.interface_slot;
    }
    auto report = host.apply(text("tap-db0", "tap-web0"));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->plan.leaving.empty());
    ASSERT_EQ(host.kernel.attachment_list.size(), 2u);
    for (const Attachment& attachment : host.kernel.attachment_list) {
        EXPECT_EQ(attachment.interface_slot, before[attachment.device.name == "tap-db0" ? "tap-web0" : "tap-db0"]);
    }
}

TEST(Apply, WritesOneJournalLinePerChange) {
    Host host;
    ApplyOptions options;
    options.who = "alice uid 0";
    options.command = "apply s.yaml";
    ASSERT_TRUE(host.apply(state_text(), options));
    const std::string journal = host.file("journal.log");
    EXPECT_EQ(std::count(journal.begin(), journal.end(), '\n'), 2);  // the commit, and the device
    EXPECT_NE(journal.find("who=\"alice uid 0\""), std::string::npos);
    EXPECT_NE(journal.find("apply s.yaml: generation 1"), std::string::npos);
    EXPECT_NE(journal.find("attach web0 tap-web0"), std::string::npos);
    EXPECT_NE(journal.find("digest="), std::string::npos);
}

TEST(Apply, AnAttachThatFailsIsToldAndTheCommitHolds) {
    Host host;
    host.kernel.next_attach_error = make_error(ErrorCode::kUnsupported, "the kernel said no");
    auto report = host.apply(state_text());
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->committed);
    ASSERT_EQ(report->attach_errors.size(), 1u);
    EXPECT_EQ(report->attach_errors[0], "web0: tap-web0 is NOT filtered: the kernel said no");
    EXPECT_EQ(host.apply(state_text())->attached.size(), 1u);
}

TEST(Diff, TellsWhatApplyDoesAndWritesNothing) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string before = host.kernel_bytes();
    auto plan = host.engine->diff(host.directory.write("t.yaml", state_text(kPort22)));
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_TRUE(plan->differs());
    EXPECT_TRUE(contains(plan->changes, "- rule web in tcp 80 from 192.0.2.0/24"));
    EXPECT_TRUE(contains(plan->changes, "+ rule web in tcp 22 from 192.0.2.0/24"));
    EXPECT_EQ(plan->interfaces, std::vector<std::string>{"web0"});
    EXPECT_EQ(host.kernel_bytes(), before);
    auto report = host.apply(state_text(kPort22));
    ASSERT_TRUE(report);
    EXPECT_EQ(report->writes, plan->writes);
    EXPECT_EQ(report->plan.changes, plan->changes);
    EXPECT_FALSE(host.engine->diff(host.directory.file("t.yaml"))->differs());
}

TEST(Diff, WithoutAKernelComparesWithTheAppliedFile) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    Engine engine(nullptr, host.store.get(), host.config, host.ids, nullptr);
    auto plan = engine.diff(host.directory.write("t.yaml", state_text(kPort22)));
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_FALSE(plan->compared_with_kernel);
    EXPECT_TRUE(contains(plan->changes, "+ rule web in tcp 22 from 192.0.2.0/24"));
    EXPECT_FALSE(engine.diff(host.directory.write("t.yaml", state_text()))->differs());
}

TEST(Check, CountsAndNeedsNoKernelAndNoStore) {
    const TemporaryDirectory directory;
    const HostConfig config;
    CountingIds ids;
    Engine engine(nullptr, nullptr, config, ids, nullptr);
    auto report = engine.check(directory.write("s.yaml", state_text()), true);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->groups, 1u);
    EXPECT_EQ(report->rules, 1u);
    EXPECT_EQ(report->interfaces, 1u);
    EXPECT_EQ(report->too_large, "");
    EXPECT_FALSE(report->needs.empty());
    EXPECT_FALSE(report->image.empty());
    EXPECT_EQ(engine.check(directory.file("s.yaml"), true)->image, report->image) << "the same text each time";
}

// host.yaml may be the same on every host of a fleet: a VPC that is not here is said, not refused.
TEST(Apply, AServiceOfAVpcThatTheStateLacksIsAWarning) {
    Host host;
    host.config.policy.services = {{"prd", Prefix::parse("10.0.0.2/32")->prefix, kUdp, 53, true, true, ""}};
    auto applied = host.apply(state_text());
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(applied->committed);
    ASSERT_EQ(applied->plan.input.warnings.size(), 1U);
    EXPECT_EQ(applied->plan.input.warnings.front(),
              "host.yaml: services[0].vpc: the state has no VPC prd; did you mean prod?; "
              "udp 10.0.0.2 port 53 of VPC prd stays filtered");
    const auto checked = host.engine->check(host.directory.write("s.yaml", state_text()), false);
    ASSERT_TRUE(checked) << checked.error().message;
    EXPECT_EQ(checked->input.warnings, applied->plan.input.warnings);
}

TEST(Apply, AttachesInTheRoleOfTheFile) {
    Host host;
    host.kernel.device_list[0].kind = "";  // a physical NIC, which no workload has
    std::string text = state_text();
    text.replace(text.find("role: workload"), 14, "role: host");
    auto applied = host.apply(text);
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(applied->plan.input.warnings.empty());
    ASSERT_EQ(applied->attached.size(), 1U);
    EXPECT_EQ(applied->attached[0].role, Role::kHost);
    EXPECT_EQ(host.kernel.attachment_list.at(0).role, Role::kHost);
    EXPECT_EQ(host.engine->status()->interfaces.at(0).role, "host");
    EXPECT_TRUE(host.apply(text)->attached.empty());
}

TEST(Status, NamesAnXdpProgramOfOthersAndStaysHealthy) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.attachment_list[0].foreign_xdp = "balancer";
    auto report = host.engine->status();
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->healthy());
    ASSERT_EQ(report->conditions.size(), 1U);
    EXPECT_EQ(report->conditions[0].name, "foreign-xdp-program");
    EXPECT_NE(report->conditions[0].text.find("XDP program balancer"), std::string::npos);
}

TEST(Quarantine, OutlivesApplyAndEndsWithAttach) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const auto flags = [&] {
        const std::uint32_t slot = host.kernel.attachment_list.at(0).interface_slot;
        const sg_interface record = *host.kernel.get<MapId::kInterfaces>(slot);
        return record.config[record.current.values >> 32].flags;
    };
    EXPECT_EQ(flags() & SG_IF_QUARANTINE, 0u);
    auto set = host.engine->detach("web0", true);
    ASSERT_TRUE(set) << set.error().message;
    EXPECT_TRUE(set->at(0).quarantined);
    EXPECT_NE(flags() & SG_IF_QUARANTINE, 0u);
    ASSERT_EQ(host.kernel.attachment_list.size(), 1u);
    auto again = host.apply(state_text(kPort22));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_TRUE(contains(again->notes, "web0 is quarantined and stays so"));
    EXPECT_NE(flags() & SG_IF_QUARANTINE, 0u);
    ASSERT_TRUE(host.engine->attach("web0", HookChoice::kAuto));
    EXPECT_EQ(flags() & SG_IF_QUARANTINE, 0u);
    EXPECT_FALSE(host.apply(state_text(kPort22))->plan.differs());
}

TEST(RemoveAll, LeavesNothingInTheKernelAndKeepsIds) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string id = host.engine->show_rules("web0")->at(0).rule.id;
    auto removed = host.engine->remove_all();
    ASSERT_TRUE(removed) << removed.error().message;
    EXPECT_EQ(*removed, std::vector<std::string>{"tap-web0"});
    EXPECT_FALSE(host.kernel.pinned);
    EXPECT_TRUE(host.kernel.attachment_list.empty());
    auto report = host.apply(state_text());
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->committed);
    EXPECT_EQ(host.engine->show_rules("web0")->at(0).rule.id, id);
}

// "Every device passes all traffic": what drops everything must not come back with the next apply.
TEST(RemoveAll, EndsQuarantines) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    ASSERT_TRUE(host.engine->detach("web0", true));
    ASSERT_TRUE(host.engine->applied_state()->interfaces.at("web0").quarantine);
    ASSERT_TRUE(host.engine->remove_all());
    const auto again = host.apply(state_text());
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_FALSE(host.engine->applied_state()->interfaces.at("web0").quarantine);
}

}  // namespace
}  // namespace sgbpf::test
