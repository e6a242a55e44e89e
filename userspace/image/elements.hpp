// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Every element that the maps hold when an image is in force and settled: what repair writes towards
// and tests compare with. All-zero array elements are left out.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "image/image.hpp"

namespace sgbpf {

using ElementVisitor = std::function<void(MapId map, std::span<const std::byte> key, std::span<const std::byte> value)>;
// In no particular order, each key once.
void for_each_element(const MapImage& image, const ElementVisitor& visit);

}  // namespace sgbpf
