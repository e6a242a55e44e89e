// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Refusing what does not fit, before anything is written.
#pragma once

#include <optional>

#include "compiler/workspace.hpp"

namespace sgbpf {

// Old and new side by side against the capacities; call before Workspace::finish().
std::optional<Error> does_not_fit(const Workspace& workspace);
// The compile was given up because classes alone exceed the rule references.
Error does_not_fit_at_all(const Workspace& workspace);

}  // namespace sgbpf
