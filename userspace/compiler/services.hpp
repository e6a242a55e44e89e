// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Service endpoints of the host as rows of sg_locals4/6: one for each VPC that has interfaces (SG-6.4).
#pragma once

#include "compiler/workspace.hpp"

namespace sgbpf {

// Fills workspace.next.services; after number_vpcs. A table that comes out the same keeps its object.
Result<void> resolve_services(Workspace& workspace);

bool has_services(const MapImage& image, std::uint32_t vpc);

}  // namespace sgbpf
