// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Text of addresses, prefixes and MACs. Hand-written rather than inet_pton: that accepts forms we must
// refuse or explain one by one, and prefix lists of a million lines pass through here.
#include <sgbpf/prefix.hpp>

#include "base/strings.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace sgbpf {

namespace {

Unexpected invalid(std::string message) {
    return unexpected(make_error(ErrorCode::kInvalid, std::move(message)));
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

// nullptr on success, else what is wrong.
const char* parse_ipv4(std::string_view text, std::uint8_t* bytes) {
    std::size_t at = 0;
    for (int octet = 0; octet < 4; ++octet) {
        if (octet > 0) {
            if (at >= text.size() || text[at] != '.') {
                return "is not an IPv4 address: it needs four numbers";
            }
            ++at;
        }
        const std::size_t start = at;
        unsigned value = 0;
        while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - start < 4) {
            value = value * 10 + static_cast<unsigned>(text[at] - '0');
            ++at;
        }
        if (at == start) {
            return "is not an IPv4 address: it needs four numbers";
        }
        if (at - start > 1 && text[start] == '0') {
            return "has a leading zero, which some programs read as octal; write the number without it";
        }
        if (value > 255) {
            return "has a number above 255";
        }
        bytes[octet] = static_cast<std::uint8_t>(value);
    }
    return at == text.size() ? nullptr : "is not an IPv4 address: it goes on after the fourth number";
}

// RFC 4291 section 2.2, all three forms.
const char* parse_ipv6(std::string_view text, std::uint8_t* bytes) {
    if (text.find('%') != std::string_view::npos) {
        return "has a zone; write the address alone";
    }
    constexpr const char* kBroken = "is not an IPv6 address";
    std::uint8_t parsed[16] = {};
    int used = 0;  // bytes filled
    int gap = -1;  // byte at which "::" stood
    std::size_t at = 0;
    if (text.starts_with("::")) {
        gap = 0;
        at = 2;
    }
    while (at < text.size()) {
        if (used >= 16) {
            return "is not an IPv6 address: it has more than eight groups";
        }
        const std::size_t start = at;
        unsigned value = 0;
        while (at < text.size() && hex_digit(text[at]) >= 0) {
            value = value * 16 + static_cast<unsigned>(hex_digit(text[at]));
            if (++at - start > 4) {
                return "is not an IPv6 address: a group has more than four digits";
            }
        }
        if (at < text.size() && text[at] == '.') {
            if (used > 12) {
                return kBroken;
            }
            if (const char* wrong = parse_ipv4(text.substr(start), parsed + used)) {
                return wrong;
            }
            used += 4;
            at = text.size();
            break;
        }
        if (at == start) {
            return kBroken;
        }
        parsed[used++] = static_cast<std::uint8_t>(value >> 8);
        parsed[used++] = static_cast<std::uint8_t>(value & 0xff);
        if (at == text.size()) {
            break;
        }
        if (text[at] != ':') {
            return kBroken;
        }
        ++at;
        if (at < text.size() && text[at] == ':') {
            if (gap >= 0) {
                return "is not an IPv6 address: it has :: twice";
            }
            gap = used;
            ++at;
        } else if (at == text.size()) {
            return "is not an IPv6 address: it ends in a single colon";
        }
    }
    if (gap < 0 ? used != 16 : used > 14) {
        return "is not an IPv6 address: it does not have eight groups";
    }
    std::fill_n(bytes, 16, std::uint8_t{0});
    if (gap < 0) {
        gap = used;
    }
    std::copy_n(parsed, gap, bytes);
    std::copy(parsed + gap, parsed + used, bytes + 16 - (used - gap));
    return nullptr;
}

void clear_host_bits(Address& address, unsigned length) {
    const unsigned bytes = address_bits(address.family) / 8;
    for (unsigned i = 0; i < bytes; ++i) {
        const unsigned first_bit = i * 8;
        if (first_bit >= length) {
            address.bytes[i] = 0;
        } else if (length - first_bit < 8) {
            address.bytes[i] = static_cast<std::uint8_t>(address.bytes[i] & (0xff00U >> (length - first_bit)));
        }
    }
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
    Address address;
    const bool colon = text.find(':') != std::string_view::npos;
    address.family = colon ? Family::kIpv6 : Family::kIpv4;
    const bool digits = !text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos;
    if (!colon && !digits) {
        return invalid(fmt::format("\"{}\" is not an IP address", printable(text)));
    }
    const char* wrong = colon ? parse_ipv6(text, address.bytes.data()) : parse_ipv4(text, address.bytes.data());
    if (wrong != nullptr) {
        return invalid(fmt::format("\"{}\" {}", printable(text), wrong));
    }
    return address;
}

std::string Address::to_string() const {
    if (family == Family::kIpv4) {
        return fmt::format("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    std::array<unsigned, 8> groups{};
    for (std::size_t i = 0; i < 8; ++i) {
        groups[i] = (static_cast<unsigned>(bytes[2 * i]) << 8) | bytes[2 * i + 1];
    }
    // RFC 5952 section 5: mixed notation for the one well-known prefix that holds IPv4 addresses for sure.
    const bool mapped = std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; }) &&
                        bytes[10] == 0xff && bytes[11] == 0xff;
    if (mapped) {
        return fmt::format("::ffff:{}.{}.{}.{}", bytes[12], bytes[13], bytes[14], bytes[15]);
    }
    // RFC 5952 section 4.2: the longest run of at least two zero groups, the first of equals.
    std::size_t run_start = 8;
    std::size_t run_length = 1;
    for (std::size_t i = 0; i < 8;) {
        std::size_t end = i;
        while (end < 8 && groups[end] == 0) {
            ++end;
        }
        if (end - i > run_length) {
            run_start = i;
            run_length = end - i;
        }
        i = std::max(end, i + 1);
    }
    std::string text;
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == run_start) {
            text += "::";
            i += run_length - 1;
            continue;
        }
        if (!text.empty() && text.back() != ':') {
            text += ':';
        }
        text += fmt::format("{:x}", groups[i]);
    }
    return text;
}

