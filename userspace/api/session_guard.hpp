// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Refuses what would cut the operator's own connection to this host, before anything is changed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/engine_parts.hpp"

namespace sgbpf {

// What is going to be in force, and at which devices.
struct SessionGuard {
    const State& desired;
    const MapImage& image;                         // of `desired`
    const std::map<std::string, Device>& devices;  // by interface name: those that will be filtered
    const HostState& host;                         // now
};

// kRefused: some device that the session crosses would drop its packets, or a new connection like it. Judged
// by the real programs on private maps; an entry in the live flow table counts for what it lets through.
// Cost: three questions to rtnetlink; only if a device is concerned, loading programs and maps (~0.1 s).
Result<void> check_session(const Engine::Parts& parts, const OperatorSession& session, const SessionGuard& guard);

// The same for devices that are going to drop (nearly) everything, because of `why`.
Result<void> check_session_leaves(const Engine::Parts& parts, const OperatorSession& session,
                                  const std::vector<Attachment>& leaving, const std::string& why);

}  // namespace sgbpf
