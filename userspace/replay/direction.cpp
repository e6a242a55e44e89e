// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/direction.hpp"

#include <algorithm>
#include <cstring>

namespace sgbpf {

namespace {

constexpr std::size_t kMacBytes = 6;
constexpr std::size_t kMaxTags = 2;

struct Ends {
    Address source;
    Address destination;
};

unsigned number(std::span<const std::byte> bytes, std::size_t at) {
    return static_cast<unsigned>(bytes[at]) << 8 | static_cast<unsigned>(bytes[at + 1]);
}

// Addresses of IPv4, IPv6 and ARP. Reads less than the programs' parser wants to see: a capture may be cut.
std::optional<Ends> ends_of(std::span<const std::byte> frame) {
    std::size_t at = 2 * kMacBytes;
    unsigned type = 0;
    for (std::size_t tags = 0; tags <= kMaxTags && at + 2 <= frame.size(); ++tags, at += 4) {
        type = number(frame, at);
        if (type != 0x8100 && type != 0x88a8) {
            break;
        }
    }
    at += 2;
    const auto read = [&](Family family, std::size_t source, std::size_t destination) -> std::optional<Ends> {
        const std::size_t bytes = address_bits(family) / 8;
        if (at + destination + bytes > frame.size()) {
            return std::nullopt;
        }
        Ends ends;
        ends.source.family = ends.destination.family = family;
        std::memcpy(ends.source.bytes.data(), &frame[at + source], bytes);
        std::memcpy(ends.destination.bytes.data(), &frame[at + destination], bytes);
        return ends;
    };
    switch (type) {
        case 0x0800:
            return read(Family::kIpv4, 12, 16);
        case 0x86dd:
            return read(Family::kIpv6, 8, 24);
        case 0x0806:
            return read(Family::kIpv4, 14, 24);
        default:
            return std::nullopt;
    }
}

bool is_group_address(const Address& address) {
    constexpr std::uint8_t kBroadcast[] = {255, 255, 255, 255};
    return address.family == Family::kIpv6
               ? address.bytes[0] == 0xff
               : (address.bytes[0] & 0xf0) == 0xe0 || std::equal(kBroadcast, kBroadcast + 4, address.bytes.begin());
}

bool covers(const std::vector<Prefix>& prefixes, const Address& address) {
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& one) { return one.contains(address); });
}

// fe80:: made of the MAC (RFC 4291 appendix A).
bool is_own_link_local(const Address& address, const std::optional<MacAddress>& mac) {
    if (!mac || address.family != Family::kIpv6) {
        return false;
    }
    const auto& m = mac->bytes;
    const std::array<std::uint8_t, 16> own = {
        0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2), m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    return own == address.bytes;
}

std::optional<unsigned> from_to(bool source, bool destination) {
    if (source == destination) {
        return std::nullopt;
    }
    return source ? SG_OUT : SG_IN;
}

bool mac_is(std::span<const std::byte> frame, std::size_t at, const std::optional<MacAddress>& mac) {
    return mac && std::memcmp(&frame[at], mac->bytes.data(), kMacBytes) == 0;
}

}  // namespace

std::optional<unsigned> direction_by_ends(const CapturedPacket& packet, const Interface& interface) {
    const std::span<const std::byte> frame = packet.frame;
    if (frame.size() < 2 * kMacBytes) {
        return std::nullopt;
    }
    const auto ends = ends_of(frame);
    bool source_is_ours = false;
    if (ends) {
        const auto own = [&](const Address& address) {
            return covers(interface.addresses, address) || is_own_link_local(address, interface.mac);
        };
        if (const auto told = from_to(own(ends->source), own(ends->destination))) {
            return told;
        }
        source_is_ours = own(ends->source);
        if (const auto told = from_to(covers(interface.allowed_addresses, ends->source),
                                      covers(interface.allowed_addresses, ends->destination))) {
            return told;
        }
    }
    const bool from_mac = packet.source_mac_known && mac_is(frame, kMacBytes, interface.mac);
    const bool to_mac = packet.destination_mac_known && mac_is(frame, 0, interface.mac);
    if (const auto told = from_to(from_mac, to_mac)) {
        return told;
    }
    const bool to_group = (packet.destination_mac_known && (frame[0] & std::byte{1}) != std::byte{0}) ||
                          (ends && is_group_address(ends->destination));
    return to_group && !from_mac && !source_is_ours ? std::optional<unsigned>(SG_IN) : std::nullopt;
}

std::optional<unsigned> direction_by_flags(Seen seen, CapturedAt at) {
    if (seen == Seen::kUnknown) {
        return std::nullopt;
    }
    return (seen == Seen::kReceived) == (at == CapturedAt::kGuest) ? SG_IN : SG_OUT;
}

}  // namespace sgbpf
