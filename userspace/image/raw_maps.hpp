// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Contents of the policy maps as they are: what the datapath reads back and repair works on.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "image/maps.hpp"

namespace sgbpf {

using Digest = std::array<std::uint8_t, 32>;

// Array elements that are all zero are left out.
struct RawRow {
    std::vector<std::byte> key;
    std::vector<std::byte> value;
};
using RawMaps = std::map<MapId, std::vector<RawRow>>;

}  // namespace sgbpf
