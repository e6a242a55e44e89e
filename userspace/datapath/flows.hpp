// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading and flushing flow records. User space never changes a record: the packet path's own reaper
// removes them, run through BPF_PROG_TEST_RUN.
#pragma once

#include <cstdint>
#include <optional>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

// Records in use that fit the filter, in slot order. Expired ones that nobody swept yet are among them.
Result<FlowSnapshot> read_flow_records(Tree& tree, const FlowFilter& filter);

// A record as it was at one moment, or nothing if it is free or changes hands meanwhile. Pure.
std::optional<sg_flow> copy_live_flow(const sg_flow& record);
bool matches(const sg_flow& flow, const FlowFilter& filter);
// Answered by the other side: TCP past its handshake, UDP with a reply; other protocols by counters.
bool is_established(const sg_flow& flow);

Result<std::uint64_t> count_live_flows(Tree& tree);

Result<std::uint64_t> flush_flow_records(Tree& tree, const sg_flush& what);

}  // namespace sgbpf
