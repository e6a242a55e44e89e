// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A commit that the kernel undoes by itself unless it is confirmed (`apply --confirm`).
//
// What is in force between the flip and the confirmation, and what a crash of ours then leaves:
//   sg_control: pending = generation, confirm_state armed; every old value is still in the maps
//   applied.next, image.next: what is in force; applied.json, image.bin: what was before
//   devices attached by it are bound with `since` = its generation: after a rollback they pass everything,
//   as before; devices that leave keep their binding and drop all, by a slot without rules
// The timer stores the old generation and digest (bpf/confirm.h). Then: pending > generation, confirm_state
// rolled back; clean_up_rollback() puts the rest in order, by whatever command comes next.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "image/image.hpp"

namespace sgbpf {

// A moment of CLOCK_BOOTTIME as local wall-clock time: "12:01:00".
std::string boot_time_text(std::uint64_t boot_ns);

// Precondition: the commit was undone, or never flipped. Detaches what it had attached, takes back what it
// had announced, ends the flows that its rules and interfaces opened, and steps over its generation number:
// epochs, slots and listeners that met it must not meet another one of that number. Done again from the start
// if a run dies in the middle. `known`: the cached image in force, or null. Cost: a reading of all maps.
Result<void> clean_up_rollback(Datapath& datapath, const MapImage* known, std::vector<std::string>& notes);

}  // namespace sgbpf
