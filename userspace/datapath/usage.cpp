// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/usage.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <string>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include "datapath/features.hpp"
#include "datapath/flows.hpp"

namespace sgbpf {

namespace {

// "memlock:\t123" of the descriptor (kernel/bpf/syscall.c, bpf_map_show_fdinfo): bytes charged.
std::uint64_t memory_bytes(const Map& map) {
    std::ifstream lines(fmt::format("/proc/thread-self/fdinfo/{}", map.fd()));
    for (std::string name; lines >> name;) {
        if (name == "memlock:") {
            std::uint64_t bytes = 0;
            return lines >> bytes ? bytes : 0;
        }
        lines.ignore(4096, '\n');
    }
    return 0;
}

Result<std::uint64_t> used_elements(Map& map) {
    if (!map.is_array()) {
        std::uint64_t rows = 0;
        auto counted = for_each_row(map, [&rows](const std::byte*, const std::byte*) { ++rows; });
        if (!counted) {
            return unexpected(counted.error());
        }
        return rows;
    }
    auto memory = map.memory();
    if (!memory) {
        return unexpected(memory.error());
    }
    const std::size_t words = map.value_bytes() / 8;
    const auto* word = reinterpret_cast<const std::uint64_t*>(memory->data());
    std::uint64_t used = 0;
    for (std::uint32_t index = 0; index < map.max_entries(); ++index, word += words) {
        used += std::any_of(word, word + words, [](std::uint64_t w) { return w != 0; }) ? 1 : 0;
    }
    return used;
}

// Bytes written and not read yet: producer minus consumer position, which the ring shows in its second and
// first page (Documentation/bpf/ringbuf.rst).
Result<std::uint64_t> unread_bytes(const Map& ring) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const auto position = [&](std::size_t which) -> std::optional<std::uint64_t> {
        void* at = ::mmap(nullptr, page, PROT_READ, MAP_SHARED, ring.fd(), static_cast<off_t>(which * page));
        if (at == MAP_FAILED) {
            return std::nullopt;
        }
        const std::uint64_t value = load_word(*static_cast<std::uint64_t*>(at));
        ::munmap(at, page);
        return value;
    };
    const auto read = position(0);
    const auto written = position(1);
    if (!read || !written) {
        return unexpected(kernel_error(fmt::format("map {} into memory", ring.spec().name), errno));
    }
    return *written - *read;
}

}  // namespace

Result<std::vector<MapUsage>> measure_usage(Tree& tree, const PinPaths& paths) {
    auto flows = count_live_flows(tree);
    if (!flows) {
        return unexpected(flows.error());
    }
    std::vector<MapUsage> all;
    std::uint64_t interfaces = 0;
    std::uint64_t rules = 0;
    for (Map& map : tree.maps()) {
        MapUsage usage;
        usage.name = map.spec().name;
        usage.limit = map.max_entries();
        usage.bytes = memory_bytes(map);
        if (map.spec().capacity == &Capacities::flows) {
            // Slot 0 is never used, so `limit` can be reached but for one.
            usage.used = usage.name == "sg_flow_free" ? map.max_entries() - 1 - *flows : *flows;
        } else if (usage.name == "sg_counters" || usage.name == "sg_accounts") {
            usage.used = interfaces;
        } else if (usage.name == "sg_rule_counts") {
            usage.used = rules;
        } else if (map.spec().type == BPF_MAP_TYPE_RINGBUF) {
            auto unread = unread_bytes(map);
            if (!unread) {
                return unexpected(unread.error());
            }
            usage.used = *unread;
        } else if (usage.name == "sg_flow_hints") {
            usage.used = *flows;
        } else if (map.spec().capacity == nullptr) {
            usage.used = 1;
        } else {
            auto used = used_elements(map);
            if (!used) {
                return unexpected(used.error());
            }
            usage.used = *used;
            interfaces = usage.name == "sg_interfaces" ? *used : interfaces;
            rules = usage.name == "sg_rules" ? *used : rules;
        }
        all.push_back(std::move(usage));
    }
    auto inodes = instance_inodes(paths);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    for (const std::uint64_t inode : *inodes) {
        auto instance = Instance::open(paths, inode);
        if (!instance) {
            return unexpected(instance.error());
        }
        auto bindings = instance->bindings();
        if (!bindings) {
            return unexpected(bindings.error());
        }
        Map& map = instance->ifindexes();
        all.push_back({std::string(kIfindexSpec.name), bindings->size(), map.max_entries(), memory_bytes(map)});
    }
    return all;
}

Result<void> sum_over_cpus(const Map& map, std::uint32_t index, std::span<std::uint64_t> sums) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1) {
        return unexpected(kernel_error("count the CPUs", -cpus));
    }
    std::vector<std::uint64_t> values(sums.size() * static_cast<std::size_t>(cpus));
    auto read = map_lookup(map, &index, std::as_writable_bytes(std::span(values)));
    if (!read) {
        return read;
    }
    std::fill(sums.begin(), sums.end(), 0);
    for (std::size_t i = 0; i < values.size(); ++i) {
        sums[i % sums.size()] += values[i];
    }
    return {};
}

Result<void> zero_on_all_cpus(const Map& map, const std::vector<std::uint32_t>& indexes) {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1) {
        return unexpected(kernel_error("count the CPUs", -cpus));
    }
    const std::vector<std::byte> zeros(map.value_bytes() * static_cast<std::size_t>(cpus));
    for (const std::uint32_t index : indexes) {
        if (auto written = map_update(map, &index, zeros.data()); !written) {
            return written;
        }
    }
    return {};
}

}  // namespace sgbpf
