// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What becomes of flows when rules go (SG-5.21): keep, recheck or kill. The compiler marks interfaces and the packet
// path acts at the next packet of a flow; here is what does not wait for one. Nothing of it can be undone,
// so nothing of it happens before a commit is confirmed.
#pragma once

#include <optional>

#include "api/engine_parts.hpp"

namespace sgbpf {

// Refused: an unconfirmed apply that is told to end flows, or to tell their ends.
Result<void> check_revocation(const ApplyOptions& options);

// Whether an interface of the state, by its own word or the host's, does not keep flows.
bool revokes_by_itself(const State& state, const HostPolicy& host);

// The flows of those interfaces that `after` marks for kill and `before` did not, where the rule that admitted a
// flow is none of the interface's rules any more: it is gone, or its group was taken off. `state` is that of
// `after`. Nothing: no interface is marked.
std::optional<FlowFilter> revoked_flows(const MapImage& before, const MapImage& after, const State& state);
// Ends those.
Result<FlowsEnded> end_revoked_flows(const Engine::Parts& parts, const MapImage& before, const MapImage& after,
                                     const State& state);

// "ended 3 flows", "ended 3 flows; reset sent for 2".
std::string ended_words(const FlowsEnded& ended);

}  // namespace sgbpf
