// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// From one image to the next as ordered edits (architecture: "Commit"), and what to do with the maps
// after a commit was interrupted. Pure: nothing is written here.
#pragma once

#include <cstdint>
#include <vector>

#include "image/edit_list.hpp"
#include "image/image.hpp"
#include "image/raw_maps.hpp"

namespace sgbpf {

// before: additions that nothing reaches at `from`. publish: values that change with the generation
// (since = to). after: settles them, removes tombstones, frees what nothing reaches at `to`.
struct CommitPlan {
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    EditList before;
    EditList publish;
    EditList after;
    bool single_write = false;  // `publish` is at most one edit, written settled: it takes effect at once
    // Slots that get another owner, in maps that have counted before: their counters start at zero.
    std::vector<std::uint32_t> new_rule_slots;
    std::vector<std::uint32_t> new_interface_slots;
    // Flows that interfaces have reserved: each the larger of old and new, and in the next image.
    std::uint64_t reserved_during = 0;
    std::uint64_t reserved_after = 0;
    Digest digest{};  // of the next image
    [[nodiscard]] std::size_t edits() const { return before.size() + publish.size() + after.size(); }
};

// `current` is what the maps hold at `generation`; the plan leads to `generation` + 1. The cost is that
// of the difference, plus a pass over slots and over changed set tables. `reversible`: until `after` is
// written, storing the old generation undoes the commit; there is no single_write then.
CommitPlan plan_commit(const MapImage& current, const MapImage& next, std::uint64_t generation,
                       bool reversible = false);

// What is in force at `generation`, whatever an interrupted commit left behind. Anonymous: see
// image.hpp. Rows of tombstones and unreachable numbers are not part of it.
MapImage image_from_maps(const RawMaps& maps, std::uint64_t generation);

// Makes the maps hold exactly `in_force`, settled, without changing a verdict at its generation at any
// moment. Wait for a grace period first: a packet may still be judged by the generation before.
EditList repair_edits(const RawMaps& maps, const MapImage& in_force);

// To write before repair_edits, with a grace period between: takes back what an interrupted commit
// announced in arrays, {b,X} -> {b,b} with `since` as it is. Settling {b,X} at once would let a packet
// that loaded {b,X} before and `since` = 0 after take X at the old generation.
EditList undo_edits(const RawMaps& maps, std::uint64_t generation);

}  // namespace sgbpf
