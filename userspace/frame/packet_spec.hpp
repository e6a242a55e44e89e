// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One packet as people write it: "tcp 192.0.2.7:40000 -> 10.0.1.10:443 S".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

inline constexpr std::uint16_t kDefaultSourcePort = 49152;  // first of the dynamic ports (RFC 6335)

// Fields that the protocol does not have keep their defaults, so that equal packets compare equal.
struct PacketSpec {
    enum class Kind : std::uint8_t { kIp, kArpRequest, kArpReply };
    Kind kind = Kind::kIp;
    Protocol protocol = 0;  // 0..255; 0 for ARP
    Address source;         // of the same family
    Address destination;
    std::uint16_t source_port = 0;  // tcp, udp
    std::uint16_t destination_port = 0;
    std::uint8_t tcp_flags = 0;  // as on the wire: FIN 0x01 SYN 0x02 RST 0x04 PSH 0x08 ACK 0x10 URG 0x20
    std::uint8_t icmp_type = 0;  // icmp in IPv4, icmpv6 in IPv6
    std::uint8_t icmp_code = 0;
    std::uint16_t icmp_id = 0;  // queries and their replies

    bool operator==(const PacketSpec&) const = default;
    [[nodiscard]] bool has_icmp() const {
        return protocol == (source.family == Family::kIpv6 ? kIcmpv6 : kIcmp) && kind == Kind::kIp;
    }
};

// PROTOCOL SOURCE[:PORT] -> DESTINATION[:PORT] and then
//   tcp            flags, letters of FSRPAUEC or "none"; S if left out
//   icmp, icmpv6   a name of the state file ("echo-request") or type N, [code N] [id N]; echo-request if left out
//   arp            request or reply; request if left out. SOURCE asks for, or answers, DESTINATION
// PROTOCOL is a name or a number; "->" may be ">", with or without blanks. IPv6 with a port is [ADDRESS]:PORT.
// The error is one sentence that names the word.
Result<PacketSpec> parse_packet(std::string_view text);
Result<PacketSpec> parse_packet(std::span<const std::string> words);  // the same, as words of a command line

// What parse_packet reads back as the same packet.
std::string to_text(const PacketSpec& packet);

// "192.0.2.7", "192.0.2.7:443", "[2001:db8::1]:443".
std::string endpoint_text(const Address& address, std::optional<std::uint16_t> port);
// "S", "SA", "none".
std::string tcp_flags_text(std::uint8_t flags);
// "echo-request", "destination-unreachable code 1", "type 42 code 0".
std::string icmp_type_text(Protocol protocol, std::uint8_t type, std::uint8_t code);
// Whether messages of this type carry an identifier: echo, timestamp and the like (SG-5.5).
bool icmp_has_id(Protocol protocol, std::uint8_t type);

}  // namespace sgbpf
