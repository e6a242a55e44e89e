// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The policy maps by name: one row per map, from which sizes, limits and words are taken.
// bpf/maps.h defines the same maps for the kernel; tests/bpf compares the two.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/policy.h>
#include <sgbpf/state.hpp>

namespace sgbpf {

enum class MapKind : std::uint8_t { kArray, kHash, kLpm };

// X(Symbol, "kernel name", kind, key type, value type, Capacities member, "what one element is")
#define SGBPF_MAPS(X)                                                                                                  \
    X(Interfaces, "sg_interfaces", kArray, std::uint32_t, sg_interface, interfaces, "interfaces")                      \
    X(PolicySlots, "sg_policy_slots", kArray, std::uint32_t, sg_versioned, policy_slots, "policy slots")               \
    X(Policies, "sg_policies", kArray, std::uint32_t, sg_policy, policies, "policies")                                 \
    X(Cidr4, "sg_cidr4", kLpm, sg_prefix4, std::uint32_t, prefixes, "IPv4 prefixes")                                   \
    X(Cidr6, "sg_cidr6", kLpm, sg_prefix6, std::uint32_t, prefixes, "IPv6 prefixes")                                   \
    X(Lists4, "sg_lists4", kLpm, sg_prefix4, sg_versioned, list_prefixes, "IPv4 prefix-list entries")                  \
    X(Lists6, "sg_lists6", kLpm, sg_prefix6, sg_versioned, list_prefixes, "IPv6 prefix-list entries")                  \
    X(Members4, "sg_members4", kLpm, sg_prefix4, sg_versioned, members, "IPv4 group members")                          \
    X(Members6, "sg_members6", kLpm, sg_prefix6, sg_versioned, members, "IPv6 group members")                          \
    X(Locals4, "sg_locals4", kLpm, sg_prefix4, sg_versioned, local_prefixes, "IPv4 interface addresses")               \
    X(Locals6, "sg_locals6", kLpm, sg_prefix6, sg_versioned, local_prefixes, "IPv6 interface addresses")               \
    X(SetClasses, "sg_set_class", kHash, sg_set_key, std::uint32_t, set_classes, "grants to sets of lists or groups")  \
    X(Classes, "sg_classes", kArray, std::uint32_t, sg_class, classes, "rule classes")                                 \
    X(Intervals, "sg_intervals", kArray, std::uint32_t, sg_interval, intervals, "port intervals")                      \
    X(RuleRefs, "sg_rule_refs", kArray, std::uint32_t, sg_rule_ref, rule_refs, "rule references")                      \
    X(Rules, "sg_rules", kArray, std::uint32_t, sg_rule, rules, "rules")

enum class MapId : std::uint8_t {
#define SGBPF_MAP_ID(symbol, name, kind, key, value, capacity, words) k##symbol,
    SGBPF_MAPS(SGBPF_MAP_ID)
#undef SGBPF_MAP_ID
};

struct MapInfo {
    MapId id;
    std::string_view name;
    MapKind kind;
    std::size_t key_bytes;
    std::size_t value_bytes;
    std::uint32_t Capacities::* capacity;
    std::string_view words;
};

inline constexpr std::array kMaps = {
#define SGBPF_MAP_INFO(symbol, name, kind, key, value, capacity, words)                                                \
    MapInfo{MapId::k##symbol, name, MapKind::kind, sizeof(key), sizeof(value), &Capacities::capacity, words},
    SGBPF_MAPS(SGBPF_MAP_INFO)
#undef SGBPF_MAP_INFO
};

constexpr const MapInfo& map_info(MapId id) {
    return kMaps[static_cast<std::size_t>(id)];
}

// Key and value types of a map, at compile time.
template <MapId> struct MapTypes;
#define SGBPF_MAP_TYPES(symbol, name, kind, key, value, capacity, words)                                               \
    template <> struct MapTypes<MapId::k##symbol> {                                                                    \
        using Key = key;                                                                                               \
        using Value = value;                                                                                           \
    };
SGBPF_MAPS(SGBPF_MAP_TYPES)
#undef SGBPF_MAP_TYPES

}  // namespace sgbpf
