// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Objects of the state in the shape that EC2's Describe calls give them, for --json.
#pragma once

#include "cli/context.hpp"

namespace sgbpf::cli {

Json rule_json(const RuleRow& row);
Json group_json(const State& state, const Group& group, std::size_t members);
Json interface_json(const State& state, const Interface& interface);
Json prefix_list_json(const PrefixList& list);

}  // namespace sgbpf::cli
