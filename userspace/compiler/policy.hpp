// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A policy from the rules of its groups, and its rows for the sets that exist.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/workspace.hpp"
#include "image/image.hpp"

namespace sgbpf {

// A policy with a number of its own. `groups`: rules of each group in the policy's direction.
std::shared_ptr<const PolicyImage> compile_policy(Workspace& workspace, std::uint32_t vpc,
                                                  std::vector<std::shared_ptr<const GroupRules>> groups);

// Which sets contain a name: of lists host-wide, of groups as seen from one VPC.
struct SetIndex {
    std::unordered_map<std::string, std::vector<std::uint32_t>> sets_with;  // name -> set numbers, ascending
};

// Rows for the sets that intersect what the policy's rules name. Classes of `before` (the same policy's
// rows so far, or nullptr) are kept; returns `before` itself when nothing changed.
std::shared_ptr<const PolicyRows> compile_rows(Workspace& workspace, const PolicyImage& policy, const SetIndex& lists,
                                               const SetIndex& groups, std::shared_ptr<const PolicyRows> before);

}  // namespace sgbpf
