// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/vectors.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace sgbpf::test {

namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "vectors: %s\n", what.c_str());
    std::abort();
}

Prefix prefix(const std::string& text) {
    auto parsed = Prefix::parse(text);
    if (!parsed) {
        fail(parsed.error().message);
    }
    return parsed->prefix;
}

Prefix host(const std::string& text) {
    auto address = Address::parse(text);
    if (!address) {
        fail(address.error().message);
    }
    return Prefix::host(*address);
}

std::string group_key(const json& file, const std::string& alias) {
    return file.at("groups").at(alias).at("vpc").get<std::string>() + "/" + alias;
}

Protocol protocol_number(const std::string& name) {
    if (name == "tcp") {
        return kTcp;
    }
    if (name == "udp") {
        return kUdp;
    }
    if (name == "icmp") {
        return kIcmp;
    }
    if (name == "icmpv6") {
        return kIcmpv6;
    }
    return std::stoi(name);
}

Rule rule(const json& file, const json& from) {
    Rule rule;
    rule.id = from.at("id");
    rule.protocol = protocol_number(from.at("protocol"));
    if (rule.protocol == kTcp || rule.protocol == kUdp) {
        rule.ports = {from.at("from").get<std::uint16_t>(), from.at("to").get<std::uint16_t>()};
    } else if (rule.protocol == kIcmp || rule.protocol == kIcmpv6) {
        rule.icmp = {from.at("from").get<int>(), from.at("to").get<int>()};
    }
    const json& peer = from.at("peer");
    if (peer.contains("cidr_v4")) {
        rule.peer = prefix(peer["cidr_v4"]);
    } else if (peer.contains("cidr_v6")) {
        rule.peer = prefix(peer["cidr_v6"]);
    } else if (peer.contains("prefix_list")) {
        rule.peer = PrefixListRef{peer["prefix_list"]};
    } else {
        rule.peer = GroupRef{group_key(file, peer.at("group"))};
    }
    rule.description = from.value("description", "");
    return rule;
}

std::vector<PrefixListEntry> list_version(const json& list, const std::string& version) {
    std::vector<PrefixListEntry> entries;
    for (const json& entry : list.at("versions").at(version)) {
        entries.push_back({prefix(entry), ""});
    }
    return entries;
}

// The packet that an ICMP error is about, from its IP header on.
Bytes quoted(const json& packet) {
    const Bytes frame = vector_frame(packet);
    return {frame.begin() + 14, frame.end()};
}

Bytes transport(const json& packet, Frame frame, int protocol) {
    const std::uint16_t from = packet.value("src_port", std::uint16_t{0});
    const std::uint16_t to = packet.value("dst_port", std::uint16_t{0});
    switch (protocol) {
        case kTcp: {
            std::uint8_t flags = 0;
            for (const json& name : packet.value("tcp_flags", json::array())) {
                flags = static_cast<std::uint8_t>(flags | (name == "SYN"   ? kSyn
                                                           : name == "ACK" ? kAck
                                                           : name == "FIN" ? kFin
                                                           : name == "RST" ? kRst
                                                                           : kPsh));
            }
            return std::move(frame) / Tcp{.from = from, .to = to, .flags = flags} / Raw{Bytes(8)};
        }
        case kUdp:
            return std::move(frame) / Udp{.from = from, .to = to} / Raw{Bytes(24)};
        case kIcmp:
        case kIcmpv6:
            return std::move(frame) /
                   Icmp{.type = packet.at("icmp_type").get<std::uint8_t>(),
                        .code = packet.at("icmp_code").get<std::uint8_t>(),
                        .id = packet.value("icmp_id", std::uint16_t{0})} /
                   Raw{packet.contains("quoted") ? quoted(packet["quoted"]) : Bytes(24)};
        default: {
            Bytes body(32);
            body[0] = static_cast<std::uint8_t>(from >> 8);
            body[1] = static_cast<std::uint8_t>(from);
            body[2] = static_cast<std::uint8_t>(to >> 8);
            body[3] = static_cast<std::uint8_t>(to);
            return std::move(frame) / Raw{body, static_cast<std::uint8_t>(protocol)};
        }
    }
}

}  // namespace

const json& vector_file() {
    static const json file = [] {
        const char* path = std::getenv("SGBPF_VECTORS");
        std::ifstream stream(path != nullptr ? path : SGBPF_TEST_DATA "/vectors.json");
        json parsed = json::parse(stream, nullptr, false);
        if (parsed.is_discarded()) {
            fail("cannot read the vectors; set SGBPF_VECTORS");
        }
        return parsed;
    }();
    return file;
}

