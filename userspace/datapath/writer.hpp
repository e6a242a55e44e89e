// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Edits into policy maps and policy maps into rows. Knows the store order of sgbpf/abi/version.h and
// nothing of what the maps mean.
#pragma once

#include <cstddef>

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

// One element of an array, by 8-byte stores that the packet path may interleave with at any point. An
// element that begins with a struct sg_versioned (`versioned`): the tail first, then since and values
// when a change is announced, values and since when it is settled. Others: in ascending order.
void store_element(std::span<std::uint64_t> element, std::span<const std::byte> value, bool versioned);

// Whether values of a map begin with a struct sg_versioned.
constexpr bool begins_versioned(MapId id) {
    return id == MapId::kInterfaces || id == MapId::kPolicySlots;
}

}  // namespace sgbpf
