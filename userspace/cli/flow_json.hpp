// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A tracked flow as JSON, wherever one is shown.
#pragma once

#include "cli/context.hpp"

namespace sgbpf::cli {

Json flow_json(const FlowRow& row);

}  // namespace sgbpf::cli
