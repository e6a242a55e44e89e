// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// State <-> JSON, lossless, for the store and --json. This is our own shape, not EC2's.
#pragma once

#include <nlohmann/json.hpp>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

nlohmann::json to_json(const State& state);
// kCorrupt with the place if a key is missing, has the wrong type or a value makes no sense.
Result<State> state_from_json(const nlohmann::json& json);

}  // namespace sgbpf
