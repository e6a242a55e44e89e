// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The key `tracking` of an interface and of the host's settings: the same words in both, in text and back.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <sgbpf/state.hpp>

#include "model/fields.hpp"

namespace sgbpf {

// In the order of enum Revocation.
inline constexpr std::array<std::string_view, 3> kRevocationNames = {"keep", "recheck", "kill"};
std::string_view revocation_text(Revocation revocation);

// The longest opening_recycle, seconds: what lives no longer than that expires by itself (SG_SECONDS_SYN_SENT).
inline constexpr std::uint64_t kMaxOpeningRecycle = 120;
// Most flows a table may hold: the free list is filled by one bpf_loop, whose limit this is (BPF_MAX_LOOPS,
// linux/bpf_verifier.h). What fits the table of this host is for the compiler to say.
inline constexpr std::uint64_t kMaxFlows = std::uint64_t{8} << 20;

TrackingOptions read_tracking(Site site, Report& report);

// What is set, key by key, in the order and the form of the file: {"max_opening", "1000"} ...
std::vector<std::pair<std::string, std::string>> tracking_words(const TrackingOptions& options);

// For the record of what is applied: only what is set.
nlohmann::json tracking_to_json(const TrackingOptions& options);

}  // namespace sgbpf
