// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/describe.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "bpf/parse.h"
#include "model/protocols.hpp"

namespace sgbpf {

namespace {

constexpr std::size_t kMaxWireBytes = 65593;  // Ethernet, a tag and the longest IP packet

struct Parsed {
    sg_packet packet{};
    sg_reason reason = SG_REASON_NONE;
};

Parsed parse(std::span<const std::byte> frame, unsigned direction) {
    const sg_frame view = {.data = reinterpret_cast<const __u8*>(frame.data()),
                           .length = static_cast<__u32>(frame.size()),
                           .gso = 0,
                           .tags = 0};
    Parsed parsed;
    parsed.reason = sg_parse_frame(&view, &parsed.packet, direction);
    return parsed;
}

// The programs refuse a frame that ends too early as a whole. People want to know what it was: it is parsed as if
// the rest were there, and believed as far as its bytes go. It is whole if only the capture cut it.
Parsed parse_cut(std::span<const std::byte> frame, unsigned direction, std::uint32_t wire_length) {
    const Parsed parsed = parse(frame, direction);
    if (parsed.reason != SG_REASON_TRUNCATED || frame.size() < SG_ETHERNET_BYTES) {
        return parsed;
    }
    const bool cut = wire_length > frame.size();
    std::vector<std::byte> whole(
        std::max(frame.size(), cut ? std::min<std::size_t>(wire_length, kMaxWireBytes) : kMaxWireBytes));
    std::copy(frame.begin(), frame.end(), whole.begin());
    Parsed guess = parse(whole, direction);
    sg_packet& packet = guess.packet;
    const std::size_t network = packet.key.family == SG_IPV6 ? SG_IPV6_BYTES : SG_IPV4_BYTES;
    if (packet.network_offset == 0 || packet.network_offset + network > frame.size()) {
        return parsed;
    }
    const std::size_t transport = packet.key.protocol == kTcp ? 14 : 8;  // up to the flags of TCP
    if (packet.transport_offset + transport > frame.size()) {
        packet.key.local_port = packet.key.remote_port = 0;
        packet.flags &= static_cast<__u8>(~SG_PACKET_QUERY);
        guess.reason = SG_REASON_TRUNCATED;
    } else if (!cut) {
        guess.reason = SG_REASON_TRUNCATED;
    }
    return guess;
}

bool has_addresses(const sg_flow_key& key) {
    const sg_flow_key none{};
    return std::memcmp(key.local, none.local, sizeof(key.local)) != 0 ||
           std::memcmp(key.remote, none.remote, sizeof(key.remote)) != 0;
}

std::string mac_text(const std::byte* bytes) {
    MacAddress mac;
    std::memcpy(mac.bytes.data(), bytes, mac.bytes.size());
    return mac.to_string();
}

// The programs could not read it as far as its addresses.
std::string without_addresses(std::uint32_t reason) {
    switch (reason) {
        case SG_REASON_NOT_IP:
            return "not ip";
        case SG_REASON_VLAN:
            return "vlan tags";
        case SG_REASON_BAD_HEADER:
            return "bad header";
        default:
            return "truncated";
    }
}

// RFC 826, for Ethernet and IPv4; else nothing.
std::string arp_text(std::span<const std::byte> arp) {
    constexpr std::size_t kBytes = 28;
    constexpr std::uint8_t kHead[] = {0, 1, 8, 0, 6, 4, 0};
    if (arp.size() < kBytes || std::memcmp(arp.data(), kHead, sizeof(kHead)) != 0) {
        return {};
    }
    Address sender;
    Address target;
    std::memcpy(sender.bytes.data(), &arp[14], 4);
    std::memcpy(target.bytes.data(), &arp[24], 4);
    const auto operation = static_cast<unsigned>(arp[7]);
    return fmt::format("arp {} > {}{}", sender.to_string(), target.to_string(),
                       operation == 1   ? std::string()
                       : operation == 2 ? std::string(" reply")
                                        : fmt::format(" operation {}", operation));
}

PacketFields fields_of(const Parsed& parsed, unsigned direction) {
    const sg_packet& packet = parsed.packet;
    return {.key = packet.key,
            .direction = direction,
            .tcp_flags = packet.tcp_flags,
            .icmp_type = packet.icmp_type,
            .icmp_code = packet.icmp_code,
            .flags = packet.flags,
            .reason = static_cast<std::uint32_t>(parsed.reason)};
}

}  // namespace

PacketFields fields_of(std::span<const std::byte> frame, unsigned direction, std::uint32_t wire_length) {
    return fields_of(parse_cut(frame, direction, wire_length), direction);
}

Address key_address(const __u8 (&bytes)[16], __u8 family) {
    Address address;
    address.family = family == SG_IPV6 ? Family::kIpv6 : Family::kIpv4;
    std::memcpy(address.bytes.data(), bytes, address.family == Family::kIpv6 ? 16 : 4);
    return address;
}

std::string describe(const PacketFields& packet) {
    const sg_flow_key& key = packet.key;
    if ((packet.flags & SG_PACKET_ARP) != 0) {
        return "arp";
    }
    if (!has_addresses(key)) {
        return without_addresses(packet.reason);
    }
    const bool in = packet.direction == SG_IN;
    const bool later = (packet.flags & SG_PACKET_FRAGMENT_LATER) != 0;
    const bool unread = packet.reason == SG_REASON_TRUNCATED || packet.reason == SG_REASON_FRAGMENT_TINY ||
                        packet.reason == SG_REASON_EXT_HEADERS || packet.reason == SG_REASON_BAD_HEADER;
    // Ports of 0 exist; where the header could not be read they would be a guess.
    const bool known_ports = !unread || key.local_port != 0 || key.remote_port != 0;
    const bool ports = has_ports(key.protocol) && !later && known_ports;
    const auto end = [&](bool local) {
        return endpoint_text(key_address(local ? key.local : key.remote, key.family),
                             ports ? std::optional(ntohs(local ? key.local_port : key.remote_port)) : std::nullopt);
    };
    const bool icmp = key.protocol == (key.family == SG_IPV6 ? kIcmpv6 : kIcmp);
    std::string_view name = is_icmp(key.protocol) && !icmp ? std::string_view() : protocol_name(key.protocol);
    if (packet.reason == SG_REASON_EXT_HEADERS) {
        name = "extension-headers";
    }
    std::string text;
    if (name.empty()) {
        fmt::format_to(std::back_inserter(text), "{} {} > {}", key.protocol, end(!in), end(in));
    } else {
        fmt::format_to(std::back_inserter(text), "{} {} > {}", name, end(!in), end(in));
    }
    if (later) {
        return text + " fragment";
    }
    if (key.protocol == kTcp && ports) {
        text += " " + tcp_flags_text(packet.tcp_flags);
    } else if (icmp && !unread) {
        text += " " + icmp_type_text(key.protocol, packet.icmp_type, packet.icmp_code);
        if ((packet.flags & SG_PACKET_QUERY) != 0) {
            fmt::format_to(std::back_inserter(text), " id {}", ntohs(key.local_port));
        }
    }
    if ((packet.flags & SG_PACKET_FRAGMENT_FIRST) != 0) {
        text += " first fragment";
    }
    return packet.reason == SG_REASON_TRUNCATED ? text + " truncated" : text;
}

std::string describe(std::span<const std::byte> frame, unsigned direction, std::uint32_t wire_length) {
    const Parsed parsed = parse_cut(frame, direction, wire_length);
    const sg_packet& packet = parsed.packet;
    if ((packet.flags & SG_PACKET_ARP) != 0 && parsed.reason == SG_REASON_NONE) {
        const std::string arp = arp_text(frame.subspan(packet.network_offset));
        return arp.empty() ? "arp" : arp;
    }
    if (parsed.reason == SG_REASON_NOT_IP) {
        const auto* type = &frame[packet.network_offset - std::size_t{2}];
        return fmt::format("ethertype 0x{:02x}{:02x} {} > {}", static_cast<unsigned>(type[0]),
                           static_cast<unsigned>(type[1]), mac_text(&frame[6]), mac_text(frame.data()));
    }
    return describe(fields_of(parsed, direction));
}

}  // namespace sgbpf
