// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Scenarios and captures from their first packet to their last. Not for printing: every packet goes to a sink.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replay/direction.hpp"
#include "replay/replayer.hpp"
#include "replay/scenario.hpp"

namespace sgbpf {

struct ReplayedPacket {
    std::size_t number = 0;     // line of the scenario, or packet of the capture from 1
    std::uint64_t time_ns = 0;  // since the start of the scenario, or since 1970
    std::uint64_t since_start_ns = 0;
    std::string_view interface;
    unsigned direction = SG_IN;
    std::span<const std::byte> frame;
    std::uint32_t wire_length = 0;
    std::string_view notes;  // of the scenario since the packet before, a line each
    ReplayVerdict verdict;
    std::string_view failure;  // "expected drop, got pass (sgr-...)"; empty = nothing else was expected
};
using ReplaySink = std::function<void(const ReplayedPacket&)>;

struct ReplaySummary {
    std::array<std::array<std::uint64_t, SG_REASON_MAX>, SG_DIRECTIONS> packets{};  // judged
    std::uint64_t passed = 0;
    std::uint64_t dropped = 0;
    // Expectations of a scenario.
    std::uint64_t as_expected = 0;
    std::uint64_t without_expectation = 0;
    std::vector<std::string> failures;  // "line 9: expected drop, got pass (sgr-...)"
    // Packets of a capture that were not judged, and what happened to the clock.
    std::uint64_t too_short = 0;
    std::uint64_t unknown_direction = 0;
    std::uint64_t back_in_time = 0;         // judged, at the time of the one before
    std::optional<CapturedAt> captured_at;  // how "received" and "sent" were read, if they were there
    std::string broken;                     // empty = read to the end; else the sentence why not
};

// Errors: a state that does not fit, or a kernel that fails; what was judged before went to the sink.
Result<ReplaySummary> run_scenario(const Scenario& scenario, Replayer& replayer, const ReplaySink& sink);

struct CaptureOptions {
    std::string interface;                  // of the state applied to the replayer
    std::optional<unsigned> direction;      // of all packets; empty = each by its flags, else by its ends
    std::optional<CapturedAt> captured_at;  // empty = found out from packets that tell both ways, else by the role
};
Result<ReplaySummary> run_capture(const std::string& path, const CaptureOptions& options, Replayer& replayer,
                                  const ReplaySink& sink);

}  // namespace sgbpf
