// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The reading end of sg_events (sgbpf/abi/event.h).
#pragma once

#include <memory>

#include "datapath/datapath.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

// One listener at a time: the ring has one reader.
Result<std::unique_ptr<EventStream>> listen_on(Tree& tree, std::uint16_t what, std::uint32_t interface_slot);

}  // namespace sgbpf
