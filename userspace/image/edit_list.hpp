// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// An ordered list of map edits in ABI bytes: what a commit writes, and the unit in which it is counted
// and (in tests) interrupted.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "image/maps.hpp"

namespace sgbpf {

enum class EditOp : std::uint8_t { kPut, kRemove };

class EditList {
public:
    struct Edit {
        MapId map;
        EditOp op;
        std::span<const std::byte> key;
        std::span<const std::byte> value;  // empty for kRemove
    };

    template <MapId map> void put(const typename MapTypes<map>::Key& key, const typename MapTypes<map>::Value& value) {
        entries_.push_back({bytes_.size(), map, EditOp::kPut});
        append(&key, sizeof(key));
        append(&value, sizeof(value));
    }

    // Not for arrays: put a zero value there.
    template <MapId map> void remove(const typename MapTypes<map>::Key& key) {
        static_assert(map_info(map).kind != MapKind::kArray);
        entries_.push_back({bytes_.size(), map, EditOp::kRemove});
        append(&key, sizeof(key));
    }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] Edit operator[](std::size_t index) const {
        const Entry& entry = entries_[index];
        const MapInfo& info = map_info(entry.map);
        const std::span<const std::byte> all(bytes_);
        return Edit{entry.map, entry.op, all.subspan(entry.offset, info.key_bytes),
                    entry.op == EditOp::kRemove ? std::span<const std::byte>{}
                                                : all.subspan(entry.offset + info.key_bytes, info.value_bytes)};
    }

private:
    struct Entry {
        std::size_t offset;
        MapId map;
        EditOp op;
    };
    void append(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        bytes_.insert(bytes_.end(), from, from + size);
    }

    std::vector<Entry> entries_;
    std::vector<std::byte> bytes_;
};

}  // namespace sgbpf
