// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/trie.hpp"

#include <algorithm>
#include <cstring>

namespace sgbpf {

Prefix prefix_of(const TrieEntry& entry, Family family) {
    Prefix prefix;
    prefix.address.family = family;
    prefix.length = entry.length;
    const std::uint64_t high = __builtin_bswap64(entry.bits.high);
    const std::uint64_t low = __builtin_bswap64(entry.bits.low);
    std::memcpy(prefix.address.bytes.data(), &high, sizeof(high));
    std::memcpy(prefix.address.bytes.data() + sizeof(high), &low, sizeof(low));
    return prefix;
}

std::uint32_t SetInterner::with(std::uint32_t set, std::uint32_t item) {
    const auto [step, new_step] = steps_.try_emplace(std::uint64_t{set} << 32 | item);
    if (!new_step) {
        return step->second;
    }
    std::vector<std::uint32_t> items = sets_[set];
    const auto at = std::lower_bound(items.begin(), items.end(), item);
    if (at == items.end() || *at != item) {
        items.insert(at, item);
    }
    if (items == sets_[set]) {
        step->second = set;
        return set;
    }
    const auto [known, added] = by_items_.try_emplace(items, static_cast<std::uint32_t>(sets_.size()));
    if (added) {
        sets_.push_back(std::move(items));
    }
    step->second = known->second;
    return known->second;
}

std::vector<SetRow> inherit_sets(std::span<const TrieEntry> entries, Family family, SetInterner& sets) {
    struct Level {
        const TrieEntry* entry;
        std::uint32_t set;
    };
    std::vector<SetRow> rows;
    std::vector<Level> stack;
    for (std::size_t i = 0; i < entries.size();) {
        const TrieEntry& entry = entries[i];
        while (!stack.empty() &&
               (stack.back().entry->scope != entry.scope ||
                !covers(stack.back().entry->bits, stack.back().entry->length, entry.bits, entry.length))) {
            stack.pop_back();
        }
        std::uint32_t set = stack.empty() ? SetInterner::kEmpty : stack.back().set;
        for (; i < entries.size() && entries[i].scope == entry.scope && entries[i].bits == entry.bits &&
               entries[i].length == entry.length;
             ++i) {
            set = sets.with(set, entries[i].item);
        }
        stack.push_back({&entry, set});
        rows.push_back({entry.scope, prefix_of(entry, family), set});
    }
    return rows;
}

}  // namespace sgbpf
