// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// State -> state file. parse_state(to_yaml(s)) is s again, ids included. IPv6, MACs and every name a
// YAML 1.1 or 1.2 reader could take for something else are quoted.
#pragma once

#include <string>

#include <sgbpf/state.hpp>

namespace sgbpf {

std::string to_yaml(const State& state);

}  // namespace sgbpf
