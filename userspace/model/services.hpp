// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The key `services` of host.yaml: endpoints of the host that groups never filter (SG-6.1..6.5).
#pragma once

#include <string>
#include <vector>

#include "model/fields.hpp"
#include "model/host_config.hpp"

namespace sgbpf {

std::vector<Service> read_services(Site site, Report& report);

// A sentence for each service of a VPC that the state does not have. No error: host.yaml may be the same on
// every host of a fleet, while the state knows the VPCs of one.
std::vector<std::string> services_without_vpc(const std::vector<Service>& services, const State& state);

}  // namespace sgbpf