State vector_state(const json& file) {
    State state;
    for (const auto& [alias, from] : file.at("vpcs").items()) {
        Vpc vpc{.name = alias, .id = from.at("id"), .cidrs = {}};
        for (const char* key : {"cidr_v4", "cidr_v6"}) {
            for (const json& cidr : from.at(key)) {
                vpc.cidrs.push_back(prefix(cidr));
            }
        }
        state.vpcs[alias] = vpc;
    }
    for (const auto& [alias, from] : file.at("peerings").items()) {
        state.peerings[alias] =
            Peering{alias, from.at("id"), {from.at("vpcs")[0], from.at("vpcs")[1]}, from.at("status")};
    }
    for (const auto& [alias, from] : file.at("prefix_lists").items()) {
        PrefixList list;
        list.name = alias;
        list.id = from.at("id");
        list.family = from.at("family") == "IPv4" ? Family::kIpv4 : Family::kIpv6;
        list.max_entries = from.at("max_entries");
        list.entries = list_version(from, std::to_string(from.at("version").get<int>()));
        state.prefix_lists[alias] = list;
    }
    for (const auto& [alias, from] : file.at("groups").items()) {
        Group group;
        group.key = group_key(file, alias);
        group.id = from.at("id");
        group.name = from.at("name");
        group.vpc = from.at("vpc");
        group.description = from.at("description");
        group.is_default = from.value("default", false);
        for (const json& one : from.at("ingress")) {
            group.rules[SG_IN].push_back(rule(file, one));
        }
        for (const json& one : from.at("egress")) {
            group.rules[SG_OUT].push_back(rule(file, one));
        }
        state.groups[group.key] = group;
    }
    const json& timers = file.at("config").at("timers");
    for (const auto& [alias, from] : file.at("interfaces").items()) {
        Interface interface;
        interface.name = alias;
        interface.id = from.at("id");
        interface.vpc = from.at("vpc");
        interface.source_dest_check = from.at("source_dest_check");
        for (const char* key : {"private_v4", "v6"}) {
            for (const json& address : from.at(key)) {
                interface.addresses.push_back(host(address));
            }
        }
        for (const json& group : from.at("groups")) {
            interface.groups.push_back(group_key(file, group));
        }
        std::sort(interface.groups.begin(), interface.groups.end());
        interface.timeouts = {timers.at("tcp_established"), timers.at("udp"), timers.at("udp_stream")};
        state.interfaces[alias] = interface;
    }
    return state;
}

HostPolicy vector_host(const json& file) {
    HostPolicy policy;
    for (const json& from : file.at("config").at("unfiltered")) {
        if (!from.contains("port")) {
            continue;  // ARP, neighbour discovery: always there
        }
        policy.services.push_back({"*", prefix(from.at("cidr")), protocol_number(from.at("protocol")),
                                   from.at("port").get<std::uint16_t>(), true, true, from.value("what", "")});
    }
    return policy;
}

bool apply_action(State& state, const json& file, const json& action) {
    const std::string op = action.at("op");
    if (op == "remove_rule") {
        for (auto& rules : state.groups.at(group_key(file, action.at("group"))).rules) {
            std::erase_if(rules, [&](const Rule& one) { return one.id == action.at("rule"); });
        }
        return true;
    }
    if (op == "add_rule") {
        const unsigned direction = action.at("direction") == "ingress" ? SG_IN : SG_OUT;
        state.groups.at(group_key(file, action.at("group"))).rules[direction].push_back(rule(file, action.at("rule")));
        return true;
    }
    if (op == "set_groups") {
        auto& groups = state.interfaces.at(action.at("interface")).groups;
        groups.clear();
        for (const json& group : action.at("groups")) {
            groups.push_back(group_key(file, group));
        }
        std::sort(groups.begin(), groups.end());
        return true;
    }
    if (op == "set_prefix_list_version") {
        const std::string name = action.at("list");
        state.prefix_lists.at(name).entries =
            list_version(file.at("prefix_lists").at(name), std::to_string(action.at("version").get<int>()));
        return true;
    }
    if (op == "set_peering") {
        state.peerings.at(action.at("peering")).status = action.at("status");
        return true;
    }
    if (op == "set_timer") {
        for (auto& [name, interface] : state.interfaces) {
            const json& set = action.at("set");
            interface.timeouts.tcp_established = set.value("tcp_established", interface.timeouts.tcp_established);
            interface.timeouts.udp = set.value("udp", interface.timeouts.udp);
            interface.timeouts.udp_stream = set.value("udp_stream", interface.timeouts.udp_stream);
        }
        return true;
    }
    if (op == "set_config" && action.at("set").contains("allow_related_icmp")) {
        for (auto& [name, interface] : state.interfaces) {
            interface.tracking.related_icmp = action.at("set").at("allow_related_icmp").get<bool>();
        }
        return true;
    }
    if (op == "set_config" && action.at("set").contains("tracking_limit_per_interface")) {
        const std::uint32_t limit = action.at("set").at("tracking_limit_per_interface");
        for (auto& [name, interface] : state.interfaces) {
            interface.tracking.max_flows = limit;
            interface.tracking.max_opening = limit + 1;  // unanswered or not is not what the vectors ask
        }
        return true;
    }
    return false;
}

Bytes vector_frame(const json& packet) {
    if (packet.contains("ethertype")) {
        return Ethernet{} / Arp{};
    }
    const std::string source = packet.at("src");
    const std::string destination = packet.at("dst");
    const int protocol = packet.at("protocol");
    const bool ipv6 = source.find(':') != std::string::npos;
    // Neighbour discovery is sent with hop limit 255 (RFC 4861 7.1).
    const std::uint8_t hop_limit = protocol == kIcmpv6 && packet.value("icmp_type", 0) >= 133 ? 255 : 64;
    if (packet.contains("fragment")) {
        const json& fragment = packet["fragment"];
        const Ipv4 ip{.source = source,
                      .destination = destination,
                      .protocol = static_cast<std::uint8_t>(protocol),
                      .id = fragment.at("id").get<std::uint16_t>(),
                      .fragment_offset = fragment.at("offset").get<std::uint16_t>(),
                      .more = fragment.at("more").get<bool>()};
        if (fragment.at("offset") != 0) {
            return Ethernet{} / ip / Raw{Bytes(64)};
        }
        if (fragment.value("short", false)) {
            return Ethernet{} / ip / Raw{Bytes(4)};
        }
        return transport(packet, Ethernet{} / ip, protocol);
    }
    Frame frame = ipv6 ? Ethernet{} / Ipv6{.source = source, .destination = destination, .hop_limit = hop_limit}
                       : Ethernet{} / Ipv4{.source = source, .destination = destination};
    return transport(packet, std::move(frame), protocol);
}

}  // namespace sgbpf::test
