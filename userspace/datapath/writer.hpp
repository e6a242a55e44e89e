// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Edits into policy maps and policy maps into rows. Knows the store order of sgbpf/abi/version.h and
// nothing of what the maps mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "datapath/map.hpp"
#include "datapath/pins.hpp"
#include "image/edit_list.hpp"

namespace sgbpf {

// Performs edits [first, first + count) in order; runs of the same map and operation go by batches.
// An error names map and edit; what was written before it stays.
Result<void> write_edits(Tree& tree, const EditList& edits, std::size_t first, std::size_t count);

// All rows, except array elements that are all zero.
Result<RawMaps> read_policy_maps(Tree& tree);

// The words (8 bytes each) of an array element in the order in which they are stored; the packet path may
// read between any two. An element that begins with a struct sg_versioned (`versioned`): the tail first,
// then since and values when a change is announced, values and since when it is settled. Others: in
// ascending order. Precondition: value.size() is a multiple of 8, and at least 16 when versioned.
template <typename Store> void in_store_order(std::span<const std::byte> value, bool versioned, Store store) {
    const auto word = [&value](std::size_t i) {
        std::uint64_t content = 0;
        std::memcpy(&content, &value[i * 8], sizeof(content));
        return content;
    };
    constexpr std::size_t kValues = 0;
    constexpr std::size_t kSince = 1;
    for (std::size_t i = versioned ? 2 : 0; i < value.size() / 8; ++i) {
        store(i, word(i));
    }
    if (versioned) {
        const bool announced = word(kSince) != 0;
        const std::size_t before = announced ? kSince : kValues;
        const std::size_t after = announced ? kValues : kSince;
        store(before, word(before));
        store(after, word(after));
    }
}

// Whether values of a map begin with a struct sg_versioned.
constexpr bool begins_versioned(MapId id) {
    return id == MapId::kInterfaces || id == MapId::kPolicySlots;
}

}  // namespace sgbpf
