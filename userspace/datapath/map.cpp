// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/map.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sgbpf/abi/config.h>
#include <sgbpf/abi/event.h>
#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/verdict.h>
#include <sys/mman.h>
#include <unistd.h>

#include "datapath/features.hpp"

namespace sgbpf {

namespace {

constexpr std::uint32_t bpf_type(MapKind kind) {
    switch (kind) {
        case MapKind::kArray:
            return BPF_MAP_TYPE_ARRAY;
        case MapKind::kHash:
            return BPF_MAP_TYPE_HASH;
        case MapKind::kLpm:
            return BPF_MAP_TYPE_LPM_TRIE;
    }
    return 0;
}

constexpr std::size_t kOwnMaps = 12;

constexpr auto kHostMapSpecs = [] {
    std::array<MapSpec, kMaps.size() + kOwnMaps> specs{};
    for (std::size_t i = 0; i < kMaps.size(); ++i) {
        specs[i] = MapSpec{kMaps[i].name, bpf_type(kMaps[i].kind), kMaps[i].key_bytes, kMaps[i].value_bytes,
                           kMaps[i].capacity};
    }
    const auto own = [&specs](HostMap id, const MapSpec& spec) { specs[map_position(id)] = spec; };
    own(HostMap::kControl, {"sg_control", BPF_MAP_TYPE_ARRAY, 4, sizeof(sg_control), nullptr});
    own(HostMap::kFlowIndex, {"sg_flow_index", BPF_MAP_TYPE_HASH, sizeof(sg_flow_key), 4, &Capacities::flows});
    own(HostMap::kFlows, {"sg_flows", BPF_MAP_TYPE_ARRAY, 4, sizeof(sg_flow), &Capacities::flows});
    own(HostMap::kFlowFree, {"sg_flow_free", BPF_MAP_TYPE_QUEUE, 0, 4, &Capacities::flows});
    own(HostMap::kFlowHints, {"sg_flow_hints", BPF_MAP_TYPE_ARRAY, 4, 8, nullptr});
    own(HostMap::kAccounts, {"sg_accounts", BPF_MAP_TYPE_ARRAY, 4, sizeof(sg_account), &Capacities::interfaces});
    own(HostMap::kCounters,
        {"sg_counters", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(sg_counters), &Capacities::interfaces});
    own(HostMap::kRuleCounts,
        {"sg_rule_counts", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(sg_rule_counters), &Capacities::rules});
    own(HostMap::kSweep, {"sg_sweep", BPF_MAP_TYPE_ARRAY, 4, 0, nullptr});
    own(HostMap::kConfirm, {"sg_confirm", BPF_MAP_TYPE_ARRAY, 4, 0, nullptr});
    own(HostMap::kEvents, {"sg_events", BPF_MAP_TYPE_RINGBUF, 0, 0, nullptr});
    own(HostMap::kEventCounts, {"sg_event_counts", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(sg_event_counts), nullptr});
    return specs;
}();

// Rows fetched per call: large enough to hide the call, small enough for the stack of the kernel.
constexpr std::uint32_t kBatchRows = 4096;

}  // namespace

const MapSpec kIfindexSpec = {"sg_ifindex", BPF_MAP_TYPE_ARRAY, 4, sizeof(sg_binding), &Capacities::ifindexes};

std::uint32_t hint_elements(std::uint32_t flows) {
    return std::bit_ceil(std::max(flows, 1U)) * SG_HINTS_PER_FLOW;
}

std::span<const MapSpec> host_map_specs() {
    return kHostMapSpecs;
}

Result<Map> Map::adopt(Fd fd, const MapSpec& spec) {
    bpf_map_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) {
        return unexpected(kernel_error(fmt::format("read what map {} is", spec.name), errno));
    }
    if (info.type != spec.type || info.key_size != spec.key_bytes ||
        (spec.value_bytes != 0 && info.value_size != spec.value_bytes)) {
        return unexpected(make_error(
            ErrorCode::kCorrupt,
            fmt::format("pinned map {} is not the one this sgbpf uses: type {}, key {} and value {} bytes, expected "
                        "type {}, {} and {}; it belongs to another version or program",
                        spec.name, info.type, info.key_size, info.value_size, spec.type, spec.key_bytes,
                        spec.value_bytes)));
    }
    return Map(std::move(fd), spec, info.id, info.max_entries, info.value_size);
}

