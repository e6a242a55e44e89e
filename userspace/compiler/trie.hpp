// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Inheritance along prefixes: longest match returns one element only, so its value must already hold
// what all covering prefixes say (SG-13.7).
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "image/encode.hpp"
#include "image/image.hpp"

namespace sgbpf {

// One item (a rule's rank, a list, a group) at one prefix of one scope.
struct TrieEntry {
    std::uint32_t scope = 0;
    AddressBits bits;
    std::uint8_t length = 0;
    std::uint32_t item = 0;
    auto operator<=>(const TrieEntry&) const = default;
};
Prefix prefix_of(const TrieEntry& entry, Family family);

// Calls f(entry, items) for every distinct prefix: `items` ascending, of this and all covering prefixes.
// `entries` must be sorted and of one family.
template <typename F> void for_each_inherited(std::span<const TrieEntry> entries, F&& f) {
    struct Level {
        const TrieEntry* entry;
        std::vector<std::uint32_t> items;
    };
    std::vector<Level> stack;  // levels beyond `depth` are kept for their memory
    std::size_t depth = 0;
    std::vector<std::uint32_t> own;
    for (std::size_t i = 0; i < entries.size();) {
        const TrieEntry& entry = entries[i];
        own.clear();
        for (; i < entries.size() && entries[i].scope == entry.scope && entries[i].bits == entry.bits &&
               entries[i].length == entry.length;
             ++i) {
            if (own.empty() || own.back() != entries[i].item) {
                own.push_back(entries[i].item);
            }
        }
        while (depth > 0 &&
               (stack[depth - 1].entry->scope != entry.scope ||
                !covers(stack[depth - 1].entry->bits, stack[depth - 1].entry->length, entry.bits, entry.length))) {
            --depth;
        }
        if (stack.size() == depth) {
            stack.push_back({});
        }
        Level& level = stack[depth];
        level.entry = &entry;
        level.items.clear();
        if (depth == 0) {
            level.items = own;
        } else {
            const std::vector<std::uint32_t>& outer = stack[depth - 1].items;
            std::set_union(own.begin(), own.end(), outer.begin(), outer.end(), std::back_inserter(level.items));
        }
        ++depth;
        if (!f(entry, std::span<const std::uint32_t>(level.items))) {
            return;
        }
    }
}

// Sets of items as numbers that are equal when the sets are; local to one compile.
class SetInterner {
public:
    static constexpr std::uint32_t kEmpty = 0;

    std::uint32_t with(std::uint32_t set, std::uint32_t item);  // set ∪ {item}; usually one hash lookup
    [[nodiscard]] const std::vector<std::uint32_t>& items(std::uint32_t set) const { return sets_[set]; }
    [[nodiscard]] std::size_t size() const { return sets_.size(); }

private:
    std::vector<std::vector<std::uint32_t>> sets_{{}};
    std::unordered_map<std::uint64_t, std::uint32_t> steps_;  // (set, item) -> set
    std::unordered_map<std::vector<std::uint32_t>, std::uint32_t, IntervalContentHash> by_items_;
};

// Rows whose value is the interned set of all items at this and covering prefixes.
std::vector<SetRow> inherit_sets(std::span<const TrieEntry> entries, Family family, SetInterner& sets);

}  // namespace sgbpf
