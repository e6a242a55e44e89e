// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// apply --confirm: in force at once, gone again by itself, kept by confirm, and nothing in between.
#include <gtest/gtest.h>

#include <algorithm>

#include "api/commit.hpp"
#include "api/confirm.hpp"
#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kOld = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
constexpr const char* kNew = "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n";
constexpr const char* kDb = "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], "
                            "groups: [web]}\n";

ApplyOptions unconfirmed(std::uint32_t seconds = 60) {
    ApplyOptions options;
    options.confirm_seconds = seconds;
    return options;
}

std::string ports_in_force(Host& host) {
    const auto rules = host.engine->show_rules("web0");
    EXPECT_TRUE(rules);
    std::string ports;
    for (const RuleRow& row : *rules) {
        ports += std::to_string(row.rule.ports.first) + " ";
    }
    return ports;
}

bool says(const std::vector<std::string>& notes, const std::string& words) {
    return std::any_of(notes.begin(), notes.end(),
                       [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

bool has_condition(Host& host, const std::string& name, bool unhealthy) {
    const auto status = host.engine->status();
    EXPECT_TRUE(status);
    return std::any_of(status->conditions.begin(), status->conditions.end(), [&](const Condition& condition) {
        return condition.name == name && condition.unhealthy == unhealthy;
    });
}

TEST(Confirm, TheNewRulesAreInForceAndNothingElseMayChangeThem) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const auto applied = host.apply(state_text(kNew), unconfirmed());
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(applied->committed);
    EXPECT_EQ(applied->undone_at.size(), 8u) << applied->undone_at;
    EXPECT_EQ(host.kernel.control()->confirm_state, SG_CONFIRM_ARMED);
    EXPECT_GT(host.kernel.control()->confirm_until, boot_time_now() + 55'000'000'000U);
    host.restart();
    EXPECT_EQ(ports_in_force(host), "22 ");
    EXPECT_TRUE(has_condition(host, "unconfirmed", false));

    const std::string before = host.kernel_bytes();
    const auto second = host.apply(state_text(kOld));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kRefused);
    EXPECT_NE(second.error().message.find("waits for its confirmation until"), std::string::npos);
    EXPECT_FALSE(host.engine->attach("", HookChoice::kAuto));
    EXPECT_FALSE(host.engine->detach("web0", false));
    EXPECT_EQ(host.kernel_bytes(), before);
    EXPECT_TRUE(host.engine->diff(host.directory.file("s.yaml")));
}

TEST(Confirm, KeepsThemAsAnOrdinaryApplyWouldHave) {
    Host plain;
    ASSERT_TRUE(plain.apply(state_text(kOld)));
    ASSERT_TRUE(plain.apply(state_text(kNew)));
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
    host.restart();
    const auto kept = host.engine->confirm(false);
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_FALSE(kept->rolled_back);
    EXPECT_EQ(kept->generation, 2u);
    EXPECT_TRUE(host.kernel.is_consistent());
    EXPECT_EQ(host.kernel.control()->confirm_state, SG_CONFIRM_NONE);
    EXPECT_EQ(host.kernel_bytes(), plain.kernel_bytes());
    host.restart();
    EXPECT_EQ(ports_in_force(host), "22 ");
    EXPECT_FALSE(host.apply(state_text(kNew))->plan.differs());
    EXPECT_FALSE(host.engine->confirm(false)) << "a second time";
    EXPECT_NE(host.file("journal.log").find("confirm generation 2"), std::string::npos);
}

TEST(Confirm, AfterTheTimeTheOldRulesAreInForceAndTheNextCommandTidiesUp) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
    host.kernel.roll_back();
    host.restart();
    EXPECT_EQ(ports_in_force(host), "80 ");
    EXPECT_TRUE(has_condition(host, "rolled-back", true));
    const auto late = host.engine->confirm(false);
    ASSERT_TRUE(late) << late.error().message;
    EXPECT_TRUE(late->rolled_back);
    EXPECT_EQ(late->generation, 3u) << "no number is used twice";
    EXPECT_TRUE(says(late->notes, "generation 2 was not confirmed and is undone"));
    EXPECT_TRUE(host.kernel.is_consistent());
    EXPECT_FALSE(host.apply(state_text(kOld))->plan.differs()) << "what was applied before is what is applied";
    const auto next = host.apply(state_text(kNew));
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(ports_in_force(host), "22 ");
    EXPECT_TRUE(host.kernel.is_consistent());
}

TEST(Confirm, UndoGoesBackAtOnce) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
    const auto undone = host.engine->confirm(true);
    ASSERT_TRUE(undone) << undone.error().message;
    EXPECT_TRUE(undone->rolled_back);
    EXPECT_EQ(ports_in_force(host), "80 ");
    EXPECT_TRUE(host.kernel.is_consistent());
    EXPECT_FALSE(host.engine->confirm(true));
}

