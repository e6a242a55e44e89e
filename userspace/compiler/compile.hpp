// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// State -> MapImage. Pure and deterministic; numbers and slots stay as they were in the previous image
// wherever their meaning stayed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "image/image.hpp"
#include "model/host_config.hpp"

namespace sgbpf {

struct CompileInput {
    const State& state;        // valid; every rule has an id
    const MapImage& previous;  // what is in force, MapImage{} at the start
    const Capacities& capacities;
    // Rule slots that are not live in `previous` and that no flow names; used only when every slot has
    // been used once. nullptr = none.
    const std::vector<std::uint32_t>* reusable_rule_slots = nullptr;
    // Of the commit that this is for; 0 = not known, epochs then count by themselves.
    std::uint64_t generation = 0;
    const HostPolicy* host = nullptr;  // nullptr = defaults
    // Every interface's flows are treated so by this commit, whatever the interface says.
    std::optional<Revocation> revoke = std::nullopt;
    // With revoke, or an interface's own word: as if the rules of every interface had changed.
    bool revoke_always = false;
};

// Errors: kExhausted with one sentence that names every map that does not hold old and new together.
Result<MapImage> compile(const CompileInput& input);

// Elements of one map, of how many there may be. Arrays: highest element in use + 1.
struct MapNeed {
    MapId map;
    std::uint64_t need = 0;
    std::uint64_t limit = 0;
};
// What the image needs by itself, one row per map.
std::vector<MapNeed> needs(const MapImage& image, const Capacities& capacities);
// What the maps must hold while `previous` is replaced by `next`.
std::vector<MapNeed> needs_during_commit(const MapImage& previous, const MapImage& next, const Capacities& capacities);
// Key of a capacity in /etc/sgbpf/host.yaml, e.g. "prefixes".
std::string_view capacity_name(MapId map);

}  // namespace sgbpf
