// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Address and Prefix: values that are always valid once built. Bytes in wire order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include <sgbpf/abi/abi.h>
#include <sgbpf/result.hpp>

namespace sgbpf {

enum class Family : std::uint8_t { kIpv4 = SG_IPV4, kIpv6 = SG_IPV6 };

constexpr unsigned address_bits(Family family) {
    return family == Family::kIpv4 ? 32 : 128;
}

// An IPv4 address fills bytes[0..3]; the rest is zero.
struct Address {
    Family family = Family::kIpv4;
    std::array<std::uint8_t, 16> bytes{};

    auto operator<=>(const Address&) const = default;

    // Dotted quad without leading zeros ("010.0.0.1" is refused: readers disagree whether it is
    // octal), or RFC 4291 text without a zone.
    static Result<Address> parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;  // canonical: RFC 5952 for IPv6 (SG-2.28)
};

// A CIDR with host bits zero.
struct Prefix {
    Address address;
    std::uint8_t length = 0;  // bits

    auto operator<=>(const Prefix&) const = default;

    struct Parsed;
    // "ADDRESS/LENGTH". A bare address is refused with the cure "/32" or "/128" (SG-2.26). Host bits
    // are cleared and reported (SG-2.27).
    static Result<Parsed> parse(std::string_view text);
    static Prefix host(const Address& address);                   // /32 or /128
    static Prefix make(const Address& address, unsigned length);  // clears host bits; length <= address_bits

    [[nodiscard]] Family family() const { return address.family; }
    [[nodiscard]] bool is_any() const { return length == 0; }  // literal 0/0 of its family (SG-5.12)
    [[nodiscard]] bool contains(const Address& other) const;
    [[nodiscard]] bool contains(const Prefix& other) const;
    [[nodiscard]] std::string to_string() const;
};

struct Prefix::Parsed {
    Prefix prefix;
    bool host_bits_cleared = false;
};

// 48-bit MAC address, wire order.
struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    auto operator<=>(const MacAddress&) const = default;
    static Result<MacAddress> parse(std::string_view text);  // "52:54:00:12:34:56"
    [[nodiscard]] std::string to_string() const;
};

}  // namespace sgbpf
