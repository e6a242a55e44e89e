// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Parts of the engine's reports that several commands show.
#pragma once

#include <string>

#include "cli/context.hpp"

namespace sgbpf::cli {

// --adopt of apply and attach.
inline constexpr std::uint32_t kAdoptMost = 3600;
inline constexpr const char* kAdoptWords =
    "Seconds (1 to 3600) for which connections that run already are taken up, where the rules of either direction "
    "admit them";

// Errors and warnings of a file, one per line on stderr, with the closing line "3 errors; nothing
// changed". False (and exit code 2) if there are errors.
bool say_input(Context& context, const InputReport& input);

// "; reset sent for 2"; nothing if no reset was asked for.
std::string resets_text(const FlowsEnded& ended);
Json resets_json(const FlowsEnded& ended);

// The plan for people, at most `limit` lines of changes (0 = all).
std::string plan_text(const Plan& plan, std::size_t limit);
Json plan_json(const Plan& plan);

std::string attached_text(const AttachedDevice& device);  // "web0: tap-web0 (ifindex 12) tcx in+out, position 1/1 ..."
Json attached_json(const AttachedDevice& device);
// "eno1: xdp native refused (Operation not supported); xdp generic"; empty when the first hook was taken.
std::string ladder_text(const AttachedDevice& device);
std::string device_text(const std::string& device, const std::string& netns);  // "eth0 in netns blue"

}  // namespace sgbpf::cli
