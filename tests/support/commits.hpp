// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Compile, plan and commit onto a FakeDatapath, and compare it with the oracle.
#pragma once

#include <string>
#include <vector>

#include "compiler/compile.hpp"
#include "image/image.hpp"
#include "image/plan.hpp"
#include "tests/support/evaluate.hpp"
#include "tests/support/fake_datapath.hpp"
#include "tests/support/image_reader.hpp"

namespace sgbpf::test {

// Interface id -> slot, of whichever image has it.
std::uint32_t slot_of(const std::string& interface_id, std::initializer_list<const MapImage*> images);

// "" if the maps decide all flows as `state` says; else the first difference in words. `slots`: images to
// find the interfaces' slots in. Flows of interfaces that the state does not have must meet "not ready".
std::string differs(const FakeDatapath& maps, std::uint64_t generation, const State& state,
                    const std::vector<NewFlow>& flows, const std::vector<std::uint32_t>& slots);

// "" if the maps hold exactly the elements of the image, settled.
std::string differs(FakeDatapath& maps, const MapImage& image);

}  // namespace sgbpf::test
