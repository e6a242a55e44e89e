// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Model values in words for people: tables, plans, diffs. Not for machines (json.hpp, yaml_out.hpp).
#pragma once

#include <string>
#include <string_view>

#include <sgbpf/state.hpp>

namespace sgbpf {

std::string_view direction_text(unsigned direction);                 // "in", "out"
std::string protocol_text(Protocol protocol);                        // "all", "tcp", "udp", "icmp", "icmpv6", "132"
std::string icmp_text(Protocol protocol, const IcmpSelector& icmp);  // "echo-request", "type 8 code 1", "all"
// "443", "8000-8100", "0-65535", "echo-request", "all"; empty where the protocol has no selector.
std::string ports_text(const Rule& rule);
std::string peer_text(const Peer& peer);  // "::/0", "prefix list office", "group prod/mysql"
// "tcp 443 from ::/0", "all to 0.0.0.0/0", "icmp echo-request from 198.51.100.0/24",
// "tcp 3306 to group prod/mysql", "tcp 22 from prefix list office".
std::string rule_text(const Rule& rule, unsigned direction);
// "10.0.1.10" for a host prefix, "10.0.2.0/28" otherwise.
std::string address_text(const Prefix& prefix);
std::string match_text(const DeviceMatch& match);  // "tap-web0", "netns blue device eth0", "mac 52:54:..."
std::string_view role_text(Role role);             // "workload", "host"
std::string_view family_text(Family family);       // "ipv4", "ipv6"
// "2 groups, 9 rules, 1 interface": groups without the default ones, all rules of those groups.
std::string summary_text(const State& state);

}  // namespace sgbpf
