// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Waiting until no packet path runs that began before now.
#pragma once

#include <sgbpf/result.hpp>

namespace sgbpf {

// Programs at tc hooks run inside an RCU read section, so an RCU grace period is what is needed. About
// 10 to 20 ms. membarrier(2) waits for one; where it cannot, replacing an element of a map of maps does.
Result<void> wait_rcu_grace_period();

// The two ways, for tests.
Result<void> grace_by_membarrier();
Result<void> grace_by_map_in_map();

}  // namespace sgbpf
