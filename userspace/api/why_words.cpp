// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/why_words.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bpf/packet.h"
#include "frame/names.hpp"
#include "model/protocols.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

constexpr std::size_t kMostItems = 8;

const char* direction_word(unsigned direction) {
    return direction == SG_IN ? "inbound" : "outbound";
}

// The specification's short word for both families where the family is plain from the packet.
const char* any_text(std::uint8_t family) {
    return family == SG_IPV6 ? "::/0" : "0/0";
}

template <typename F> void for_each_rule(const WhyContext& why, unsigned direction, F&& f) {
    for (const std::string& key : why.interface.groups) {
        if (const auto group = why.state.groups.find(key); group != why.state.groups.end()) {
            for (const Rule& rule : group->second.rules[direction]) {
                f(rule);
            }
        }
    }
}

bool is_any_of(const Rule& rule, std::uint8_t family) {
    const auto* prefix = std::get_if<Prefix>(&rule.peer);
    return prefix != nullptr && prefix->is_any() && static_cast<std::uint8_t>(prefix->family()) == family;
}

// SG-5.11..5.17: which condition for not tracking does not hold.
std::string why_tracked(const WhyContext& why, unsigned stage) {
    const Protocol protocol = why.packet.key.protocol;
    const std::uint8_t family = why.packet.key.family;
    if (!has_ports(protocol)) {
        return is_icmp(protocol) ? fmt::format("{} always is (SG-5.7)", protocol_text(protocol))
                                 : fmt::format("protocol {} always is (SG-5.4)", protocol);
    }
    std::vector<std::string> reasons;
    if (stage != SG_STAGE_ANY) {
        reasons.push_back(fmt::format("its rule is not for {}", any_text(family)));
    }
    const unsigned opposite = why.packet.direction == SG_IN ? SG_OUT : SG_IN;
    bool some = false;
    bool whole = false;
    for_each_rule(why, opposite, [&](const Rule& rule) {
        if (is_any_of(rule, family) && (rule.protocol == kAllProtocols || rule.protocol == protocol)) {
            some = true;
            whole |= rule.protocol == kAllProtocols || (rule.ports.first == 0 && rule.ports.last == 65535);
        }
    });
    if (!some) {
        reasons.push_back(fmt::format("no {} {} rule", any_text(family), direction_word(opposite)));
    } else if (!whole) {
        reasons.push_back(fmt::format("no {} {} rule covers all {} ports", any_text(family), direction_word(opposite),
                                      protocol_text(protocol)));
    }
    if (reasons.empty()) {  // the rules alone would not have it tracked
        reasons.emplace_back("its interface tracks this flow whatever the rules (always_track, SG-5.19)");
    }
    return fmt::format("{}", fmt::join(reasons, ", "));
}

std::string why_no_opener(const PacketFields& packet) {
    if ((packet.flags & SG_PACKET_FRAGMENT_LATER) != 0) {
        return "a later fragment has no ports to track it by";
    }
    if (packet.key.protocol == kTcp) {
        return packet.tcp_flags == 0 || (packet.tcp_flags & SG_TCP_SYN) != 0
                   ? "only a SYN without other flags opens a TCP flow (SG-5.8)"
                   : "only a SYN opens a TCP flow (SG-5.8)";
    }
    return is_icmp(packet.key.protocol) ? "only an ICMP request opens a flow (SG-5.5)" : "it opens no flow";
}

// "tcp 22", "icmp echo-request", "protocol 47".
std::string asked_text(const RuleQuestion& question) {
    if (!question.value) {
        return fmt::format("{}{}", has_ports(question.protocol) || is_icmp(question.protocol) ? "" : "protocol ",
                           protocol_text(question.protocol));
    }
    return has_ports(question.protocol)
               ? fmt::format("{} {}", protocol_text(question.protocol), *question.value)
               : fmt::format("{} {}", protocol_text(question.protocol),
                             icmp_type_text(question.protocol, static_cast<std::uint8_t>(*question.value >> 8),
                                            static_cast<std::uint8_t>(*question.value)));
}

std::string listed(std::vector<std::string> items) {
    const std::size_t more = items.size() > kMostItems ? items.size() - kMostItems : 0;
    items.resize(items.size() - more);
    return fmt::format("{}{}", fmt::join(items, ", "), more == 0 ? "" : fmt::format(" and {} more", more));
}

// "tcp 1433", "3306", "udp 53": the protocol where it changes.
std::vector<std::string> services(const WhyContext& why) {
    // Ports by number; everything else in the order of its text.
    std::map<Protocol, std::set<std::pair<std::uint32_t, std::string>>> by_protocol;
    for_each_rule(why, why.packet.direction, [&](const Rule& rule) {
        const std::uint32_t first = has_ports(rule.protocol) ? rule.ports.first : 0;
        by_protocol[rule.protocol].emplace(first, ports_text(rule));
    });
    std::vector<std::string> items;
    for (const auto& [protocol, selectors] : by_protocol) {
        const bool numbered = protocol != kAllProtocols && !has_ports(protocol) && !is_icmp(protocol);
        std::string prefix = (numbered ? "protocol " : "") + protocol_text(protocol);
        for (const auto& [first, text] : selectors) {
            const char* between = prefix.empty() || text.empty() ? "" : " ";
            items.push_back(fmt::format("{}{}{}", prefix, between, text));
            prefix.clear();
        }
    }
    return items;
}