TEST(Confirm, DevicesOfARolledBackApplyAreDetachedAndOthersStay) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    ASSERT_TRUE(host.apply(state_text(kOld, "", kDb), unconfirmed()));
    ASSERT_EQ(host.kernel.attachment_list.size(), 2u);
    EXPECT_EQ(host.kernel.attachment_list[0].since, 0u);
    EXPECT_EQ(host.kernel.attachment_list[1].since, 2u);
    host.kernel.roll_back();
    const auto next = host.apply(state_text(kOld));
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_TRUE(says(next->plan.notes, "tap-db0 is detached again"));
    ASSERT_EQ(host.kernel.attachment_list.size(), 1u);
    EXPECT_EQ(host.kernel.attachment_list[0].device.name, "tap-web0");
}

TEST(Confirm, TheFirstApplyOfAHostCanBeUndoneToo) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld), unconfirmed()));
    EXPECT_EQ(host.kernel.attachment_list.at(0).since, 1u);
    host.kernel.roll_back();
    const auto next = host.apply(state_text(kNew));
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(ports_in_force(host), "22 ");
    EXPECT_EQ(host.kernel.attachment_list.at(0).since, 0u);
    EXPECT_TRUE(host.kernel.is_consistent());
}

TEST(Confirm, OnlyADeviceThatAppearsIsReasonEnough) {
    Host host;
    host.kernel.device_list.clear();
    ASSERT_TRUE(host.apply(state_text(kOld)));
    host.kernel.device_list = {tap("tap-web0", 12)};
    const auto applied = host.apply(state_text(kOld), unconfirmed());
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_TRUE(applied->committed);
    EXPECT_EQ(host.kernel.attachment_list.at(0).since, 2u);
    ASSERT_TRUE(host.engine->confirm(false));
    EXPECT_EQ(host.kernel.attachment_list.at(0).since, 0u);
    const auto nothing = host.apply(state_text(kOld), unconfirmed());
    ASSERT_TRUE(nothing);
    EXPECT_FALSE(nothing->committed) << "nothing to confirm when nothing changes";
    EXPECT_EQ(host.kernel.control()->confirm_state, SG_CONFIRM_NONE);
}

TEST(Confirm, DevicesThatLeaveAreUnboundWithTheConfirmation) {
    Host host;
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    ASSERT_TRUE(host.apply(state_text(kOld, "", kDb)));
    ApplyOptions options = unconfirmed();
    options.allow_leaving = true;
    ASSERT_TRUE(host.apply(state_text(kOld), options));
    const Attachment& db0 = host.kernel.attachment_list.at(0);
    ASSERT_EQ(db0.device.name, "tap-db0");
    EXPECT_NE(db0.interface_slot, 0u) << "a rollback needs it";
    const auto kept = host.engine->confirm(false);
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_TRUE(says(kept->notes, "tap-db0 stays attached and drops all traffic"));
    EXPECT_EQ(db0.interface_slot, 0u);
    EXPECT_TRUE(host.kernel.is_consistent());
}

TEST(Confirm, ADeviceCannotChangeItsInterfaceMeanwhile) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    std::string moved = state_text(kOld);
    moved.replace(moved.find("  web0:"), 7, "  www0:");
    ApplyOptions options = unconfirmed();
    options.allow_leaving = true;
    const std::string before = host.kernel_bytes();
    const auto refused = host.apply(moved, options);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("which --confirm cannot undo"), std::string::npos)
        << refused.error().message;
    EXPECT_EQ(host.kernel_bytes(), before);
}

// Filtered before, it stays filtered after a rollback, whatever the apply mended at it.
TEST(Confirm, ADeviceThatIsOnlyMendedDoesNotPassEverythingAfterwards) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    host.kernel.attachment_list.at(0).problem = "the programs are those of another build of sgbpf";
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
    EXPECT_EQ(host.kernel.attachment_list.at(0).since, 0u);
    host.kernel.roll_back();
    ASSERT_TRUE(host.apply(state_text(kOld)));
    EXPECT_EQ(host.kernel.attachment_list.size(), 1u) << "detached: it passes everything";
}

// It drops now; after a rollback it would pass.
TEST(Confirm, ADeviceThatWasLeftCannotGetAnInterfaceMeanwhile) {
    Host host;
    host.kernel.device_list.push_back(tap("tap-db0", 13));
    ASSERT_TRUE(host.apply(state_text(kOld, "", kDb)));
    ApplyOptions prune;
    prune.allow_leaving = true;
    ASSERT_TRUE(host.apply(state_text(kOld), prune));
    EXPECT_FALSE(host.apply(state_text(kOld, "", kDb), unconfirmed()));
    EXPECT_TRUE(host.apply(state_text(kOld, "", kDb)));
}

