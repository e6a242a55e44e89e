// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/text.hpp"

#include "base/strings.hpp"
#include "model/protocols.hpp"

#include <fmt/format.h>

namespace sgbpf {

std::string_view direction_text(unsigned direction) {
    return direction == SG_IN ? "in" : "out";
}

std::string protocol_text(Protocol protocol) {
    switch (protocol) {
        case kAllProtocols:
            return "all";
        case kTcp:
            return "tcp";
        case kUdp:
            return "udp";
        case kIcmp:
            return "icmp";
        case kIcmpv6:
            return "icmpv6";
        default:
            return std::to_string(protocol);
    }
}

std::string icmp_text(Protocol protocol, const IcmpSelector& icmp) {
    if (icmp.type == -1) {
        return "all";
    }
    if (const std::string_view name = icmp_name(protocol, icmp); !name.empty()) {
        return std::string(name);
    }
    return icmp.code == -1 ? fmt::format("type {}", icmp.type) : fmt::format("type {} code {}", icmp.type, icmp.code);
}

std::string ports_text(const Rule& rule) {
    if (is_icmp(rule.protocol)) {
        return icmp_text(rule.protocol, rule.icmp);
    }
    if (!has_ports(rule.protocol)) {
        return {};
    }
    return rule.ports.first == rule.ports.last ? std::to_string(rule.ports.first)
                                               : fmt::format("{}-{}", rule.ports.first, rule.ports.last);
}

std::string peer_text(const Peer& peer) {
    if (const auto* prefix = std::get_if<Prefix>(&peer)) {
        return prefix->to_string();
    }
    if (const auto* list = std::get_if<PrefixListRef>(&peer)) {
        return "prefix list " + list->name;
    }
    return "group " + std::get<GroupRef>(peer).key;
}

std::string rule_text(const Rule& rule, unsigned direction) {
    const std::string ports = ports_text(rule);
    const bool numbered = rule.protocol != kAllProtocols && !has_ports(rule.protocol) && !is_icmp(rule.protocol);
    return fmt::format("{}{}{}{} {} {}", numbered ? "protocol " : "", protocol_text(rule.protocol),
                       ports.empty() ? "" : " ", ports, direction == SG_IN ? "from" : "to", peer_text(rule.peer));
}

std::string address_text(const Prefix& prefix) {
    return prefix.length == address_bits(prefix.family()) ? prefix.address.to_string() : prefix.to_string();
}

std::string match_text(const DeviceMatch& match) {
    std::string text;
    const auto add = [&](std::string_view word, const std::string& value) {
        if (!value.empty()) {
            text += fmt::format("{}{} {}", text.empty() ? "" : " ", word, value);
        }
    };
    const bool only_device = match.netns.empty() && !match.mac && match.alias.empty();
    if (only_device) {
        return match.device;
    }
    add("netns", match.netns);
    add("device", match.device);
    add("mac", match.mac ? match.mac->to_string() : "");
    add("alias", match.alias);
    return text;
}

std::string_view role_text(Role role) {
    return role == Role::kWorkload ? "workload" : "host";
}

std::string_view family_text(Family family) {
    return family == Family::kIpv4 ? "ipv4" : "ipv6";
}

std::string summary_text(const State& state) {
    std::size_t groups = 0;
    std::size_t rules = 0;
    for (const auto& [key, group] : state.groups) {
        if (!group.is_default) {
            ++groups;
            rules += group.rules[SG_IN].size() + group.rules[SG_OUT].size();
        }
    }
    return fmt::format("{}, {}, {}", counted(groups, "group"), counted(rules, "rule"),
                       counted(state.interfaces.size(), "interface"));
}

}  // namespace sgbpf
