// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/names.hpp"

#include <algorithm>
#include <array>

#include <sgbpf/abi/flow.h>

namespace sgbpf {

namespace {

constexpr std::array<ReasonWords, SG_REASON_MAX> kReasons = [] {
    std::array<ReasonWords, SG_REASON_MAX> rows{};
#define SG_ADD_REASON(number, symbol, name, verdict, sentence) rows[number] = ReasonWords{name, verdict, sentence};
    SG_REASONS(SG_ADD_REASON)
#undef SG_ADD_REASON
    return rows;
}();

// Index: enum sg_flow_state.
constexpr std::array<std::string_view, SG_FLOW_STATES> kStates = {
    "free",  "busy",      "syn-sent",     "syn-received",    "established", "fin-wait", "close-wait", "time-wait",
    "reset", "udp-asked", "udp-answered", "udp-asked-again", "udp-stream",  "icmp",     "other",      "fragment"};
constexpr std::size_t kFirstState = SG_FLOW_SYN_SENT;  // below: no flow

}  // namespace

const ReasonWords& reason_words(std::uint32_t reason) {
    static constexpr ReasonWords kUnknown{"unknown", SG_DROP, "a reason that this version does not know"};
    return reason < kReasons.size() && !kReasons[reason].name.empty() ? kReasons[reason] : kUnknown;
}

std::optional<std::uint32_t> reason_by_name(std::string_view name) {
    for (std::uint32_t reason = 0; reason < kReasons.size(); ++reason) {
        if (!name.empty() && kReasons[reason].name == name) {
            return reason;
        }
    }
    return std::nullopt;
}

std::vector<std::string> reason_names() {
    std::vector<std::string> names;
    for (const ReasonWords& row : kReasons) {
        if (!row.name.empty()) {
            names.emplace_back(row.name);
        }
    }
    return names;
}

std::string_view flow_state_name(unsigned state) {
    return state < kStates.size() ? kStates[state] : std::string_view();
}

std::optional<std::uint8_t> flow_state_by_name(std::string_view name) {
    const auto* at = std::find(kStates.begin() + kFirstState, kStates.end(), name);
    return at == kStates.end() ? std::nullopt : std::optional(static_cast<std::uint8_t>(at - kStates.begin()));
}

std::vector<std::string> flow_state_names() {
    return {kStates.begin() + kFirstState, kStates.end()};
}

}  // namespace sgbpf
