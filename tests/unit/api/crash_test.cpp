// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A process may die anywhere: the rules in force are the old or the new ones, and the next run repairs.
#include <gtest/gtest.h>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kOld = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
constexpr const char* kNew = "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n"
                             "      - {protocol: udp, port: 53, group: self}\n";
constexpr const char* kOther = "      - {protocol: tcp, port: 443, cidr: 198.51.100.0/24}\n";

std::vector<std::string> ports_in_force(Host& host) {
    std::vector<std::string> ports;
    const auto rules = host.engine->show_rules("web0");
    EXPECT_TRUE(rules);
    for (const RuleRow& row : *rules) {
        ports.push_back(std::to_string(row.rule.ports.first));
    }
    std::sort(ports.begin(), ports.end());
    return ports;
}

std::string with_addresses(std::string text, const std::string& addresses, const std::string& allowed) {
    const std::string written = "addresses: [10.0.1.10]";
    text.replace(text.find(written), written.size(), "addresses: " + addresses + ", allowed_addresses: " + allowed);
    return text;
}

// What the maps say, as text without generations: equal for equal policies however they came about.
std::string policy_text(Host& host) {
    return host.engine->check(host.directory.file("s.yaml"), true)->image;
}

TEST(Crash, AfterEveryEditTheNextApplyOfSomethingElseIsRight) {
    std::size_t edits = 0;
    {
        Host host;
        ASSERT_TRUE(host.apply(state_text(kOld)));
        auto plan = host.engine->diff(host.directory.write("t.yaml", state_text(kNew)));
        ASSERT_TRUE(plan);
        edits = plan->writes;
    }
    ASSERT_GT(edits, 3u);
    for (std::size_t stop = 0; stop < edits; ++stop) {
        SCOPED_TRACE("stopped after " + std::to_string(stop) + " edits");
        Host host;
        ASSERT_TRUE(host.apply(state_text(kOld)));
        host.kernel.stop_after_edits = stop;
        const auto died = host.apply(state_text(kNew));
        host.kernel.stop_after_edits.reset();
        host.restart();
        const bool flipped = host.kernel.generation() == 2;
        EXPECT_EQ(died.has_value(), flipped) << "an error means the old rules";
        EXPECT_EQ(ports_in_force(host),
                  flipped ? (std::vector<std::string>{"22", "53"}) : std::vector<std::string>{"80"});
        auto status = host.engine->status();
        ASSERT_TRUE(status) << status.error().message;
        EXPECT_FALSE(status->healthy()) << "interrupted commits are told";

        auto next = host.apply(state_text(kOther));
        ASSERT_TRUE(next) << next.error().message;
        EXPECT_TRUE(next->committed);
        ASSERT_FALSE(next->plan.notes.empty());
        EXPECT_EQ(next->plan.notes[0], "repaired an interrupted commit");
        EXPECT_EQ(host.kernel.control()->pending, 0u);
        EXPECT_EQ(ports_in_force(host), std::vector<std::string>{"443"});
        EXPECT_TRUE(host.kernel.is_consistent());
        EXPECT_TRUE(host.engine->status()->healthy());
        EXPECT_FALSE(host.apply(state_text(kOther))->plan.differs());
    }
}

TEST(Crash, AfterEveryEditTheSameFileCanBeAppliedAgain) {
    for (std::size_t stop = 0; stop < 12; ++stop) {
        SCOPED_TRACE(stop);
        Host host;
        ASSERT_TRUE(host.apply(state_text(kOld)));
        host.kernel.stop_after_edits = stop;
        static_cast<void>(host.apply(state_text(kNew)).has_value());
        host.kernel.stop_after_edits.reset();
        host.restart();
        auto again = host.apply(state_text(kNew));
        ASSERT_TRUE(again) << again.error().message;
        EXPECT_EQ(ports_in_force(host), (std::vector<std::string>{"22", "53"}));
        EXPECT_FALSE(host.apply(state_text(kNew))->plan.differs());
        EXPECT_NE(policy_text(host), "");
    }
}

// A hypervisor's start hook runs `attach`: it must work whatever happened to the last apply, and the ids of
// rules must be those from before. The change adds a rule and an address inside an allowed prefix.
TEST(Crash, AfterEveryEditADeviceCanBeAttached) {
    const std::string from = with_addresses(state_text(kOld), "[10.0.1.10]", "[10.0.1.0/24]");
    const std::string to = with_addresses(state_text(kNew), "[10.0.1.10, 10.0.1.20]", "[10.0.1.0/24]");
    std::size_t edits = 1;
    for (std::size_t stop = 0; stop < edits; ++stop) {
        SCOPED_TRACE("stopped after " + std::to_string(stop) + " edits");
        Host host;
        ASSERT_TRUE(host.apply(from));
        edits = host.engine->diff(host.directory.write("t.yaml", to))->writes;
        ASSERT_GT(edits, 3u);
        const std::string old_id = host.engine->show_rules("web0")->at(0).rule.id;
        host.kernel.stop_after_edits = stop;
        static_cast<void>(host.apply(to).has_value());
        host.kernel.stop_after_edits.reset();
        host.restart();
        const bool flipped = host.kernel.generation() == 2;
        const std::string id = host.engine->show_rules("web0")->at(0).rule.id;
        auto attached = host.engine->attach("web0", HookChoice::kAuto);
        ASSERT_TRUE(attached) << attached.error().message;
        EXPECT_TRUE(attached->errors.empty());
        EXPECT_EQ(id == old_id, !flipped);
        EXPECT_EQ(host.engine->show_rules("web0")->at(0).rule.id, id);
        EXPECT_TRUE(host.kernel.is_consistent());
        auto again = host.apply(to);
        ASSERT_TRUE(again) << again.error().message;
        EXPECT_EQ(again->committed, !flipped);
        if (flipped) {
            EXPECT_EQ(host.engine->show_rules("web0")->at(0).rule.id, id);
        }
    }
}

