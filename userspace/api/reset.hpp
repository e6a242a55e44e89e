// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// --reset: both ends of TCP flows that are ended are told so.
#pragma once

#include "api/engine_parts.hpp"

namespace sgbpf {

// Refused: an apply with --reset that ends no flows, for neither it nor an interface says kill.
Result<void> check_reset(const ApplyOptions& options, const State& state, const HostPolicy& host);

// Ends the flows of `which` and tells both ends of those that are open TCP. `image`, `attachments`: which devices they
// are at, and the guests' MAC addresses. What cannot be told is counted.
Result<FlowsEnded> end_with_resets(const Engine::Parts& parts, const MapImage& image,
                                   const std::vector<Attachment>& attachments, const FlowFilter& which);

}  // namespace sgbpf
