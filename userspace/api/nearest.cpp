// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/nearest.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bpf/packet.h"
#include "model/protocols.hpp"

namespace sgbpf {

namespace {

constexpr std::uint32_t kNothing = std::numeric_limits<std::uint32_t>::max();  // no prefix of this family
constexpr std::uint32_t kIncomparable = 65536;                                 // further than any port

unsigned common_bits(const Address& a, const Address& b) {
    unsigned bits = 0;
    while (bits < address_bits(a.family) && (((a.bytes[bits / 8] ^ b.bytes[bits / 8]) >> (7 - bits % 8)) & 1) == 0) {
        ++bits;
    }
    return bits;
}

std::uint32_t bits_missing(const Prefix& prefix, const Address& address) {
    if (prefix.family() != address.family) {
        return kNothing;
    }
    const unsigned common = common_bits(prefix.address, address);
    return prefix.length > common ? prefix.length - common : 0;
}

// Addresses that a group rule of `viewer` means.
template <typename F>
void for_each_member(const State& state, const Interface& viewer, const std::string& group, F&& f) {
    for (const auto& [name, interface] : state.interfaces) {
        const auto& groups = interface.groups;
        if (std::find(groups.begin(), groups.end(), group) == groups.end() ||
            !vpcs_meet(state, viewer.vpc, interface.vpc)) {
            continue;
        }
        for (const Prefix& prefix : interface.addresses) {
            f(interface, prefix);
        }
    }
}

std::uint32_t peer_bits(const State& state, const Interface& interface, const Peer& peer, const Address& address) {
    std::uint32_t best = kNothing;
    const auto consider = [&](const Prefix& prefix) { best = std::min(best, bits_missing(prefix, address)); };
    if (const auto* cidr = std::get_if<Prefix>(&peer)) {
        consider(*cidr);
    } else if (const auto* list = std::get_if<PrefixListRef>(&peer)) {
        if (const auto at = state.prefix_lists.find(list->name); at != state.prefix_lists.end()) {
            for (const PrefixListEntry& entry : at->second.entries) {
                consider(entry.prefix);
            }
        }
    } else {
        for_each_member(state, interface, std::get<GroupRef>(peer).key,
                        [&](const Interface&, const Prefix& prefix) { consider(prefix); });
    }
    return best;
}

std::uint32_t ports_between(const PortRange& range, std::uint16_t port) {
    return port < range.first  ? static_cast<std::uint32_t>(range.first - port)
           : port > range.last ? static_cast<std::uint32_t>(port - range.last)
                               : 0;
}

// Port or ICMP type of a rule of the packet's protocol.
std::uint32_t selector_distance(const Rule& rule, const RuleQuestion& question) {
    if (!has_ports(rule.protocol) && !is_icmp(rule.protocol)) {
        return 0;  // SG-2.11
    }
    if (!question.value) {
        return kIncomparable;  // asks for what a fragment does not say (SG-13.20)
    }
    if (has_ports(rule.protocol)) {
        return ports_between(rule.ports, *question.value);
    }
    if (rule.icmp.type != -1 && rule.icmp.type != *question.value >> 8) {
        return 2;
    }
    return rule.icmp.code == -1 || rule.icmp.code == (*question.value & 0xff) ? 0 : 1;
}

const Prefix* cidr_of(const Rule& rule) {
    return std::get_if<Prefix>(&rule.peer);
}

bool is_other_family(const NearRule& near, const RuleQuestion& question) {
    const Prefix* prefix = cidr_of(*near.rule);
    return near.distance.peer && prefix != nullptr && prefix->family() != question.peer.family;
}

}  // namespace

bool vpcs_meet(const State& state, const std::string& a, const std::string& b) {
    return a == b || std::any_of(state.peerings.begin(), state.peerings.end(), [&](const auto& entry) {
               const auto& [first, second] = entry.second.vpcs;
               return entry.second.status == "active" && ((first == a && second == b) || (first == b && second == a));
           });
}

RuleQuestion question_of(const PacketFields& packet) {
    RuleQuestion question;
    question.protocol = packet.key.protocol;
    question.peer = key_address(packet.key.remote, packet.key.family);
    question.behind_ah = (packet.flags & SG_PACKET_AH) != 0;
    question.is_fragment = (packet.flags & SG_PACKET_FRAGMENT_LATER) != 0;
    if (question.is_fragment) {
        return question;
    }
    if (has_ports(question.protocol)) {
        question.value = ntohs(packet.direction == SG_IN ? packet.key.local_port : packet.key.remote_port);
    } else if (question.protocol == (packet.key.family == SG_IPV6 ? kIcmpv6 : kIcmp)) {
        question.value = static_cast<std::uint16_t>(packet.icmp_type << 8 | packet.icmp_code);
    }
    return question;
}

RuleDistance distance(const State& state, const Interface& interface, const Rule& rule, const RuleQuestion& question) {
    RuleDistance found;
    const bool same = rule.protocol == question.protocol;
    const bool is_ah = question.behind_ah && rule.protocol == SG_PROTO_AH;
    found.protocol = !same && !is_ah && rule.protocol != kAllProtocols;
    if (same) {
        found.ports = selector_distance(rule, question);
    } else if (found.protocol) {
        // Numbers of two protocols mean something to each other only where both are ports.
        found.ports = has_ports(rule.protocol) && has_ports(question.protocol) && question.value
                          ? ports_between(rule.ports, *question.value)
                          : kIncomparable;
    }
    found.port = found.ports != 0 && (same || found.ports != kIncomparable);
    found.bits = peer_bits(state, interface, rule.peer, question.peer);
    found.peer = found.bits != 0;
    return found;
}

std::optional<NearRule> nearest_rule(const State& state, const Interface& interface, unsigned direction,
                                     const RuleQuestion& question) {
    const auto rank = [](const NearRule& near) {
        const RuleDistance& d = near.distance;
        return std::tuple(d.dimensions(), d.protocol, d.ports, d.bits, std::string_view(near.rule->id));
    };
    std::optional<NearRule> best;
    for (const std::string& key : interface.groups) {
        const auto group = state.groups.find(key);
        if (group == state.groups.end()) {
            continue;
        }
        for (const Rule& rule : group->second.rules[direction]) {
            const NearRule near{&group->second, &rule, distance(state, interface, rule, question)};
            if (!best || rank(near) < rank(*best)) {
                best = near;
            }
        }
    }
    return best;
}

std::vector<std::string> differences(const NearRule& near, const RuleQuestion& question) {
    std::vector<std::string> names;
    if (near.distance.protocol) {
        names.emplace_back("protocol");
    }
    if (near.distance.port) {
        names.emplace_back(is_icmp(near.rule->protocol) ? "type" : "port");
    }
    if (near.distance.peer) {
        names.emplace_back(is_other_family(near, question) ? "family" : "peer");
    }
    return names;
}

std::string difference_text(const State& state, const Interface& interface, const NearRule& near,
                            const RuleQuestion& question) {
    std::vector<std::string> parts;
    if (near.distance.protocol) {
        parts.emplace_back("another protocol");
    }
    if (near.distance.port) {
        const char* selector = is_icmp(near.rule->protocol) ? "type" : "port";
        parts.push_back(question.is_fragment ? fmt::format("a fragment has no {}", selector)
                                             : fmt::format("another {}", selector));
    }
    if (near.distance.peer) {
        std::size_t members = 0;
        const auto* group = std::get_if<GroupRef>(&near.rule->peer);
        if (group != nullptr) {
            for_each_member(state, interface, group->key, [&](const Interface&, const Prefix&) { ++members; });
        }
        if (group != nullptr && members == 0) {
            parts.push_back(fmt::format("group {} has no member here", group->key));
        } else {
            parts.emplace_back(is_other_family(near, question) ? "another address family" : "another peer");
        }
    }
    return fmt::format("{}", fmt::join(parts, " and "));
}

const PrefixListEntry* entry_of(const PrefixList& list, const Address& address) {
    const PrefixListEntry* longest = nullptr;
    for (const PrefixListEntry& entry : list.entries) {
        if (entry.prefix.contains(address) && (longest == nullptr || entry.prefix.length > longest->prefix.length)) {
            longest = &entry;
        }
    }
    return longest;
}

const Interface* member_of(const State& state, const Interface& viewer, const std::string& group,
                           const Address& address) {
    const Interface* found = nullptr;
    int length = -1;
    for_each_member(state, viewer, group, [&](const Interface& interface, const Prefix& prefix) {
        if (prefix.contains(address) && prefix.length > length) {
            found = &interface;
            length = prefix.length;
        }
    });
    return found;
}

}  // namespace sgbpf
