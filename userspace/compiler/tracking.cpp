// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/tracking.hpp"

#include <algorithm>
#include <string>

namespace sgbpf {

namespace {

template <typename Value>
Value choose(const std::optional<Value>& interface, const std::optional<Value>& host, Value otherwise) {
    return interface.value_or(host.value_or(otherwise));
}

}  // namespace

Tracking tracking_of(const TrackingOptions& interface, const TrackingOptions& host, const Capacities& capacities) {
    Tracking tracking;
    const std::uint32_t flows = capacities.flows;
    tracking.strict = choose(interface.strict, host.strict, false);
    tracking.max_flows = choose(interface.max_flows, host.max_flows, std::max(flows / 2, 1U));
    tracking.max_opening =
        choose(interface.max_opening, host.max_opening, std::min(std::max(flows / 8, 1U), tracking.max_flows));
    tracking.reserved = choose(interface.reserved, host.reserved,
                               std::min(flows / (2 * std::max(capacities.interfaces, 1U)), tracking.max_flows));
    tracking.opening_recycle = choose(interface.opening_recycle, host.opening_recycle, 0U);
    const TrackingOptions& says = interface.always_track ? interface : host;
    tracking.always_track = says.always_track.value_or(false);
    tracking.always_track_peers = &says.always_track_peers;
    tracking.related_icmp = choose(interface.related_icmp, host.related_icmp, true);
    tracking.revocation = choose(interface.revocation, host.revocation, Revocation::kKeep);
    return tracking;
}

std::optional<Error> tracking_does_not_fit(const State& state, const TrackingOptions& host,
                                           const Capacities& capacities) {
    std::vector<std::string> problems;
    std::uint64_t reserved = 0;
    for (const auto& [name, interface] : state.interfaces) {
        const Tracking tracking = tracking_of(interface.tracking, host, capacities);
        reserved += tracking.reserved;
        const auto at_most = [&](const char* key, std::uint32_t value, std::uint32_t limit, const char* words) {
            if (value > limit) {
                problems.push_back("interface " + name + ": tracking." + key + " is " + std::to_string(value) + ", " +
                                   words + " " + std::to_string(limit));
            }
        };
        at_most("max_flows", tracking.max_flows, capacities.flows, "the flow table holds");
        at_most("max_opening", tracking.max_opening, capacities.flows, "the flow table holds");
        at_most("reserved", tracking.reserved, tracking.max_flows, "its max_flows is");
    }
    if (reserved > capacities.flows / 2) {
        problems.push_back("the interfaces reserve " + std::to_string(reserved) + " flows, and half of the table, " +
                           std::to_string(capacities.flows / 2) + ", is the most");
    }
    if (problems.empty()) {
        return std::nullopt;
    }
    std::string message = "does not fit: ";
    for (std::size_t i = 0; i < problems.size(); ++i) {
        message += (i == 0 ? "" : "; ") + problems[i];
    }
    message += "; lower it, or raise \"flows\" in /etc/sgbpf/host.yaml";
    return make_error(ErrorCode::kExhausted, std::move(message));
}

}  // namespace sgbpf