Map::Map(Map&& other) noexcept
    : fd_(std::move(other.fd_)), spec_(other.spec_), id_(other.id_), max_entries_(other.max_entries_),
      value_bytes_(other.value_bytes_), memory_(std::exchange(other.memory_, nullptr)),
      mapped_bytes_(std::exchange(other.mapped_bytes_, 0)) {}

Map& Map::operator=(Map&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(spec_, other.spec_);
    std::swap(id_, other.id_);
    std::swap(max_entries_, other.max_entries_);
    std::swap(value_bytes_, other.value_bytes_);
    std::swap(memory_, other.memory_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    return *this;
}

Map::~Map() {
    if (memory_ != nullptr) {
        ::munmap(memory_, mapped_bytes_);
    }
}

bool Map::is_array() const {
    return spec_->type == BPF_MAP_TYPE_ARRAY;
}

Result<std::span<std::byte>> Map::memory() {
    const std::size_t bytes = value_bytes_ * max_entries_;
    if (memory_ == nullptr) {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t rounded = (bytes + page - 1) / page * page;
        void* at = ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
        if (at == MAP_FAILED) {
            return unexpected(kernel_error(fmt::format("map {} into memory", spec_->name), errno));
        }
        memory_ = static_cast<std::byte*>(at);
        mapped_bytes_ = rounded;
    }
    return std::span(memory_, bytes);
}

Result<void> map_lookup(const Map& map, const void* key, std::span<std::byte> value) {
    if (bpf_map_lookup_elem(map.fd(), key, value.data()) != 0) {
        return unexpected(kernel_error(fmt::format("read map {}", map.spec().name), errno));
    }
    return {};
}

Result<void> map_update(const Map& map, const void* key, const void* value) {
    if (bpf_map_update_elem(map.fd(), key, value, BPF_ANY) != 0) {
        return unexpected(kernel_error(fmt::format("write map {}", map.spec().name), errno));
    }
    return {};
}

Result<void> for_each_row(const Map& map, const std::function<void(const std::byte*, const std::byte*)>& visit) {
    const std::size_t key_bytes = map.spec().key_bytes;
    const std::size_t value_bytes = map.value_bytes();
    // A hash returns whole buckets only (ENOSPC when one does not fit), so the batch grows on demand.
    std::uint32_t rows = std::min(kBatchRows, map.max_entries());
    // The kernel's place in the walk: as large as a key, at least 4 bytes (a hash's bucket number).
    std::vector<std::byte> place(std::max<std::size_t>(key_bytes, 8));
    std::vector<std::byte> next_place(place.size());
    bool first = true;
    std::vector<std::byte> keys;
    std::vector<std::byte> values;
    for (;;) {
        keys.resize(rows * key_bytes);
        values.resize(rows * value_bytes);
        std::uint32_t count = rows;
        const int failed = bpf_map_lookup_batch(map.fd(), first ? nullptr : place.data(), next_place.data(),
                                                keys.data(), values.data(), &count, nullptr);
        if (failed == -ENOSPC && rows < map.max_entries()) {
            rows = std::min(rows * 4, map.max_entries());
            continue;
        }
        if (failed != 0 && failed != -ENOENT) {
            return unexpected(kernel_error(fmt::format("read map {}", map.spec().name), -failed));
        }
        for (std::uint32_t i = 0; i < count; ++i) {
            visit(&keys[i * key_bytes], &values[i * value_bytes]);
        }
        if (failed == -ENOENT) {
            return {};
        }
        first = false;
        place = next_place;
    }
}

}  // namespace sgbpf
