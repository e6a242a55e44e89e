// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What this host enforces now, put together from the kernel (the truth), the image cache and the
// applied state. Also finishes what a run that died left undone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "image/image.hpp"
#include "store/store.hpp"

namespace sgbpf {

struct HostState {
    bool kernel_empty = true;  // nothing is pinned; control and image are those of an empty host
    ControlState control;
    MapImage image;            // in force
    bool from_kernel = false;  // the image was read back: anonymous, and the cache is to be written again
    bool interrupted = false;  // reading only: a commit was interrupted and is not repaired yet
    bool unconfirmed = false;  // what is in force is undone by itself unless it is confirmed
    bool rolled_back = false;  // reading only: it was, and nobody has cleaned up yet
    std::optional<Applied> applied;
    bool applied_is_current = false;  // `applied` describes what the kernel enforces
    std::vector<Attachment> attachments;
    std::vector<std::string> notes;  // what was repaired
};

// kConfirm: as kWrite, but what waits for its confirmation is left as it is.
enum class Access { kRead, kWrite, kConfirm };

// kWrite: the caller holds the lock; an interrupted commit is repaired, an interrupted save finished, and
// what a rollback left is cleaned up; kRefused while a commit waits for its confirmation. `store` may be null
// with kRead. Cost: one file read; after a crash, a reading of all maps.
Result<HostState> load_host(Datapath& datapath, const Store* store, const Capacities& capacities, Access access);

std::string to_hex(const Digest& digest);

// Interface id -> slot, of all interfaces of the image.
std::map<std::string, std::uint32_t, std::less<>> interface_slots(const MapImage& image);
// Slot -> name of an interface, as the applied state has it; without one, empty.
std::map<std::uint32_t, std::string> interface_names(const HostState& host);

}  // namespace sgbpf