std::string owned(const Interface& interface) {
    std::vector<std::string> texts;
    for (const auto* list : {&interface.addresses, &interface.allowed_addresses}) {
        for (const Prefix& prefix : *list) {
            texts.push_back(address_text(prefix));
        }
    }
    return texts.empty() ? "no address" : listed(std::move(texts));
}

}  // namespace

std::string stage_name(unsigned stage) {
    switch (stage) {
        case SG_STAGE_ANY:
            return "any-peer";
        case SG_STAGE_CIDR:
            return "cidr";
        case SG_STAGE_LIST:
            return "prefix-list";
        case SG_STAGE_GROUP:
            return "group";
        default:
            return "";
    }
}

std::string tracking_name(unsigned tracking) {
    switch (tracking) {
        case SG_TRACKING_FLOW:
            return "tracked";
        case SG_TRACKING_OPENED:
        case SG_TRACKING_ADOPTED:
            return "would-be-tracked";
        case SG_TRACKING_NONE:
            return "";
        default:
            return "not-tracked";
    }
}

std::string tracking_words(const WhyContext& why, const sg_outcome& outcome) {
    switch (outcome.tracking) {
        case SG_TRACKING_OPENED:
            return why_tracked(why, outcome.stage);
        case SG_TRACKING_OPEN_RULES:
            return fmt::format("{} rules admit it and every answer (SG-5.11)", any_text(why.packet.key.family));
        case SG_TRACKING_NO_OPENER:
            return why_no_opener(why.packet);
        case SG_TRACKING_GROUP_TARGET:
            return "it goes to a multicast or broadcast address (SG-5.65)";
        case SG_TRACKING_ADOPTED:
            return "it opens nothing, but connections that run already are taken up now (attach --adopt)";
        case SG_TRACKING_AH:
            return "a rule about the authentication header admits it";
        default:
            return "";
    }
}

std::string admits_words(const WhyContext& why) {
    std::vector<std::string> names;
    for (const std::string& key : why.interface.groups) {
        const auto group = why.state.groups.find(key);
        names.push_back(group == why.state.groups.end() ? key : group->second.name);
    }
    const std::string groups = fmt::format("{}", fmt::join(names, ", "));
    const char* direction = direction_word(why.packet.direction);
    const std::vector<std::string> offered = services(why);
    if (offered.empty()) {
        return fmt::format("{} {} no {} rule", groups, names.size() == 1 ? "has" : "have", direction);
    }
    const RuleQuestion question = question_of(why.packet);
    std::vector<std::string> peers;
    for_each_rule(why, why.packet.direction, [&](const Rule& rule) {
        const RuleDistance far = distance(why.state, why.interface, rule, question);
        std::string peer = peer_text(rule.peer);
        if (!far.protocol && !far.port && std::find(peers.begin(), peers.end(), peer) == peers.end()) {
            peers.push_back(std::move(peer));
        }
    });
    const char* verb = names.size() == 1 ? "admits" : "admit";
    if (peers.empty()) {
        return fmt::format("{} of {} {} only {}", direction, groups, verb, listed(offered));
    }
    return fmt::format("{} of {} {} {} only {} {}", direction, groups, verb, asked_text(question),
                       why.packet.direction == SG_IN ? "from" : "to", listed(std::move(peers)));
}

std::string drop_words(const WhyContext& why, std::uint32_t reason) {
    const Interface& interface = why.interface;
    switch (reason) {
        case SG_REASON_SOURCE_DEST:
            return fmt::format(
                "{} {} is not an address of {}, which has {}", why.packet.direction == SG_IN ? "destination" : "source",
                key_address(why.packet.key.local, why.packet.key.family).to_string(), interface.name, owned(interface));
        case SG_REASON_NO_CAPACITY:
        case SG_REASON_OPENING_LIMIT:
            return fmt::format("{}; `sgbpf show counters {}` has the limits and what is left",
                               reason_words(reason).sentence, interface.name);
        case SG_REASON_TCP_FLAGS:
        case SG_REASON_TCP_WINDOW:
        case SG_REASON_TCP_NO_FLOW:
            return fmt::format("{}; tracking.mode normal of {} would not ask", reason_words(reason).sentence,
                               interface.name);
        case SG_REASON_QUARANTINE:
            return fmt::format("{} is quarantined; `sgbpf attach {}` ends that", interface.name, interface.name);
        case SG_REASON_EXEMPT_SENDER:
            return fmt::format("ARP, ND and DHCP of {} must come from {}{}", interface.name,
                               interface.mac ? interface.mac->to_string() + " and " : "", owned(interface));
        default:
            return std::string(reason_words(reason).sentence);
    }
}

}  // namespace sgbpf