TEST(Crash, OnTheFirstApplyLeavesADeviceUnattachedNotHalfFiltered) {
    Host host;
    host.kernel.stop_after_edits = 2;
    ASSERT_FALSE(host.apply(state_text(kOld)));
    EXPECT_TRUE(host.kernel.attachment_list.empty());
    host.kernel.stop_after_edits.reset();
    host.restart();
    auto again = host.apply(state_text(kOld));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->attached.size(), 1u);
    EXPECT_EQ(ports_in_force(host), std::vector<std::string>{"80"});
}

TEST(Crash, BetweenTheFlipAndTheRenameTheSaveIsFinishedWithItsIds) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const std::string before = host.file("applied.json");
    ASSERT_TRUE(host.apply(state_text(kNew)));
    const std::string after = host.file("applied.json");
    const std::string id = host.engine->show_rules("web0")->at(0).rule.id;
    // As a process leaves it that dies right after the flip.
    host.directory.write("state/applied.next", after);
    host.directory.write("state/applied.json", before);
    host.restart();
    EXPECT_EQ(ports_in_force(host), (std::vector<std::string>{"22", "53"})) << "readers know, and write nothing";
    EXPECT_EQ(host.file("applied.json"), before);
    auto again = host.apply(state_text(kNew));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_FALSE(again->committed);
    EXPECT_EQ(host.file("applied.json"), after);
    EXPECT_EQ(host.file("applied.next"), "");
    EXPECT_EQ(host.engine->show_rules("web0")->at(0).rule.id, id);
}

TEST(Crash, AStagedSaveOfACommitThatNeverFlippedIsDropped) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const std::string old_state = host.file("applied.json");
    {
        Host other;
        ASSERT_TRUE(other.apply(state_text(kNew)));
        host.directory.write("state/applied.next", other.file("applied.json"));
    }
    auto again = host.apply(state_text(kOld));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_FALSE(again->plan.differs());
    EXPECT_EQ(host.file("applied.json"), old_state);
    EXPECT_EQ(host.file("applied.next"), "");
}

TEST(Crash, BeforeUnbindingTheNextRunUnbindsWithoutAsking) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const Attachment attached = host.kernel.attachment_list.at(0);
    ApplyOptions prune;
    prune.allow_leaving = true;
    const std::string none = "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\ninterfaces: {}\n";
    ASSERT_TRUE(host.apply(none, prune));
    host.kernel.attachment_list = {attached};  // as if it had died before
    host.restart();
    auto again = host.apply(none);
    ASSERT_TRUE(again) << again.error().message;
    ASSERT_EQ(host.kernel.attachment_list.size(), 1u);
    EXPECT_EQ(host.kernel.attachment_list[0].interface_slot, 0u);
}

TEST(Crash, FlowsOfASlotWithoutInterfaceAreForgottenBeforeItIsGivenAway) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    std::filesystem::remove(host.directory.file("state/image.bin"));
    sg_flow flow{};
    flow.key.interface_slot = 77;
    host.kernel.flow_list = {flow};
    host.kernel.flushes.clear();
    ASSERT_TRUE(host.apply(state_text(kNew)));
    ASSERT_FALSE(host.kernel.flushes.empty());
    EXPECT_EQ(host.kernel.flushes[0].interface_slot, 77);
}

TEST(LostRecord, AnImageCacheOfAnotherGenerationIsNotBelieved) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const std::string stale = host.file("image.bin");
    ASSERT_TRUE(host.apply(state_text(kNew)));
    host.directory.write("state/image.bin", stale);
    ASSERT_TRUE(host.apply(state_text(kOther)));
    EXPECT_TRUE(host.kernel.is_consistent());
    host.directory.write("state/image.bin", "no image at all");
    ASSERT_TRUE(host.apply(state_text(kOld)));
    EXPECT_TRUE(host.kernel.is_consistent());
    EXPECT_EQ(ports_in_force(host), std::vector<std::string>{"80"});
}

TEST(LostRecord, AnApplyWithoutItsStateDirectoryStillCommits) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    std::filesystem::remove_all(host.directory.file("state"));
    std::filesystem::create_directory(host.directory.file("state"));
    host.restart();
    EXPECT_FALSE(host.engine->status()->healthy());
    auto report = host.apply(state_text(kOld));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(host.kernel.attachment_list.size(), 1u);
    EXPECT_TRUE(host.engine->status()->healthy());
    EXPECT_EQ(ports_in_force(host), std::vector<std::string>{"80"});
}

}  // namespace
}  // namespace sgbpf::test
