// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/build.hpp"

#include <algorithm>
#include <span>

#include "model/protocols.hpp"

namespace sgbpf {

namespace {

constexpr Protocol kAuthenticationHeader = 51;
constexpr std::uint8_t kNoNextHeader = 59;  // RFC 8200 4.7
constexpr std::uint8_t kAck = 0x10;

using Bytes = std::vector<std::uint8_t>;

void add16(Bytes& bytes, unsigned value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8));
    bytes.push_back(static_cast<std::uint8_t>(value));
}

void add32(Bytes& bytes, std::uint32_t value) {
    add16(bytes, value >> 16);
    add16(bytes, value & 0xffff);
}

void add(Bytes& bytes, std::span<const std::uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

std::span<const std::uint8_t> octets(const Address& address) {
    return std::span(address.bytes).first(address_bits(address.family) / 8);
}

void set16(Bytes& bytes, std::size_t at, unsigned value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

// RFC 1071: ones' complement sum, folded; `sum` carries on from an earlier part of even length.
std::uint32_t sum16(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i]) << 8 : bytes[i];
    }
    return sum;
}

unsigned checksum(std::uint32_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

// Of the upper layer, with the pseudo header (RFC 9293 3.1, RFC 8200 8.1).
unsigned upper_checksum(const PacketSpec& packet, const Bytes& upper) {
    std::uint32_t sum = sum16(octets(packet.source), sum16(octets(packet.destination)));
    sum += static_cast<std::uint32_t>(packet.protocol) + static_cast<std::uint32_t>(upper.size());
    return checksum(sum16(upper, sum));
}

bool is_neighbour_discovery(const PacketSpec& packet) {
    return packet.has_icmp() && packet.protocol == kIcmpv6 && packet.icmp_type >= 133 && packet.icmp_type <= 137;
}

Bytes tcp(const PacketSpec& packet, const TcpNumbers& numbers) {
    Bytes bytes;
    add16(bytes, packet.source_port);
    add16(bytes, packet.destination_port);
    add32(bytes, numbers.sequence);
    add32(bytes, (packet.tcp_flags & kAck) != 0 ? numbers.acknowledgement : 0);
    bytes.push_back(5 << 4);  // header: five words
    bytes.push_back(packet.tcp_flags);
    add16(bytes, 64240);  // window: what Linux offers first
    add(bytes, Bytes(4));
    set16(bytes, 16, upper_checksum(packet, bytes));
    return bytes;
}

Bytes udp(const PacketSpec& packet) {
    Bytes bytes;
    add16(bytes, packet.source_port);
    add16(bytes, packet.destination_port);
    add16(bytes, 8);
    add16(bytes, 0);
    const unsigned sum = upper_checksum(packet, bytes);
    set16(bytes, 6, sum == 0 ? 0xffff : sum);  // 0 would say: none (RFC 768)
    return bytes;
}

Bytes icmp(const PacketSpec& packet) {
    Bytes bytes = {packet.icmp_type, packet.icmp_code, 0, 0};
    if (is_neighbour_discovery(packet)) {
        add(bytes, Bytes(4));
        switch (packet.icmp_type) {
            case 134:  // RFC 4861 4.2: reachable time, retransmission timer
                add(bytes, Bytes(8));
                break;
            case 135:  // 4.3, 4.4: the target
            case 136:
                add(bytes, octets(packet.icmp_type == 135 ? packet.destination : packet.source));
                break;
            case 137:  // 4.5: target and destination
                add(bytes, octets(packet.source));
                add(bytes, octets(packet.destination));
                break;
            default:
                break;
        }
    } else {
        add16(bytes, packet.icmp_id);
        add16(bytes, icmp_has_id(packet.protocol, packet.icmp_type) ? 1 : 0);  // sequence
    }
    // ICMP has no pseudo header, ICMPv6 has (RFC 4443 2.3).
    set16(bytes, 2, packet.protocol == kIcmpv6 ? upper_checksum(packet, bytes) : checksum(sum16(bytes)));
    return bytes;
}

Bytes upper_layer(const PacketSpec& packet, const TcpNumbers& numbers) {
    if (packet.protocol == kTcp) {
        return tcp(packet, numbers);
    }
    if (packet.protocol == kUdp) {
        return udp(packet);
    }
    if (packet.has_icmp()) {
        return icmp(packet);
    }
    Bytes bytes(16);
    if (packet.protocol == kAuthenticationHeader) {
        bytes[0] = kNoNextHeader;
        bytes[1] = 2;  // RFC 4302 2.2: in 4-byte units, minus 2
    }
    return bytes;
}

Bytes ipv4_header(const PacketSpec& packet, std::size_t upper_bytes) {
    Bytes bytes = {0x45, 0};
    add16(bytes, static_cast<unsigned>(20 + upper_bytes));
    add(bytes, Bytes{0, 0, 0x40, 0});  // do not fragment
    bytes.push_back(64);
    bytes.push_back(static_cast<std::uint8_t>(packet.protocol));
    add16(bytes, 0);
    add(bytes, octets(packet.source));
    add(bytes, octets(packet.destination));
    set16(bytes, 10, checksum(sum16(bytes)));
    return bytes;
}

Bytes ipv6_header(const PacketSpec& packet, std::size_t upper_bytes) {
    Bytes bytes = {0x60, 0, 0, 0};
    add16(bytes, static_cast<unsigned>(upper_bytes));
    bytes.push_back(static_cast<std::uint8_t>(packet.protocol));
    bytes.push_back(is_neighbour_discovery(packet) ? 255 : 64);  // RFC 4861 6.1, 7.1
    add(bytes, octets(packet.source));
    add(bytes, octets(packet.destination));
    return bytes;
}

Bytes arp(const PacketSpec& packet, const MacAddress& source_mac, const MacAddress& destination_mac) {
    const bool reply = packet.kind == PacketSpec::Kind::kArpReply;
    Bytes bytes = {0, 1, 0x08, 0x00, 6, 4, 0, static_cast<std::uint8_t>(reply ? 2 : 1)};
    add(bytes, source_mac.bytes);
    add(bytes, octets(packet.source));
    add(bytes, reply ? destination_mac.bytes : MacAddress{}.bytes);
    add(bytes, octets(packet.destination));
    return bytes;
}

}  // namespace

std::vector<std::byte> build_frame(const PacketSpec& packet, const MacAddress& source_mac,
                                   const MacAddress& destination_mac, const TcpNumbers& numbers) {
    Bytes frame;
    add(frame, destination_mac.bytes);
    add(frame, source_mac.bytes);
    if (packet.kind != PacketSpec::Kind::kIp) {
        add16(frame, 0x0806);
        add(frame, arp(packet, source_mac, destination_mac));
    } else {
        const bool ipv6 = packet.source.family == Family::kIpv6;
        const Bytes upper = upper_layer(packet, numbers);
        add16(frame, ipv6 ? 0x86dd : 0x0800);
        add(frame, ipv6 ? ipv6_header(packet, upper.size()) : ipv4_header(packet, upper.size()));
        add(frame, upper);
    }
    std::vector<std::byte> bytes(frame.size());
    std::transform(frame.begin(), frame.end(), bytes.begin(), [](std::uint8_t b) { return std::byte{b}; });
    return bytes;
}

}  // namespace sgbpf
