// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// tests/data/vectors.json (format sg-vectors/1, specification section 12) as State, frames and steps.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <sgbpf/state.hpp>

#include "model/host_config.hpp"
#include "support/packet.hpp"

namespace sgbpf::test {

// The file named by SGBPF_VECTORS, else the repository's. Aborts when it cannot be read.
const nlohmann::json& vector_file();

// The world of the file. Groups are keyed "VPC/alias", everything else by alias.
State vector_state(const nlohmann::json& file);

// The service endpoints of the file's `unfiltered`.
HostPolicy vector_host(const nlohmann::json& file);

// Carries out one action of a sequence on the state. False: an action this version cannot express.
bool apply_action(State& state, const nlohmann::json& file, const nlohmann::json& action);

// The frame of a packet object.
Bytes vector_frame(const nlohmann::json& packet);

}  // namespace sgbpf::test
