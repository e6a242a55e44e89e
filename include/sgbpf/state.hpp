// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The desired state as plain data: what a state file says after parsing, defaults (SG-3.x) and id
// assignment. Data only; model/ parses, validates and prints it, compiler/ turns it into maps.
//
// References are resolved: groups are named by their key "vpc/name", lists, VPCs and interfaces by
// name. A State that came out of model/ is valid: every reference exists, ids are unique.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <sgbpf/prefix.hpp>

namespace sgbpf {

// IP protocol number 0..255, or kAllProtocols for "-1".
using Protocol = int;
constexpr Protocol kAllProtocols = -1;
constexpr Protocol kIcmp = 1;
constexpr Protocol kTcp = 6;
constexpr Protocol kUdp = 17;
constexpr Protocol kIcmpv6 = 58;

// tcp/udp: inclusive ports. Canonical for protocols without ports: 0..65535.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;
    auto operator<=>(const PortRange&) const = default;
};

// icmp/icmpv6: -1 = any; type -1 forces code -1 (SG-2.20).
struct IcmpSelector {
    int type = -1;
    int code = -1;
    auto operator<=>(const IcmpSelector&) const = default;
};

struct PrefixListRef {
    std::string name;  // key in State::prefix_lists
    auto operator<=>(const PrefixListRef&) const = default;
};
struct GroupRef {
    std::string key;  // key in State::groups
    auto operator<=>(const GroupRef&) const = default;
};
using Peer = std::variant<Prefix, PrefixListRef, GroupRef>;

struct Rule {
    std::string id;  // "sgr-" + 17 hex; empty until assigned
    Protocol protocol = kAllProtocols;
    PortRange ports;    // meaningful for tcp and udp
    IcmpSelector icmp;  // meaningful for icmp and icmpv6
    Peer peer;
    std::string description;
    std::map<std::string, std::string> tags;
};

// Direction indexes as in the ABI: SG_IN, SG_OUT.
struct Group {
    std::string key;   // "vpc/name"
    std::string id;    // "sg-" + 17 hex
    std::string name;  // unique in its VPC, ignoring case
    std::string vpc;
    std::string description;
    std::string owner;
    std::map<std::string, std::string> tags;
    bool is_default = false;  // the VPC's default group (SG-3.14)
    std::array<std::vector<Rule>, SG_DIRECTIONS> rules;
};

struct Vpc {
    std::string name;
    std::string id;  // "vpc-" + 17 hex
    std::vector<Prefix> cidrs;
    [[nodiscard]] bool has_ipv6() const;
};

struct Peering {
    std::string name;
    std::string id;  // "pcx-" + 17 hex
    std::array<std::string, 2> vpcs;
    std::string status;  // SG-1.54; only "active" counts
};

struct PrefixListEntry {
    Prefix prefix;
    std::string description;
};

struct PrefixList {
    std::string name;
    std::string id;  // "pl-" + 17 hex
    Family family = Family::kIpv4;
    std::uint32_t max_entries = 0;
    std::vector<PrefixListEntry> entries;
};

enum class Role { kWorkload, kHost };

// How the device of an interface is found; every field that is set must agree.
struct DeviceMatch {
    std::string device;             // name or glob; empty = any
    std::optional<MacAddress> mac;  // the device's own
    std::string alias;              // ifalias
    std::string netns;              // name under /run/netns; empty = the caller's
};

struct Timeouts {  // seconds, ranges of SG-5.29
    std::uint32_t tcp_established = 432000;
    std::uint32_t udp = 30;
    std::uint32_t udp_stream = 180;
    auto operator<=>(const Timeouts&) const = default;
};

// What becomes of flows that were admitted by rules that are gone (SG-5.21): they live on, are judged again at
// their next packet, or end at once.
enum class Revocation { kKeep, kRecheck, kKill };

// How the flows of an interface are tracked. What is not set is the host's default.
struct TrackingOptions {
    std::optional<bool> strict;                    // TCP sequence windows are checked
    std::optional<std::uint32_t> max_flows;        // SG-5.52
    std::optional<std::uint32_t> max_opening;      // most of them unanswered
    std::optional<std::uint32_t> reserved;         // flows that no other interface can take from it
    std::optional<std::uint32_t> opening_recycle;  // seconds, 0 = never: a deviation from SG-5.50
    std::optional<bool> always_track;              // no flow is untracked (SG-5.19)
    std::vector<Prefix> always_track_peers;        // flows with these peers are not (SG-5.19)
    std::optional<bool> related_icmp;              // ICMP errors about tracked flows pass (SG-5.36); default true
    std::optional<Revocation> revocation;
    bool operator==(const TrackingOptions&) const = default;
};

struct Interface {
    std::string name;
    std::string id;  // "eni-" + 17 hex
    std::string vpc;
    Role role = Role::kWorkload;
    DeviceMatch match;
    std::optional<MacAddress> mac;          // the guest's
    std::vector<Prefix> addresses;          // private addresses and delegated prefixes (SG-1.30)
    std::vector<Prefix> allowed_addresses;  // pass the source check, are no members
    std::vector<std::string> groups;        // keys, sorted, without duplicates, at least one (SG-1.24)
    bool source_dest_check = true;
    Timeouts timeouts;
    TrackingOptions tracking;
    bool quarantine = false;  // drops everything: set on this host by an operator, never by a state file
};

struct State {
    std::map<std::string, Vpc> vpcs;
    std::map<std::string, Peering> peerings;
    std::map<std::string, PrefixList> prefix_lists;
    std::map<std::string, Group> groups;  // by key
    std::map<std::string, Interface> interfaces;
};

// How many elements each kernel map may hold; /etc/sgbpf/host.yaml. Fixed when the maps are created.
struct Capacities {
    std::uint32_t interfaces = 2048;
    std::uint32_t policy_slots = 8192;
    std::uint32_t policies = 16384;
    std::uint32_t prefixes = 262144;        // CIDRs of all policies, per family
    std::uint32_t list_prefixes = 2097152;  // of all prefix lists, per family
    std::uint32_t members = 262144;         // (VPC, address), per family
    std::uint32_t local_prefixes = 65536;   // (interface, address), per family
    std::uint32_t set_classes = 262144;
    std::uint32_t classes = 262144;
    std::uint32_t intervals = 524288;
    std::uint32_t rule_refs = 1048576;
    std::uint32_t rules = 262144;
    std::uint32_t flows = 262144;
    std::uint32_t ifindexes = 262144;  // highest ifindex + 1, per network namespace

    bool operator==(const Capacities&) const = default;
};

}  // namespace sgbpf
