// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/protocols.hpp"

#include "base/strings.hpp"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace sgbpf {

namespace {

Unexpected invalid(std::string message) {
    return unexpected(make_error(ErrorCode::kInvalid, std::move(message)));
}

struct ProtocolName {
    std::string_view name;
    Protocol number;
};
constexpr ProtocolName kAccepted[] = {{"all", kAllProtocols}, {"-1", kAllProtocols}, {"tcp", kTcp},
                                      {"udp", kUdp},          {"icmp", kIcmp},       {"icmpv6", kIcmpv6}};
// Not accepted by name (SG-2.6), but people write them. Numbers: IANA "Protocol Numbers".
constexpr ProtocolName kOnlyNumbers[] = {{"sctp", 132}, {"gre", 47},   {"esp", 50},      {"ah", 51},
                                         {"ospf", 89},  {"igmp", 2},   {"ipip", 4},      {"udplite", 136},
                                         {"dccp", 33},  {"vrrp", 112}, {"pim", 103},     {"l2tp", 115},
                                         {"ipv6", 41},  {"icmp6", 58}, {"ipv6-icmp", 58}};

struct IcmpName {
    Protocol protocol;
    std::string_view name;
    IcmpSelector selector;
};
// IANA "ICMP Type Numbers" and "ICMPv6 type Numbers"; deprecated ones left out.
constexpr IcmpName kIcmpNames[] = {
    {kIcmp, "echo-reply", {0, -1}},
    {kIcmp, "destination-unreachable", {3, -1}},
    {kIcmp, "fragmentation-needed", {3, 4}},
    {kIcmp, "redirect", {5, -1}},
    {kIcmp, "echo-request", {8, -1}},
    {kIcmp, "router-advertisement", {9, -1}},
    {kIcmp, "router-solicitation", {10, -1}},
    {kIcmp, "time-exceeded", {11, -1}},
    {kIcmp, "parameter-problem", {12, -1}},
    {kIcmp, "timestamp-request", {13, -1}},
    {kIcmp, "timestamp-reply", {14, -1}},
    {kIcmpv6, "destination-unreachable", {1, -1}},
    {kIcmpv6, "packet-too-big", {2, -1}},
    {kIcmpv6, "time-exceeded", {3, -1}},
    {kIcmpv6, "parameter-problem", {4, -1}},
    {kIcmpv6, "echo-request", {128, -1}},
    {kIcmpv6, "echo-reply", {129, -1}},
    {kIcmpv6, "router-solicitation", {133, -1}},
    {kIcmpv6, "router-advertisement", {134, -1}},
    {kIcmpv6, "neighbor-solicitation", {135, -1}},
    {kIcmpv6, "neighbor-advertisement", {136, -1}},
    {kIcmpv6, "redirect", {137, -1}},
};

constexpr RuleType one_port(std::string_view name, Protocol protocol, std::uint16_t port) {
    return {name, protocol, {port, port}};
}
// Names and ports as in the EC2 console's list of rule types, spaces as '-'.
constexpr RuleType kTypes[] = {
    {"all", kAllProtocols, {}},
    {"all-tcp", kTcp, {}},
    {"all-udp", kUdp, {}},
    {"all-icmp", kIcmp, {}},
    {"all-icmpv6", kIcmpv6, {}},
    one_port("ssh", kTcp, 22),
    one_port("smtp", kTcp, 25),
    one_port("dns-udp", kUdp, 53),
    one_port("dns-tcp", kTcp, 53),
    one_port("http", kTcp, 80),
    one_port("pop3", kTcp, 110),
    one_port("imap", kTcp, 143),
    one_port("ldap", kTcp, 389),
    one_port("https", kTcp, 443),
    one_port("smb", kTcp, 445),
    one_port("smtps", kTcp, 465),
    one_port("imaps", kTcp, 993),
    one_port("pop3s", kTcp, 995),
    one_port("mssql", kTcp, 1433),
    one_port("oracle", kTcp, 1521),
    one_port("nfs", kTcp, 2049),
    one_port("mysql", kTcp, 3306),
    one_port("rdp", kTcp, 3389),
    one_port("redshift", kTcp, 5439),
    one_port("postgres", kTcp, 5432),
    one_port("winrm-http", kTcp, 5985),
    one_port("winrm-https", kTcp, 5986),
};

constexpr std::string_view kPortHelp = "write one port or FIRST-LAST, decimal, 0 to 65535";

}  // namespace

