// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of protocols, ICMP types and rule types ("ssh"), once for reading and for printing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

// "-1", "all", tcp, udp, icmp, icmpv6 in any case, or a number 0..255 (SG-2.6). The error is a sentence
// without place: `"sctp" is not accepted by name; write its number, 132`.
Result<Protocol> parse_protocol(std::string_view text);

// Number of a protocol by any name that people write in lower case, also those that state files refuse
// ("gre"), and the name of a number; empty if there is none. For packets, not for rules.
std::optional<Protocol> protocol_by_name(std::string_view name);
std::string_view protocol_name(Protocol protocol);
std::vector<std::string> protocol_names();

constexpr bool has_ports(Protocol protocol) {
    return protocol == kTcp || protocol == kUdp;
}
constexpr bool is_icmp(Protocol protocol) {
    return protocol == kIcmp || protocol == kIcmpv6;
}

// "443" or "8000-8100", decimal, 0..65535.
Result<PortRange> parse_ports(std::string_view text);

// "echo-request" ... of this protocol (IANA's names); empty if unknown.
std::optional<IcmpSelector> icmp_by_name(Protocol protocol, std::string_view name);
// The name of exactly this selector, or nothing.
std::string_view icmp_name(Protocol protocol, const IcmpSelector& selector);
std::vector<std::string> icmp_names(Protocol protocol);

// SG-14.1: what the console offers as "type".
struct RuleType {
    std::string_view name;
    Protocol protocol;
    PortRange ports;
};
const RuleType* rule_type(std::string_view name);
std::vector<std::string> rule_type_names();

}  // namespace sgbpf
