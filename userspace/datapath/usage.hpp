// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// How full the maps are and what they cost; counters summed over CPUs.
#pragma once

#include <cstdint>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

// One row per map, and one "sg_ifindex" per network namespace. Arrays: elements that are not zero; tries
// and hashes: rows, counted by walking them (2 us a row).
Result<std::vector<MapUsage>> measure_usage(Tree& tree, const PinPaths& paths);

// Element `index` of a per-CPU array of __u64 counters, added up. Error kNotFound: index too large.
Result<void> sum_over_cpus(const Map& map, std::uint32_t index, std::span<std::uint64_t> sums);
// Elements of a per-CPU array become zero on every CPU: one system call each.
Result<void> zero_on_all_cpus(const Map& map, const std::vector<std::uint32_t>& indexes);

}  // namespace sgbpf