Result<Protocol> parse_protocol(std::string_view text) {
    const std::string lower = to_lower(text);
    for (const auto& [name, number] : kAccepted) {
        if (lower == name) {
            return number;
        }
    }
    if (const auto number = parse_decimal(text)) {
        if (*number > 255) {
            return invalid(fmt::format("{} exceeds 255, the highest protocol number", *number));
        }
        return static_cast<Protocol>(*number);
    }
    for (const auto& [name, number] : kOnlyNumbers) {
        if (lower == name) {
            return number == kIcmpv6
                       ? invalid(fmt::format("\"{}\" is not known; did you mean icmpv6?", printable(text)))
                       : invalid(fmt::format("\"{}\" is not accepted by name; write its number, {}", printable(text),
                                             number));
        }
    }
    const std::vector<std::string> names = {"all", "tcp", "udp", "icmp", "icmpv6"};
    const std::string close = did_you_mean(text, names);
    return invalid(
        fmt::format("\"{}\" is no protocol{}", printable(text),
                    close.empty() ? "; write tcp, udp, icmp, icmpv6, all or a number from 0 to 255" : close));
}

std::optional<Protocol> protocol_by_name(std::string_view name) {
    for (const auto& table : {std::span<const ProtocolName>(kAccepted), std::span<const ProtocolName>(kOnlyNumbers)}) {
        for (const ProtocolName& row : table) {
            if (row.number != kAllProtocols && row.name == name) {
                return row.number;
            }
        }
    }
    return std::nullopt;
}

std::string_view protocol_name(Protocol protocol) {
    for (const auto& table : {std::span<const ProtocolName>(kAccepted), std::span<const ProtocolName>(kOnlyNumbers)}) {
        for (const ProtocolName& row : table) {
            if (row.number != kAllProtocols && row.number == protocol) {
                return row.name;
            }
        }
    }
    return {};
}

std::vector<std::string> protocol_names() {
    std::vector<std::string> names;
    for (const auto& table : {std::span<const ProtocolName>(kAccepted), std::span<const ProtocolName>(kOnlyNumbers)}) {
        for (const ProtocolName& row : table) {
            if (row.number != kAllProtocols) {
                names.emplace_back(row.name);
            }
        }
    }
    return names;
}

Result<PortRange> parse_ports(std::string_view text) {
    if (text == "-1" || to_lower(text) == "all" || text == "*") {
        return invalid(fmt::format("\"{}\" is no port; write 0-65535 for all ports", text));
    }
    const std::size_t dash = text.find('-');
    const auto first = parse_decimal(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_decimal(text.substr(dash + 1));
    if (!first || !last) {
        return invalid(fmt::format("\"{}\" is no port; {}", printable(text), kPortHelp));
    }
    if (const auto high = std::max(*first, *last); high > 65535) {
        return invalid(fmt::format("{} exceeds 65535", high));
    }
    if (*first > *last) {
        return invalid(fmt::format("first port {0} is above last port {1}; did you mean {1}-{0}?", *first, *last));
    }
    return PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

std::optional<IcmpSelector> icmp_by_name(Protocol protocol, std::string_view name) {
    for (const IcmpName& row : kIcmpNames) {
        if (row.protocol == protocol && row.name == name) {
            return row.selector;
        }
    }
    return std::nullopt;
}

std::string_view icmp_name(Protocol protocol, const IcmpSelector& selector) {
    for (const IcmpName& row : kIcmpNames) {
        if (row.protocol == protocol && row.selector == selector) {
            return row.name;
        }
    }
    return {};
}

std::vector<std::string> icmp_names(Protocol protocol) {
    std::vector<std::string> names;
    for (const IcmpName& row : kIcmpNames) {
        if (row.protocol == protocol) {
            names.emplace_back(row.name);
        }
    }
    return names;
}

const RuleType* rule_type(std::string_view name) {
    const auto row =
        std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& type) { return type.name == name; });
    return row == std::end(kTypes) ? nullptr : row;
}

std::vector<std::string> rule_type_names() {
    std::vector<std::string> names;
    for (const RuleType& type : kTypes) {
        names.emplace_back(type.name);
    }
    return names;
}

}  // namespace sgbpf
