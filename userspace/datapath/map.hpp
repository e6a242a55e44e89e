// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Open maps: what each must look like, typed access, and arrays mapped into memory. A map whose type or
// sizes differ from what this binary was built for is never read or written.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/result.hpp>

#include "base/fd.hpp"
#include "image/maps.hpp"

namespace sgbpf {

struct MapSpec {
    std::string_view name;
    std::uint32_t type;                    // enum bpf_map_type
    std::size_t key_bytes;                 // 0: a queue or ring
    std::size_t value_bytes;               // 0: private to the programs, or a ring; not checked
    std::uint32_t Capacities::* capacity;  // nullptr: as bpf/maps.h says
};

// Maps shared by all namespaces: first those of kMaps, in its order, then these.
enum class HostMap : std::uint8_t {
    kControl,
    kFlowIndex,
    kFlows,
    kFlowFree,
    kFlowHints,
    kAccounts,
    kCounters,
    kRuleCounts,
    kSweep,
    kConfirm,
    kEvents,
    kEventCounts
};
std::span<const MapSpec> host_map_specs();
constexpr std::size_t map_position(MapId id) {
    return static_cast<std::size_t>(id);
}
constexpr std::size_t map_position(HostMap id) {
    return kMaps.size() + static_cast<std::size_t>(id);
}
// Elements of sg_flow_hints for so many flow slots: a power of two.
std::uint32_t hint_elements(std::uint32_t flows);
// The map that every network namespace has for itself.
extern const MapSpec kIfindexSpec;

class Map {
public:
    // Takes the descriptor if the kernel's description agrees with `spec`. Error kCorrupt otherwise.
    static Result<Map> adopt(Fd fd, const MapSpec& spec);
    Map(Map&& other) noexcept;
    Map& operator=(Map&& other) noexcept;
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;
    ~Map();

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const MapSpec& spec() const { return *spec_; }
    [[nodiscard]] std::uint32_t id() const { return id_; }
    [[nodiscard]] std::uint32_t max_entries() const { return max_entries_; }
    [[nodiscard]] std::size_t value_bytes() const { return value_bytes_; }
    [[nodiscard]] bool is_array() const;

    // The elements of an mmapable array, `value_bytes()` apart, mapped at the first call.
    Result<std::span<std::byte>> memory();

private:
    Map(Fd fd, const MapSpec& spec, std::uint32_t id, std::uint32_t max_entries, std::size_t value_bytes)
        : fd_(std::move(fd)), spec_(&spec), id_(id), max_entries_(max_entries), value_bytes_(value_bytes) {}

    Fd fd_;
    const MapSpec* spec_;
    std::uint32_t id_;
    std::uint32_t max_entries_;
    std::size_t value_bytes_;
    std::byte* memory_ = nullptr;
    std::size_t mapped_bytes_ = 0;
};

// Elements of a mapped array as `Value`. The kernel reads and writes them at the same time: copy out
// what must not change, and store through store_word().
template <typename Value> Result<std::span<Value>> elements(Map& map) {
    static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) % 8 == 0 && alignof(Value) <= 8);
    auto memory = map.memory();
    if (!memory) {
        return unexpected(memory.error());
    }
    return std::span<Value>(reinterpret_cast<Value*>(memory->data()), map.max_entries());
}

// One 8-byte store that no later one overtakes (x86-64: any store; elsewhere a release store), and the
// load that goes with it. A template, because the ABI's __u64 and std::uint64_t are different types.
template <typename Word> void store_word(Word& word, std::uint64_t value) {
    static_assert(sizeof(Word) == 8);
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}
template <typename Word> std::uint64_t load_word(const Word& word) {
    static_assert(sizeof(Word) == 8);
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

// One element by system call. Error kNotFound: no such key.
Result<void> map_lookup(const Map& map, const void* key, std::span<std::byte> value);
Result<void> map_update(const Map& map, const void* key, const void* value);

template <typename Key, typename Value> class TypedMap {
public:
    explicit TypedMap(Map& map) : map_(&map) {
        assert(map.spec().key_bytes == sizeof(Key) && map.value_bytes() == sizeof(Value));
    }
    Result<Value> get(const Key& key) const {
        Value value{};
        auto found = map_lookup(*map_, &key, std::as_writable_bytes(std::span(&value, 1)));
        if (!found) {
            return unexpected(found.error());
        }
        return value;
    }
    Result<void> put(const Key& key, const Value& value) { return map_update(*map_, &key, &value); }

private:
    Map* map_;
};

// All rows of a map, `visit(key, value)` for each, by batches. LPM tries cost about 2 us a row. For
// hashes and arrays of fixed value size; not per-CPU.
Result<void> for_each_row(const Map& map, const std::function<void(const std::byte*, const std::byte*)>& visit);

}  // namespace sgbpf
