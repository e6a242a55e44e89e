// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Everything that is refused: its sentence, its code, and a kernel and a record that stay byte for byte.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kDb =
    "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], groups: [web]}\n";
constexpr const char* kHttp = "      - {protocol: tcp, port: 80, cidr: 192.0.2.0/24}\n";
constexpr const char* kPort22 = "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/24}\n";

struct Refusal {
    const char* name;
    std::function<void(Host&)> arrange;
    std::string text;
    ApplyOptions options;
    ErrorCode code;
    std::vector<std::string> words;  // in message or detail
};

std::vector<Refusal> refusals() {
    ApplyOptions strict;
    strict.require_devices = true;
    std::string host_role = state_text(kPort22);
    host_role.replace(host_role.find("role: workload"), 14, "role: host");
    std::string glob = state_text(kPort22);
    glob.replace(glob.find("tap-web0"), 8, "\"tap-*\"");
    return {
        {"another role while it filters",
         [](Host&) {},
         host_role,
         {},
         ErrorCode::kRefused,
         {"interface web0: tap-web0 is attached in role workload", "`sgbpf detach tap-web0` first", "nothing changed"}},
        {"a port of a bridge as the host's own",
         [](Host& host) { host.kernel.device_list[0].master_kind = "bridge"; },
         host_role,
         {},
         ErrorCode::kUnsupported,
         {"interface web0: tap-web0 cannot be filtered as the host's interface", "nothing changed"}},
        {"a device that must be there",
         [](Host&) {},
         state_text(kPort22, "", kDb),
         strict,
         ErrorCode::kRefused,
         {"db0: no device tap-db0", "nothing changed"}},
        {"several devices",
         [](Host& host) { host.kernel.device_list.push_back(tap("tap-web1", 13)); },
         glob,
         {},
         ErrorCode::kInvalid,
         {"2 devices match", "tap-web0", "tap-web1", "nothing changed"}},
        {"one device twice",
         [](Host&) {},
         state_text(kPort22, "",
                    "  db0: {vpc: prod, role: workload, match: {device: \"tap-w*\"}, addresses: [10.0.1.20]}\n"),
         {},
         ErrorCode::kInvalid,
         {"db0", "web0", "tap-web0", "nothing changed"}},
        {"a bridge",
         [](Host& host) { host.kernel.device_list[0].kind = "bridge"; },
         state_text(kPort22),
         {},
         ErrorCode::kUnsupported,
         {"interface web0", "bridge", "nothing changed"}},
        {"a macvtap",
         [](Host& host) { host.kernel.device_list[0].kind = "macvtap"; },
         state_text(kPort22),
         {},
         ErrorCode::kUnsupported,
         {"interface web0", "macvtap", "nothing changed"}},
        {"an interface that leaves",
         [](Host&) {},
         "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\ninterfaces: {}\n",
         {},
         ErrorCode::kRefused,
         {"tap-web0 leaves the file with interface web0", "sgbpf detach tap-web0", "nothing changed", "--prune"}},
        {"a device that its interface leaves",
         [](Host& host) { host.kernel.device_list.push_back(tap("tap-new", 14)); },
         [] {
             std::string text = state_text(kPort22);
             return text.replace(text.find("tap-web0"), 8, "tap-new");
         }(),
         {},
         ErrorCode::kRefused,
         {"tap-web0 is no longer the device of interface web0", "nothing changed"}},
        {"a file that is not there",
         [](Host& host) { std::filesystem::remove(host.directory.file("s.yaml")); },
         "",
         {},
         ErrorCode::kNotFound,
         {"s.yaml", "nothing changed"}},
    };
}

TEST(Refusal, LeavesKernelAndRecordByteForByte) {
    for (const Refusal& row : refusals()) {
        SCOPED_TRACE(row.name);
        Host host;
        ASSERT_TRUE(host.apply(state_text()));
        row.arrange(host);
        host.restart();
        const std::string kernel = host.kernel_bytes();
        const std::string applied = host.file("applied.json");
        const std::string journal = host.file("journal.log");
        const std::size_t edits = host.kernel.edits_written;
        bool started = false;
        ApplyOptions options = row.options;
        options.before_write = [&](const Plan&) { started = true; };
        auto report = row.text.empty() ? host.engine->apply(host.directory.file("s.yaml"), options)
                                       : host.apply(row.text, options);
        ASSERT_FALSE(report);
        EXPECT_EQ(report.error().code, row.code) << report.error().message;
        for (const std::string& word : row.words) {
            EXPECT_NE((report.error().message + "\n" + report.error().detail).find(word), std::string::npos)
                << word << " is not in: " << report.error().message << "\n"
                << report.error().detail;
        }
        EXPECT_FALSE(started);
        EXPECT_EQ(host.kernel_bytes(), kernel);
        EXPECT_EQ(host.kernel.edits_written, edits);
        EXPECT_EQ(host.file("applied.json"), applied);
        EXPECT_EQ(host.file("journal.log"), journal);
    }
}

