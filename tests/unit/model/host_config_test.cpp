// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/host_config.hpp"
#include "tests/unit/base/temporary_directory.hpp"

namespace sgbpf {
namespace {

TEST(HostConfig, MissingFileIsTheDefaultsUnlessItWasNamed) {
    const auto config = load_host_config("/nonexistent/host.yaml", false);
    ASSERT_TRUE(config);
    EXPECT_EQ(config->bpffs, "/sys/fs/bpf");
    EXPECT_EQ(config->hook, "auto");
    EXPECT_EQ(config->capacities.flows, Capacities{}.flows);
    const auto required = load_host_config("/nonexistent/host.yaml", true);
    ASSERT_FALSE(required);
    EXPECT_EQ(required.error().code, ErrorCode::kNotFound);
}

TEST(HostConfig, SetsWhatItNames) {
    const TemporaryDirectory directory;
    const auto config = load_host_config(
        directory.write("host.yaml", "schema: sgbpf-host/v1\nbpffs: /mnt/bpf\nstate_dir: /srv/sgbpf\nhook: clsact\n"
                                     "capacities: {interfaces: 65535, policy_slots: 2, policies: 3, prefixes: 4, "
                                     "list_prefixes: 5, members: 6, local_prefixes: 7, set_classes: 8, classes: 9, "
                                     "intervals: 10, rule_refs: 11, rules: 12, flows: 13, ifindexes: 14}\n"),
        true);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->bpffs, "/mnt/bpf");
    EXPECT_EQ(config->state_dir, "/srv/sgbpf");
    EXPECT_EQ(config->hook, "clsact");
    const Capacities& c = config->capacities;
    EXPECT_EQ(c.interfaces, 65535U);
    const std::uint32_t rest[] = {c.policy_slots,   c.policies,    c.prefixes, c.list_prefixes, c.members,
                                  c.local_prefixes, c.set_classes, c.classes,  c.intervals,     c.rule_refs,
                                  c.rules,          c.flows,       c.ifindexes};
    std::uint32_t expected = 2;
    for (const std::uint32_t value : rest) {
        EXPECT_EQ(value, expected++);
    }
}

TEST(HostConfig, TrackingHasTheKeysOfAnInterface) {
    const TemporaryDirectory directory;
    const auto config = load_host_config(
        directory.write("host.yaml", "schema: sgbpf-host/v1\ntracking: {mode: strict, max_flows: 1000, "
                                     "revocation: recheck, always_track: [192.0.2.0/24]}\n"),
        true);
    ASSERT_TRUE(config) << config.error().message;
    const TrackingOptions& tracking = config->policy.tracking;
    EXPECT_EQ(tracking.strict, std::optional(true));
    EXPECT_EQ(tracking.max_flows, std::optional(1000U));
    EXPECT_EQ(tracking.revocation, std::optional(Revocation::kRecheck));
    EXPECT_EQ(tracking.always_track_peers.size(), 1U);
    EXPECT_FALSE(tracking.reserved);
    const auto wrong = load_host_config(
        directory.write("bad.yaml", "schema: sgbpf-host/v1\ntracking: {opening_recycle: 121}\n"), true);
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("tracking.opening_recycle: 121 is not from 1 to 120 seconds"),
              std::string::npos);
}

TEST(HostConfig, RefusesWhatItDoesNotUnderstandAndReportsAll) {
    const TemporaryDirectory directory;
    const std::string path =
        directory.write("host.yaml", "schema: sgbpf/v1\nbpfs: /mnt\nhook: tc\nstate_dir: var\n"
                                     "capacities: {flows: 0x100, interfaces: 65536, flow: 1, rules: 1}\n");
    const auto config = load_host_config(path, false);
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(config.error().message, path + ":1:9: schema: \"sgbpf/v1\" is not known; one of sgbpf-host/v1");
    for (const char* fragment :
         {":2:1: unknown key bpfs; did you mean bpffs?", ":3:7: hook: \"tc\" is not known",
          ":4:12: state_dir: \"var\" is not an absolute path", "capacities.flows: \"0x100\" is not a plain decimal",
          "capacities.interfaces: 65536 is not from 2 to 65535 elements", "unknown key flow; did you mean flows?",
          "capacities.rules: 1 is not from 2"}) {
        EXPECT_NE(config.error().detail.find(fragment), std::string::npos) << fragment << "\n" << config.error().detail;
    }
}

TEST(HostConfig, EmptyFileIsAMistake) {
    const TemporaryDirectory directory;
    const auto config = load_host_config(directory.write("host.yaml", "# later\n"), false);
    ASSERT_FALSE(config);
    EXPECT_NE(config.error().message.find("is empty"), std::string::npos);
}

}  // namespace
}  // namespace sgbpf
