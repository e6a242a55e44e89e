// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/rule_json.hpp"

#include "model/text.hpp"

namespace sgbpf::cli {

namespace {

// SG-10 words: protocol by name for the four with names, else by number, "-1" for all.
std::string ec2_protocol(Protocol protocol) {
    switch (protocol) {
        case kTcp:
        case kUdp:
        case kIcmp:
        case kIcmpv6:
            return std::string(protocol_text(protocol));
        default:
            return std::to_string(protocol);
    }
}

Json tags_json(const std::map<std::string, std::string>& tags) {
    Json list = Json::array();
    for (const auto& [key, value] : tags) {
        list.push_back({{"Key", key}, {"Value", value}});
    }
    return list;
}

}  // namespace

Json rule_json(const RuleRow& row) {
    const Rule& rule = row.rule;
    Json json = {{"SecurityGroupRuleId", rule.id},
                 {"GroupId", row.group_id},
                 {"GroupName", row.group},
                 {"IsEgress", row.direction == SG_OUT},
                 {"IpProtocol", ec2_protocol(rule.protocol)}};
    // FromPort and ToPort: -1 where the protocol has none; ICMP type and code (SG-2.20).
    int from = -1;
    int to = -1;
    if (rule.protocol == kTcp || rule.protocol == kUdp) {
        from = rule.ports.first;
        to = rule.ports.last;
    } else if (rule.protocol == kIcmp || rule.protocol == kIcmpv6) {
        from = rule.icmp.type;
        to = rule.icmp.code;
    }
    json["FromPort"] = from;
    json["ToPort"] = to;
    if (const auto* prefix = std::get_if<Prefix>(&rule.peer)) {
        json[prefix->family() == Family::kIpv4 ? "CidrIpv4" : "CidrIpv6"] = prefix->to_string();
    } else if (std::holds_alternative<PrefixListRef>(rule.peer)) {
        json["PrefixListId"] = row.peer_id;
    } else {
        json["ReferencedGroupInfo"] = {{"GroupId", row.peer_id}};
    }
    if (!rule.description.empty()) {
        json["Description"] = rule.description;
    }
    json["Tags"] = tags_json(rule.tags);
    json["Packets"] = row.packets;
    json["Bytes"] = row.bytes;
    return json;
}

Json group_json(const State& state, const Group& group, std::size_t members) {
    const auto vpc = state.vpcs.find(group.vpc);
    return {{"GroupId", group.id},
            {"GroupName", group.name},
            {"VpcId", vpc == state.vpcs.end() ? "" : vpc->second.id},
            {"VpcName", group.vpc},
            {"Description", group.description},
            {"OwnerId", group.owner},
            {"InboundRules", group.rules[SG_IN].size()},
            {"OutboundRules", group.rules[SG_OUT].size()},
            {"Members", members},
            {"Tags", tags_json(group.tags)}};
}

Json interface_json(const State& state, const Interface& interface) {
    Json groups = Json::array();
    for (const std::string& key : interface.groups) {
        const auto group = state.groups.find(key);
        groups.push_back({{"GroupId", group == state.groups.end() ? "" : group->second.id}, {"GroupName", key}});
    }
    Json addresses = Json::array();
    for (const Prefix& prefix : interface.addresses) {
        addresses.push_back(address_text(prefix));
    }
    Json allowed = Json::array();
    for (const Prefix& prefix : interface.allowed_addresses) {
        allowed.push_back(prefix.to_string());
    }
    const auto vpc = state.vpcs.find(interface.vpc);
    return {{"NetworkInterfaceId", interface.id},
            {"Name", interface.name},
            {"VpcId", vpc == state.vpcs.end() ? "" : vpc->second.id},
            {"Role", role_text(interface.role)},
            {"Match", match_text(interface.match)},
            {"MacAddress", interface.mac ? interface.mac->to_string() : ""},
            {"Addresses", addresses},
            {"AllowedAddresses", allowed},
            {"Groups", groups},
            {"SourceDestCheck", interface.source_dest_check},
            {"ConnectionTrackingConfiguration",
             {{"TcpEstablishedTimeout", interface.timeouts.tcp_established},
              {"UdpTimeout", interface.timeouts.udp},
              {"UdpStreamTimeout", interface.timeouts.udp_stream}}}};
}

Json prefix_list_json(const PrefixList& list) {
    Json entries = Json::array();
    for (const PrefixListEntry& entry : list.entries) {
        entries.push_back({{"Cidr", entry.prefix.to_string()}, {"Description", entry.description}});
    }
    return {{"PrefixListId", list.id},
            {"PrefixListName", list.name},
            {"AddressFamily", list.family == Family::kIpv4 ? "IPv4" : "IPv6"},
            {"MaxEntries", list.max_entries},
            {"Entries", entries}};
}

}  // namespace sgbpf::cli
