// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which way a captured packet went, as the workload sees it.
#pragma once

#include <optional>

#include <sgbpf/state.hpp>

#include "replay/capture.hpp"

namespace sgbpf {

// Where a capture was taken. At a tap the hypervisor receives what the guest sends: "received" is `out` there.
enum class CapturedAt { kGuest, kTap };

// By the ends of the packet: addresses of the interface, those it may send from, its MAC; what comes from elsewhere
// and goes to a group address came in. Empty: none of it tells, or both ends are the interface's.
std::optional<unsigned> direction_by_ends(const CapturedPacket& packet, const Interface& interface);

// By what the capture says of the packet. Empty: nothing.
std::optional<unsigned> direction_by_flags(Seen seen, CapturedAt at);

}  // namespace sgbpf
