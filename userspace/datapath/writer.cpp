// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/writer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <bpf/bpf.h>
#include <fmt/format.h>

#include "datapath/features.hpp"

namespace sgbpf {

namespace {

static_assert(
    [] {
        for (const MapInfo& info : kMaps) {
            if (info.kind == MapKind::kArray && (info.value_bytes % 8 != 0 || info.key_bytes != 4)) {
                return false;
            }
        }
        return true;
    }(),
    "array elements are written in 8-byte stores");
static_assert(offsetof(sg_interface, current) == 0 && offsetof(sg_versioned, values) == 0 &&
              offsetof(sg_versioned, since) == 8);

// Edits per system call: the kernel copies one after the other, so more would not be faster.
constexpr std::size_t kBatchEdits = 4096;

Error edit_error(const MapInfo& info, EditOp op, std::size_t edit, std::uint32_t limit, int positive_errno) {
    // ENOSPC: LPM tries; E2BIG: hashes and array indexes.
    if (positive_errno == ENOSPC || positive_errno == E2BIG) {
        return make_error(ErrorCode::kExhausted,
                          fmt::format("map {} is full: {} {} fit (edit {})", info.name, limit, info.words, edit),
                          positive_errno);
    }
    return kernel_error(
        fmt::format("{} map {} (edit {})", op == EditOp::kPut ? "write" : "delete from", info.name, edit),
        positive_errno);
}

// Edits [first, end) have one map and one operation, and the map is no array.
Result<void> write_batch(const Map& map, const MapInfo& info, const EditList& edits, std::size_t first,
                         std::size_t end) {
    const EditOp op = edits[first].op;
    std::vector<std::byte> keys;
    std::vector<std::byte> values;
    keys.reserve((end - first) * info.key_bytes);
    for (std::size_t i = first; i < end; ++i) {
        const EditList::Edit edit = edits[i];
        keys.insert(keys.end(), edit.key.begin(), edit.key.end());
        values.insert(values.end(), edit.value.begin(), edit.value.end());
    }
    std::size_t done = 0;
    const std::size_t total = end - first;
    while (done < total) {
        auto count = static_cast<std::uint32_t>(total - done);
        int failed = 0;
        if (op == EditOp::kPut) {
            failed = bpf_map_update_batch(map.fd(), &keys[done * info.key_bytes], &values[done * info.value_bytes],
                                          &count, nullptr);
        } else {
            failed = bpf_map_delete_batch(map.fd(), &keys[done * info.key_bytes], &count, nullptr);
        }
        if (failed == 0) {
            return {};
        }
        done += count;  // the kernel stopped at this one
        if (op == EditOp::kRemove && failed == -ENOENT && done < total) {
            ++done;  // gone already: what was asked for
            continue;
        }
        return unexpected(edit_error(info, op, first + done, map.max_entries(), -failed));
    }
    return {};
}

Result<void> write_element(Map& map, const MapInfo& info, const EditList::Edit& edit, std::size_t number) {
    std::uint32_t index = 0;
    std::memcpy(&index, edit.key.data(), sizeof(index));
    if (edit.op != EditOp::kPut || index >= map.max_entries()) {
        return unexpected(
            edit_error(info, edit.op, number, map.max_entries(), edit.op == EditOp::kPut ? E2BIG : EINVAL));
    }
    auto memory = map.memory();
    if (!memory) {
        return unexpected(memory.error());
    }
    auto* words = reinterpret_cast<std::uint64_t*>(&(*memory)[index * info.value_bytes]);
    in_store_order(edit.value, begins_versioned(info.id),
                   [words](std::size_t i, std::uint64_t content) { store_word(words[i], content); });
    return {};
}

}  // namespace

Result<void> write_edits(Tree& tree, const EditList& edits, std::size_t first, std::size_t count) {
    const std::size_t end = std::min(first + count, edits.size());
    std::size_t at = first;
    while (at < end) {
        const EditList::Edit edit = edits[at];
        const MapInfo& info = map_info(edit.map);
        Map& map = tree.map(edit.map);
        if (info.kind == MapKind::kArray) {
            auto written = write_element(map, info, edit, at);
            if (!written) {
                return written;
            }
            ++at;
            continue;
        }
        std::size_t run = at + 1;
        while (run < end && run - at < kBatchEdits && edits[run].map == edit.map && edits[run].op == edit.op) {
            ++run;
        }
        auto written = write_batch(map, info, edits, at, run);
        if (!written) {
            return written;
        }
        at = run;
    }
    return {};
}

Result<RawMaps> read_policy_maps(Tree& tree) {
    RawMaps maps;
    for (const MapInfo& info : kMaps) {
        std::vector<RawRow>& rows = maps[info.id];
        Map& map = tree.map(info.id);
        if (info.kind != MapKind::kArray) {
            auto read = for_each_row(map, [&](const std::byte* key, const std::byte* value) {
                rows.push_back({{key, key + info.key_bytes}, {value, value + info.value_bytes}});
            });
            if (!read) {
                return unexpected(read.error());
            }
            continue;
        }
        auto memory = map.memory();
        if (!memory) {
            return unexpected(memory.error());
        }
        for (std::uint32_t index = 0; index < map.max_entries(); ++index) {
            const auto element = memory->subspan(index * info.value_bytes, info.value_bytes);
            if (std::any_of(element.begin(), element.end(), [](std::byte b) { return b != std::byte{0}; })) {
                const auto* key = reinterpret_cast<const std::byte*>(&index);
                rows.push_back({{key, key + sizeof(index)}, {element.begin(), element.end()}});
            }
        }
    }
    return maps;
}

}  // namespace sgbpf
