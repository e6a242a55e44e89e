// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The text itself; that it reads back the same is tested over the corpus, by corpus_test.cpp and schema_test.py.
#include "model/ids.hpp"
#include "model/parse.hpp"
#include "model/yaml_out.hpp"

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

TEST(YamlOut, QuotesWhatReadersDisagreeAbout) {
    ParsedState parsed = parse_state(
        "schema: sgbpf/v1\nvpcs: {prod: {cidrs: [10.0.0.0/16, \"2001:db8::/56\"]}}\n"
        "prefix_lists: {office: {family: ipv6, max_entries: 2, entries: [{cidr: \"2001:db8:1::/48\", description: a & b}]}}\n"
        "groups:\n  \"no\":\n    vpc: prod\n    description: \"22:22\"\n    owner: \"012345678901\"\n    tags: {x: \"1\"}\n"
        "    inbound:\n"
        "      - {type: ssh, cidr: \"::/0\", id: sgr-1a2b3c4d}\n      - {protocol: 1, icmp: {type: 3, code: 1}, group: self}\n"
        "      - {protocol: icmpv6, icmp: packet-too-big, prefix_list: office}\n      - {protocol: 50, cidr: 10.0.0.0/8}\n"
        "    outbound: []\n"
        "interfaces:\n  web0: {vpc: prod, match: {device: tap-web0, mac: \"52:54:00:12:34:57\"}, mac: \"52:54:00:12:34:56\", "
        "addresses: [10.0.1.10, \"2001:db8::10\"], groups: [\"no\", default], source_dest_check: false, timeouts: {udp: 60}}\n",
        "s.yaml", "");
    ASSERT_TRUE(parsed.ok()) << parsed.errors[0].to_string();
    EXPECT_EQ(to_yaml(parsed.state), R"(schema: sgbpf/v1
vpcs:
  prod:
    cidrs: [10.0.0.0/16, "2001:db8::/56"]
prefix_lists:
  office:
    family: ipv6
    max_entries: 2
    entries:
      - {cidr: "2001:db8:1::/48", description: a & b}
groups:
  default:
    vpc: prod
    description: default VPC security group
    inbound:
      - {protocol: all, group: self}
    outbound:
      - {protocol: all, cidr: 0.0.0.0/0}
      - {protocol: all, cidr: "::/0"}
  "no":
    vpc: prod
    description: "22:22"
    owner: "012345678901"
    tags: {x: "1"}
    inbound:
      - {protocol: tcp, port: 22, cidr: "::/0", id: sgr-1a2b3c4d}
      - {protocol: icmp, icmp: {type: 3, code: 1}, group: self}
      - {protocol: icmpv6, icmp: packet-too-big, prefix_list: office}
      - {protocol: 50, cidr: 10.0.0.0/8}
    outbound: []
interfaces:
  web0:
    vpc: prod
    role: workload
    match: {device: tap-web0, mac: "52:54:00:12:34:57"}
    mac: "52:54:00:12:34:56"
    addresses: [10.0.1.10, "2001:db8::10"]
    groups: [default, "no"]
    source_dest_check: false
    timeouts: {tcp_established: 432000, udp: 60, udp_stream: 180}
)");
}

}  // namespace
}  // namespace sgbpf
