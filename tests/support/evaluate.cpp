// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/support/evaluate.hpp"

#include <algorithm>

namespace sgbpf::test {
namespace {

bool in_prefix(const Prefix& prefix, const Address& address) {
    if (prefix.address.family != address.family) {
        return false;  // SG-2.30
    }
    for (unsigned bit = 0; bit < prefix.length; ++bit) {
        const unsigned mask = 0x80U >> (bit % 8);
        if ((prefix.address.bytes[bit / 8] & mask) != (address.bytes[bit / 8] & mask)) {
            return false;
        }
    }
    return true;
}

bool peered(const State& state, const std::string& a, const std::string& b) {
    return std::any_of(state.peerings.begin(), state.peerings.end(), [&](const auto& entry) {
        const auto& [first, second] = entry.second.vpcs;
        return entry.second.status == "active" && ((first == a && second == b) || (first == b && second == a));
    });
}

// SG-4.16, SG-4.17: a private address of an interface that carries the group now, in the rule's own VPC
// or an actively peered one.
bool is_member(const State& state, const std::string& viewer_vpc, const std::string& group, const Address& address) {
    for (const auto& [name, interface] : state.interfaces) {
        if (std::find(interface.groups.begin(), interface.groups.end(), group) == interface.groups.end()) {
            continue;
        }
        if (interface.vpc != viewer_vpc && !peered(state, viewer_vpc, interface.vpc)) {
            continue;
        }
        for (const Prefix& prefix : interface.addresses) {
            if (in_prefix(prefix, address)) {
                return true;
            }
        }
    }
    return false;
}

// Stage of the documented match order, which only decides the attribution. 0 = no match.
int peer_stage(const State& state, const Interface& interface, const Rule& rule, const Address& peer) {
    if (const auto* prefix = std::get_if<Prefix>(&rule.peer)) {
        if (!in_prefix(*prefix, peer)) {
            return 0;
        }
        return prefix->length == 0 ? 1 : 2;
    }
    if (const auto* list = std::get_if<PrefixListRef>(&rule.peer)) {
        // Lists are asked in two bands of length, the long one first.
        int stage = 0;
        const unsigned short_max = peer.family == Family::kIpv4 ? 8 : 19;
        for (const PrefixListEntry& entry : state.prefix_lists.at(list->name).entries) {
            if (in_prefix(entry.prefix, peer)) {
                const int here = entry.prefix.length <= short_max ? 4 : 3;
                stage = stage == 0 ? here : std::min(stage, here);
            }
        }
        return stage;
    }
    return is_member(state, interface.vpc, std::get<GroupRef>(rule.peer).key, peer) ? 5 : 0;
}

bool protocol_matches(const Rule& rule, const NewFlow& flow) {
    if (rule.protocol == kAllProtocols) {
        return true;  // SG-2.10
    }
    if (rule.protocol != flow.protocol) {
        return false;  // SG-4.12
    }
    const bool selects =
        rule.protocol == kTcp || rule.protocol == kUdp || rule.protocol == kIcmp || rule.protocol == kIcmpv6;
    if (!selects) {
        return true;  // SG-2.11
    }
    if (!flow.value) {
        return false;  // SG-13.20: asks for something that a fragment does not say
    }
    if (rule.protocol == kTcp || rule.protocol == kUdp) {
        return rule.ports.first <= *flow.value && *flow.value <= rule.ports.last;  // SG-2.17
    }
    const int type = *flow.value >> 8;
    const int code = *flow.value & 0xff;
    return (rule.icmp.type == -1 || rule.icmp.type == type) && (rule.icmp.code == -1 || rule.icmp.code == code);
}

// SG-5.11..5.14: literal 0/0 of the family.
bool is_any(const Rule& rule, Family family) {
    const auto* prefix = std::get_if<Prefix>(&rule.peer);
    return prefix != nullptr && prefix->address.family == family && prefix->length == 0;
}

}  // namespace

Evaluation evaluate(const State& state, const NewFlow& flow) {
    Evaluation result;
    const Interface& interface = state.interfaces.at(flow.interface);
    if (interface.source_dest_check) {  // SG-1.32
        const auto owns = [&](const std::vector<Prefix>& prefixes) {
            return std::any_of(prefixes.begin(), prefixes.end(),
                               [&](const Prefix& prefix) { return in_prefix(prefix, flow.local); });
        };
        if (!owns(interface.addresses) && !owns(interface.allowed_addresses)) {
            result.wrong_address = true;
            return result;
        }
    }
    bool any_rule_permits = false;
    bool way_back_is_open = false;
    std::pair<int, std::string> best{99, ""};
    for (const std::string& key : interface.groups) {
        const Group& group = state.groups.at(key);
        for (const Rule& rule : group.rules[flow.direction]) {
            const int stage = peer_stage(state, interface, rule, flow.peer);
            if (stage == 0 || !protocol_matches(rule, flow)) {
                continue;
            }
            result.accept = true;
            result.matching.push_back(rule.id);
            best = std::min(best, {stage, rule.id});
            any_rule_permits |= is_any(rule, flow.peer.family);
        }
        for (const Rule& rule : group.rules[1 - flow.direction]) {
            const bool all_ports =
                rule.protocol == kAllProtocols ||
                (rule.protocol == flow.protocol && rule.ports.first == 0 && rule.ports.last == 65535);
            way_back_is_open |= is_any(rule, flow.peer.family) && all_ports;
        }
    }
    std::sort(result.matching.begin(), result.matching.end());
    result.attributed = best.second;
    const bool may_be_untracked = flow.protocol == kTcp || flow.protocol == kUdp;
    result.tracked = result.accept && !(may_be_untracked && any_rule_permits && way_back_is_open);
    return result;
}

}  // namespace sgbpf::test
