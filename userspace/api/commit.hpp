// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Carries out a plan on a Datapath, and brings the maps back in order after an interrupted commit.
// Not for locks or files: the caller holds the lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "image/image.hpp"
#include "image/plan.hpp"

namespace sgbpf {

struct CommitHooks {
    // For tests: called before every edit with its number (before, publish and after counted through);
    // false stops there, as if the process had been killed.
    std::function<bool(std::size_t edit)> before_edit;
    // After the grace period: the new generation is in force, and rules that go still look alive to their flows.
    std::function<void()> before_cleanup{};
};

struct CommitStats {
    std::uint64_t writes = 0;
    std::uint64_t engine_us = 0;   // until the flip
    std::uint64_t grace_us = 0;    // waiting for packets of the old generation
    std::uint64_t cleanup_us = 0;  // settling and freeing afterwards
    std::uint64_t undone_at = 0;   // CLOCK_BOOTTIME, nanoseconds: of an unconfirmed commit
};

// pending := to; before; publish; flip; grace period; after; pending := 0. An error leaves pending set:
// repair() next. With before_edit edits are written one by one, and a stop is kRefused "stopped".
Result<CommitStats> run_commit(Datapath& datapath, const CommitPlan& plan, const CommitHooks* hooks = nullptr);

// As run_commit, but undone by the kernel itself `seconds` after its last edit unless disarmed: stops after
// the flip, so that every old value is still there. pending stays set. Precondition: the plan is
// reversible. kRefused: the time was over before the flip; the old rules are in force.
Result<CommitStats> run_unconfirmed_commit(Datapath& datapath, const CommitPlan& plan, std::uint32_t seconds);

// CLOCK_BOOTTIME now, nanoseconds.
std::uint64_t boot_time_now();

// Reads the maps back, removes what an interrupted commit left and clears pending. Changes no verdict.
// `known` (a cached image, or null) is taken for the image in force when its digest is that of sg_control;
// otherwise the image is what the maps say, anonymous. Returns the image in force; sg_control keeps its digest.
Result<MapImage> repair(Datapath& datapath, const MapImage* known = nullptr);

}  // namespace sgbpf