// The time is over between the last edit and the flip: the timer comes by again within a second, unless a
// command comes first.
TEST(Confirm, AFlipThatIsTooLateDoesNotStay) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    host.kernel.before_flip = [&] { host.kernel.roll_back(); };
    const auto late = host.apply(state_text(kNew), unconfirmed());
    ASSERT_FALSE(late);
    EXPECT_EQ(host.kernel.generation(), 2u) << "the case is not the one meant";
    host.restart();
    const auto next = host.apply(state_text(kOld));
    ASSERT_TRUE(next) << next.error().message;
    EXPECT_EQ(ports_in_force(host), "80 ");
    EXPECT_TRUE(host.kernel.is_consistent());
    EXPECT_EQ(host.kernel.control()->confirm_state, SG_CONFIRM_NONE);
}

// A flow that the undone commit let in names slots that the next one gives away, and an epoch that must not
// come again.
TEST(Confirm, FlowsOfAnUndoneCommitAreEndedAndItsEpochIsNotUsedAgain) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    const std::string old_id = host.engine->show_rules("web0")->at(0).rule.id;
    std::string moved = state_text(kNew);
    moved.replace(moved.find("10.0.1.10"), 9, "10.0.1.11");
    ASSERT_TRUE(host.apply(moved, unconfirmed()));
    const auto epoch_of = [&] {
        const auto interface = host.kernel.get<MapId::kInterfaces>(1);
        return std::max(interface->config[0].epoch, interface->config[1].epoch);
    };
    const std::uint32_t undone = epoch_of();
    sg_flow flow{};
    flow.key.interface_slot = 1;
    flow.rule = 1;
    while (flow.rule < 8 && host.kernel.get<MapId::kRules>(flow.rule)->live != 0) {
        ++flow.rule;
    }
    --flow.rule;  // the newest: of the undone commit
    flow.word = SG_FLOW_ESTABLISHED;
    host.kernel.flow_list = {flow};
    host.kernel.roll_back();
    ASSERT_TRUE(host.engine->confirm(false));
    ASSERT_EQ(host.kernel.reaped.size(), 1u);
    EXPECT_EQ(host.kernel.reaped[0].slot, 1u);
    moved.replace(moved.find("10.0.1.11"), 9, "10.0.1.12");
    ASSERT_TRUE(host.apply(moved));
    EXPECT_GT(epoch_of(), undone);
}

TEST(Confirm, WhoLooksWhileItIsUnderWayIsNotToldThatItWasUndone) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    host.kernel.before_flip = [&] { EXPECT_FALSE(has_condition(host, "rolled-back", true)); };
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
}

// Killed at any edit before the flip: what the next run finds is the old policy, in order.
TEST(Confirm, AKillBeforeTheFlipLeavesTheOldRules) {
    for (std::size_t stop = 0; stop < 12; ++stop) {
        SCOPED_TRACE(stop);
        Host host;
        ASSERT_TRUE(host.apply(state_text(kOld)));
        host.kernel.stop_after_edits = stop;
        const bool died = !host.apply(state_text(kNew), unconfirmed());
        host.kernel.stop_after_edits.reset();
        host.restart();
        if (!died) {
            break;
        }
        EXPECT_EQ(ports_in_force(host), "80 ");
        const auto next = host.apply(state_text(kOld));
        ASSERT_TRUE(next) << next.error().message;
        EXPECT_TRUE(host.kernel.is_consistent());
        EXPECT_EQ(host.kernel.control()->confirm_state, SG_CONFIRM_NONE);
    }
}

TEST(Confirm, AKillDuringTheConfirmationIsFinishedByTheNextRun) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kOld)));
    ASSERT_TRUE(host.apply(state_text(kNew), unconfirmed()));
    host.kernel.stop_after_edits = 1;
    EXPECT_FALSE(host.engine->confirm(false));
    host.kernel.stop_after_edits.reset();
    host.restart();
    EXPECT_EQ(ports_in_force(host), "22 ");
    const auto status = host.engine->status();
    EXPECT_TRUE(std::any_of(status->conditions.begin(), status->conditions.end(), [](const Condition& condition) {
        return condition.text.find("generation 2 is in force") != std::string::npos;
    }));
    EXPECT_FALSE(host.engine->confirm(true)) << "too late to go back";
    const auto finished = host.engine->confirm(false);
    ASSERT_TRUE(finished) << finished.error().message;
    EXPECT_FALSE(finished->rolled_back);
    EXPECT_FALSE(host.apply(state_text(kNew))->plan.differs());
    EXPECT_TRUE(host.kernel.is_consistent());
}

}  // namespace
}  // namespace sgbpf::test
