// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/host_config.hpp"
#include "model/services.hpp"
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

TEST(HostConfig, ReadsServices) {  // SG-6.4
    const TemporaryDirectory directory;
    const auto config = load_host_config(
        directory.write("host.yaml", "schema: sgbpf-host/v1\nexempt_rate: 100\nservices:\n"
                                     "  - {address: 169.254.169.254, protocol: tcp, port: 80, comment: metadata}\n"
                                     "  - {vpc: prod, address: \"2001:db8:53::/64\", protocol: UDP, port: 53, "
                                     "direction: out}\n"
                                     "  - {vpc: \"*\", address: \"fe80::1\", protocol: icmpv6, direction: in}\n"
                                     "  - {address: 10.0.0.1, protocol: all, direction: both}\n"),
        true);
    ASSERT_TRUE(config) << config.error().message;
    const HostPolicy& policy = config->policy;
    EXPECT_EQ(policy.exempt_rate, 100U);
    const auto prefix = [](const char* text) { return Prefix::parse(text)->prefix; };
    ASSERT_EQ(policy.services.size(), 4U);
    EXPECT_EQ(policy.services[0], (Service{"*", prefix("169.254.169.254/32"), kTcp, 80, true, true, "metadata"}));
    EXPECT_EQ(policy.services[1], (Service{"prod", prefix("2001:db8:53::/64"), kUdp, 53, false, true, ""}));
    EXPECT_EQ(policy.services[2], (Service{"*", prefix("fe80::1/128"), kIcmp, 0, true, false, ""}));
    EXPECT_EQ(policy.services[3], (Service{"*", prefix("10.0.0.1/32"), kAllProtocols, 0, true, true, ""}));

    const auto none = load_host_config(directory.write("none.yaml", "schema: sgbpf-host/v1\nservices: []\n"), true);
    ASSERT_TRUE(none);  // SG-6.4: an empty list is allowed
    EXPECT_TRUE(none->policy.services.empty());
    EXPECT_EQ(none->policy.exempt_rate, 1024U);
}

TEST(HostConfig, RefusesServicesThatAreNone) {
    struct Row {
        const char* service;
        const char* sentence;
    };
    const Row rows[] = {
        {"{addres: 10.0.0.1, protocol: all}", "unknown key addres; did you mean address?"},
        {"{protocol: all}", "key address is missing; say where the service answers"},
        {"{address: 10.0.0.1}", "key protocol is missing; write tcp, udp, icmp or all"},
        {"{address: 10.0.0.1, protocol: udp}", "key port is missing; a service is an address and a port"},
        {"{address: 10.0.0.1, protocol: udp, port: 0}", "services[0].port: 0 is not from 1 to 65535"},
        {"{address: 10.0.0.1, protocol: udp, port: 53-54}", "is not a plain decimal number"},
        {"{address: 10.0.0.1, protocol: icmp, port: 8}", "services[0].port: protocol icmp has no ports here"},
        {"{address: 10.0.0.1, protocol: 47}", "a service is tcp, udp, icmp or all, not 47"},
        {"{address: 10.0.0.1, protocol: icmpv6}", "icmpv6 is not the ICMP of 10.0.0.1"},
        {"{address: \"2001:db8::1\", protocol: icmp}", "icmp is not the ICMP of 2001:db8::1"},
        {"{address: 10.0.0.1/24, protocol: all}", "write 10.0.0.1 for the address or 10.0.0.0/24 for the prefix"},
        {"{address: 0.0.0.0/0, protocol: all}", "every address is no endpoint"},
        {"{address: 10.0.0.1, protocol: all, direction: ou}", "did you mean out?"},
        {"{vpc: \"\", address: 10.0.0.1, protocol: all}", "services[0].vpc: a name must not be empty"},
        {"169.254.169.254", "services[0]: expected"},
    };
    const TemporaryDirectory directory;
    for (const Row& row : rows) {
        SCOPED_TRACE(row.service);
        const auto config = load_host_config(
            directory.write("host.yaml", std::string("schema: sgbpf-host/v1\nservices:\n  - ") + row.service + "\n"),
            true);
        ASSERT_FALSE(config);
        EXPECT_NE(config.error().message.find(row.sentence), std::string::npos) << config.error().message;
    }
    const auto twice = load_host_config(
        directory.write("host.yaml", "schema: sgbpf-host/v1\nexempt_rate: 1000001\nservices:\n"
                                     "  - {vpc: prod, address: 10.0.0.1, protocol: udp, port: 53}\n"
                                     "  - {vpc: prod, address: 10.0.0.1/32, protocol: udp, port: 53, direction: in}\n"),
        true);
    ASSERT_FALSE(twice);
    for (const char* sentence : {"exempt_rate: 1000001 is not from 0 to 1000000 packets a second",
                                 "services[1]: \"udp 10.0.0.1 port 53 of VPC prod\" is there already, as services[0] "
                                 "on line 4"}) {
        EXPECT_NE(twice.error().detail.find(sentence), std::string::npos) << twice.error().detail;
    }
}

// A host.yaml may name VPCs that this host's state does not have: it works, and it says so.
TEST(HostConfig, AServiceOfAnUnknownVpcIsNamed) {
    State state;
    state.vpcs["prod"].name = "prod";
    Service service{"*", Prefix::parse("10.0.0.1/32")->prefix, kUdp, 53, true, true, ""};
    std::vector<Service> services = {service, service, service};
    services[1].vpc = "prod";
    services[2].vpc = "prd";
    EXPECT_EQ(services_without_vpc(services, state),
              std::vector<std::string>{"host.yaml: services[2].vpc: the state has no VPC prd; did you mean prod?; "
                                       "udp 10.0.0.1 port 53 of VPC prd stays filtered"});
}

TEST(HostConfig, EmptyFileIsAMistake) {
    const TemporaryDirectory directory;
    const auto config = load_host_config(directory.write("host.yaml", "# later\n"), false);
    ASSERT_FALSE(config);
    EXPECT_NE(config.error().message.find("is empty"), std::string::npos);
}

}  // namespace
}  // namespace sgbpf