Prefix Prefix::host(const Address& address) {
    return Prefix{address, static_cast<std::uint8_t>(address_bits(address.family))};
}

Prefix Prefix::make(const Address& address, unsigned length) {
    assert(length <= address_bits(address.family));
    Prefix prefix{address, static_cast<std::uint8_t>(length)};
    clear_host_bits(prefix.address, length);
    return prefix;
}

Result<Prefix::Parsed> Prefix::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    auto address = Address::parse(text.substr(0, slash));
    if (!address) {
        return unexpected(std::move(address).error());
    }
    const unsigned bits = address_bits(address->family);
    if (slash == std::string_view::npos) {
        return invalid(fmt::format("\"{0}\" has no prefix length; write {0}/{1} for this one address", text, bits));
    }
    const std::string_view length_text = text.substr(slash + 1);
    const auto length = parse_decimal(length_text);
    if (!length) {
        const bool mask = length_text.find('.') != std::string_view::npos;
        return invalid(fmt::format("\"{}\" has no valid prefix length; write a number from 0 to {} after the slash{}",
                                   printable(text), bits, mask ? ", not a netmask" : ""));
    }
    if (*length > bits) {
        return invalid(fmt::format("\"{}\": prefix length {} exceeds {}", printable(text), *length, bits));
    }
    Parsed parsed;
    parsed.prefix = make(*address, static_cast<unsigned>(*length));
    parsed.host_bits_cleared = parsed.prefix.address != *address;
    return parsed;
}

bool Prefix::contains(const Address& other) const {
    if (other.family != address.family) {
        return false;
    }
    return make(other, length).address == address;
}

bool Prefix::contains(const Prefix& other) const {
    return other.length >= length && contains(other.address);
}

std::string Prefix::to_string() const {
    return fmt::format("{}/{}", address.to_string(), length);
}

Result<MacAddress> MacAddress::parse(std::string_view text) {
    MacAddress mac;
    bool good = text.size() == 17;
    for (std::size_t i = 0; good && i < 6; ++i) {
        const int high = hex_digit(text[3 * i]);
        const int low = hex_digit(text[3 * i + 1]);
        good = high >= 0 && low >= 0 && (i == 5 || text[3 * i + 2] == ':');
        mac.bytes[i] = static_cast<std::uint8_t>((high << 4) | low);
    }
    if (!good) {
        return invalid(fmt::format("\"{}\" is not a MAC address; write it as \"52:54:00:12:34:56\"", printable(text)));
    }
    return mac;
}

std::string MacAddress::to_string() const {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                       bytes[5]);
}

}  // namespace sgbpf