TEST(Refusal, OnAFreshHostPinsNothing) {
    for (const Refusal& row : refusals()) {
        if (row.text.empty() || row.code == ErrorCode::kRefused) {
            continue;
        }
        SCOPED_TRACE(row.name);
        Host host;
        row.arrange(host);
        ASSERT_FALSE(host.apply(row.text, row.options));
        EXPECT_FALSE(host.kernel.pinned);
    }
}

TEST(Refusal, TellsAllErrorsOfAFileAtOnce) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string kernel = host.kernel_bytes();
    auto report = host.apply(state_text("      - {protocol: tcp, port: 70000, cidr: 192.0.2.0/24}\n"
                                        "      - {protocol: tcp, port: 22, cidr: 192.0.2.0/33}\n"));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_FALSE(report->committed);
    ASSERT_EQ(report->plan.input.errors.size(), 2u);
    EXPECT_NE(report->plan.input.errors[0].find("s.yaml:9:"), std::string::npos) << report->plan.input.errors[0];
    EXPECT_NE(report->plan.input.errors[0].find("70000"), std::string::npos);
    EXPECT_EQ(host.kernel_bytes(), kernel);
}

TEST(Refusal, NamesTheMapThatIsTooSmall) {
    Host host;
    host.config.capacities.prefixes = 50;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string kernel = host.kernel_bytes();
    std::string rules;
    for (int i = 0; i < 60; ++i) {
        rules += "      - {protocol: tcp, port: 22, cidr: 192.0.2." + std::to_string(i) + "/32}\n";
    }
    auto report = host.apply(state_text(rules));
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, ErrorCode::kExhausted);
    for (const char* word : {"sg_cidr4", "61", "50", "nothing changed"}) {
        EXPECT_NE(report.error().message.find(word), std::string::npos) << word << ": " << report.error().message;
    }
    EXPECT_EQ(host.kernel_bytes(), kernel);  // 61: 60 and the old one, which goes only after a grace period
    auto checked = host.engine->check(host.directory.file("s.yaml"), false);
    ASSERT_TRUE(checked);
    EXPECT_NE(checked->too_large.find("sg_cidr4"), std::string::npos) << checked->too_large;
}

TEST(Refusal, WhoAsksMayAgreeThatAnInterfaceLeaves) {
    const std::string none = "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\ninterfaces: {}\n";
    for (const bool agrees : {false, true}) {
        Host host;
        ASSERT_TRUE(host.apply(state_text()));
        ApplyOptions options;
        std::vector<std::string> asked;
        options.ask_leaving = [&](const Plan& plan) {
            asked = plan.leaving;
            return agrees;
        };
        auto report = host.apply(none, options);
        EXPECT_EQ(asked.size(), 1u);
        EXPECT_EQ(report.has_value(), agrees);
        EXPECT_EQ(host.kernel.attachment_list.size(), 1u) << "filtered either way";
    }
}

TEST(Refusal, ASecondApplyWaitsForTheFirstAndNamesIt) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string kernel = host.kernel_bytes();
    auto lock = host.store->lock(std::chrono::milliseconds(0));
    ASSERT_TRUE(lock);
    auto report = host.apply(state_text(kPort22));
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, ErrorCode::kRefused);
    EXPECT_NE(report.error().message.find("pid " + std::to_string(::getpid())), std::string::npos)
        << report.error().message;
    EXPECT_EQ(host.kernel_bytes(), kernel);
}

// The state directory is replaced by one whose applied.next is a directory: writing it fails as on a full disk.
TEST(Refusal, AnUnwritableStateDirectoryIsKnownBeforeTheFirstWrite) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    const std::string kernel = host.kernel_bytes();
    std::filesystem::create_directories(host.directory.file("state/applied.next/in-the-way"));
    auto report = host.apply(state_text(kPort22));
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().message.find("nothing changed"), std::string::npos) << report.error().message;
    EXPECT_EQ(host.kernel_bytes(), kernel);
    std::filesystem::remove_all(host.directory.file("state/applied.next"));
    ASSERT_TRUE(host.apply(state_text(kPort22)));
}

TEST(Attach, RefusesWhatTheAppliedStateDoesNotKnow) {
    Host host;
    EXPECT_EQ(host.engine->attach("web0", HookChoice::kAuto).error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(host.apply(state_text()));
    auto unknown = host.engine->attach("wbe0", HookChoice::kAuto);
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
    EXPECT_NE(unknown.error().message.find("did you mean web0"), std::string::npos) << unknown.error().message;
    EXPECT_EQ(host.engine->detach("tap-nothing", false).error().code, ErrorCode::kNotFound);
}

TEST(Attach, AttachesWhatWasDetached) {
    Host host;
    ASSERT_TRUE(host.apply(state_text(kHttp)));
    for (const char* name : {"web0", "tap-web0"}) {
        ASSERT_TRUE(host.engine->detach(name, false));
        EXPECT_TRUE(host.kernel.attachment_list.empty());
        auto report = host.engine->attach("", HookChoice::kAuto);
        ASSERT_TRUE(report) << report.error().message;
        ASSERT_EQ(report->attached.size(), 1u);
        EXPECT_FALSE(report->attached[0].already);
    }
    EXPECT_TRUE(host.engine->attach("web0", HookChoice::kAuto)->attached.at(0).already);
}

}  // namespace
}  // namespace sgbpf::test
