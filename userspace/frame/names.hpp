// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Names of what the programs answer in numbers: reasons of verdicts, states of flows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/abi/verdict.h>

namespace sgbpf {

struct ReasonWords {
    std::string_view name;  // "no-rule"
    unsigned verdict = SG_DROP;
    std::string_view sentence;
};
// "unknown" for a number that is none of this version's.
const ReasonWords& reason_words(std::uint32_t reason);
std::optional<std::uint32_t> reason_by_name(std::string_view name);
std::vector<std::string> reason_names();

// "syn-sent"; empty for a number that is no state.
std::string_view flow_state_name(unsigned state);
// Of a state that a flow can be in.
std::optional<std::uint8_t> flow_state_by_name(std::string_view name);
std::vector<std::string> flow_state_names();

}  // namespace sgbpf
