// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Small conversions between model values and ABI structs. Inline: they sit in loops over every row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/policy.h>
#include <sgbpf/prefix.hpp>

#include "image/image.hpp"

namespace sgbpf {

constexpr sg_versioned settled(std::uint32_t value) {
    return {(std::uint64_t{value} << 32) | value, 0};
}
constexpr sg_versioned unsettled(std::uint32_t before, std::uint32_t after, std::uint64_t since) {
    return {(std::uint64_t{after} << 32) | before, since};
}
constexpr std::uint32_t value_at(const sg_versioned& value, std::uint64_t generation) {
    return static_cast<std::uint32_t>(generation >= value.since ? value.values >> 32 : value.values);
}

inline sg_prefix4 key4(std::uint32_t scope, const Prefix& prefix) {
    sg_prefix4 key{SG_SCOPE_BITS + std::uint32_t{prefix.length}, scope, {}};
    std::memcpy(key.address, prefix.address.bytes.data(), sizeof(key.address));
    return key;
}
inline sg_prefix6 key6(std::uint32_t scope, const Prefix& prefix) {
    sg_prefix6 key{SG_SCOPE_BITS + std::uint32_t{prefix.length}, scope, {}};
    std::memcpy(key.address, prefix.address.bytes.data(), sizeof(key.address));
    return key;
}
inline Prefix prefix_of(const sg_prefix4& key) {
    Prefix prefix;
    prefix.length = static_cast<std::uint8_t>(key.prefix_bits - SG_SCOPE_BITS);
    std::memcpy(prefix.address.bytes.data(), key.address, sizeof(key.address));
    return prefix;
}
inline Prefix prefix_of(const sg_prefix6& key) {
    Prefix prefix;
    prefix.address.family = Family::kIpv6;
    prefix.length = static_cast<std::uint8_t>(key.prefix_bits - SG_SCOPE_BITS);
    std::memcpy(prefix.address.bytes.data(), key.address, sizeof(key.address));
    return prefix;
}

// An address as two numbers, most significant bit first: what tries sort and compare.
struct AddressBits {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    auto operator<=>(const AddressBits&) const = default;
};
inline AddressBits address_bits_of(const Address& address) {
    AddressBits bits;
    std::memcpy(&bits.high, address.bytes.data(), sizeof(bits.high));
    std::memcpy(&bits.low, address.bytes.data() + sizeof(bits.high), sizeof(bits.low));
    return {__builtin_bswap64(bits.high), __builtin_bswap64(bits.low)};
}
inline bool covers(const AddressBits& outer, unsigned outer_length, const AddressBits& inner, unsigned inner_length) {
    if (outer_length > inner_length) {
        return false;
    }
    if (outer_length == 0) {
        return true;
    }
    if (outer_length <= 64) {
        return (outer.high ^ inner.high) >> (64 - outer_length) == 0;
    }
    return outer.high == inner.high && (outer.low ^ inner.low) >> (128 - outer_length) == 0;
}
// Same family assumed.
inline bool covers(const Prefix& outer, const Prefix& inner) {
    return covers(address_bits_of(outer.address), outer.length, address_bits_of(inner.address), inner.length);
}

inline sg_interface interface_record(const InterfaceImage& image) {
    sg_interface record{};
    record.current = settled(image.copy);
    std::memcpy(record.id, image.id.data(), sizeof(record.id));
    record.live = 1;
    record.config[image.copy] = image.config;
    return record;
}

inline constexpr std::array kListMaps = {MapId::kLists4, MapId::kLists6};
inline constexpr std::array kMemberMaps = {MapId::kMembers4, MapId::kMembers6};
inline constexpr std::array kLocalMaps = {MapId::kLocals4, MapId::kLocals6};

// The rows of sg_locals4/6 that are an interface's own, sorted like those of a set table.
template <typename F> void for_each_local_row(const InterfaceImage& image, F&& f) {
    for (const Prefix& prefix : image.locals) {
        f(SetRow{image.slot, prefix, 1});
    }
    for (const Prefix& prefix : image.tracked_peers) {
        f(SetRow{SG_SCOPE_ALWAYS_TRACK(image.slot), prefix, 1});
    }
}

// Calls f.operator()<map>(key) for a row of a set table, with the map and key type of its family.
template <MapId map4, MapId map6, typename F> void with_key(std::uint32_t scope, const Prefix& prefix, F&& f) {
    if (prefix.address.family == Family::kIpv4) {
        f.template operator()<map4>(key4(scope, prefix));
    } else {
        f.template operator()<map6>(key6(scope, prefix));
    }
}

// Fingerprints of parts, computed when a part is built.
ContentSum sum_of(const InterfaceImage& image);
ContentSum sum_of(const ClassBlock& block);
ContentSum sum_of(const PolicyImage& policy);  // policy.block.sum must be set
ContentSum sum_of(const PolicyRows& rows, std::uint32_t policy);
ContentSum sum_of(const IntervalRun& run);
ContentSum sum_of(const SetTable& table, SetKind kind);
ContentSum sum_of_services(const SetTable& table);
ContentSum sum_of(const MapImage& image);  // from the sums of its parts

}  // namespace sgbpf
