// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an interface is granted of the flow table: its own words, else the host's, else a share of the table.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "model/host_config.hpp"

namespace sgbpf {

struct Tracking {
    bool strict = false;
    std::uint32_t max_flows = 0;
    std::uint32_t max_opening = 0;
    std::uint32_t reserved = 0;
    std::uint32_t opening_recycle = 0;  // seconds, 0 = never
    bool always_track = false;
    const std::vector<Prefix>* always_track_peers = nullptr;  // of whichever said always_track
    bool related_icmp = true;
    Revocation revocation = Revocation::kKeep;
};

// Defaults: half of the table, an eighth of it unanswered, and as reserve the share that every interface the
// host may have can be given from half of the table.
Tracking tracking_of(const TrackingOptions& interface, const TrackingOptions& host, const Capacities& capacities);

// kExhausted: what is asked for does not fit the flow table. The reserves of all interfaces may take half of
// it; the other half is everybody's, or a new interface would find nothing.
std::optional<Error> tracking_does_not_fit(const State& state, const TrackingOptions& host,
                                           const Capacities& capacities);

}  // namespace sgbpf
