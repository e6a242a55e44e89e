// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which devices can be filtered as the host's end of a workload's interface. Pure.
#pragma once

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"

namespace sgbpf {

// Allowed: a tap, a veth, and the representor of a virtual function or subfunction, all Ethernet: what
// leaves the host through them goes to one workload, and what comes in was sent by it. Every other kind is
// refused (kUnsupported) with a sentence that says what would go wrong.
Result<void> check_workload_device(const Device& device);

}  // namespace sgbpf
