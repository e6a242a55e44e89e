// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/commit.hpp"

#include <chrono>
#include <ctime>

namespace sgbpf {
std::uint64_t boot_time_now() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

namespace {

class Stopwatch {
public:
    // Microseconds since the last lap.
    std::uint64_t lap() {
        const auto now = std::chrono::steady_clock::now();
        const auto spent = std::chrono::duration_cast<std::chrono::microseconds>(now - last_);
        last_ = now;
        return static_cast<std::uint64_t>(spent.count());
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Writes one phase. `done` counts edits over all phases.
Result<void> write_phase(Datapath& datapath, const EditList& edits, const CommitHooks* hooks, std::size_t& done) {
    if (hooks == nullptr || !hooks->before_edit) {
        done += edits.size();
        return edits.empty() ? Result<void>{} : datapath.write(edits, 0, edits.size());
    }
    for (std::size_t i = 0; i < edits.size(); ++i, ++done) {
        if (!hooks->before_edit(done)) {
            return unexpected(make_error(ErrorCode::kRefused, "stopped"));
        }
        if (Result<void> written = datapath.write(edits, i, 1); !written) {
            return written;
        }
    }
    return {};
}

// Everything that may be written before the flip.
Result<void> announce(Datapath& datapath, const CommitPlan& plan, const CommitHooks* hooks, std::size_t& done) {
    if (Result<void> step = datapath.set_pending(plan.to); !step) {
        return step;
    }
    // Nothing counts in these slots before the flip.
    if (Result<void> step = datapath.reset_counters(plan.new_rule_slots, plan.new_interface_slots); !step) {
        return step;
    }
    // Lowered before the flip, raised after it: what is promised twice is nobody's.
    if (Result<void> step = datapath.set_reserved_flows(plan.reserved_during); !step) {
        return step;
    }
    Result<void> written = write_phase(datapath, plan.before, hooks, done);
    return written ? write_phase(datapath, plan.publish, hooks, done) : written;
}

}  // namespace

Result<CommitStats> run_commit(Datapath& datapath, const CommitPlan& plan, const CommitHooks* hooks) {
    CommitStats stats;
    Stopwatch watch;
    std::size_t done = 0;
    const auto run = [&]() -> Result<void> {
        if (Result<void> step = announce(datapath, plan, hooks, done); !step) {
            return step;
        }
        if (Result<void> step = datapath.flip(plan.to, plan.digest); !step) {
            return step;
        }
        stats.engine_us = watch.lap();
        // Also when nothing is left to clean: two single writes in a row must not meet in one packet.
        if (Result<void> step = datapath.wait_grace_period(); !step) {
            return step;
        }
        stats.grace_us = watch.lap();
        if (hooks != nullptr && hooks->before_cleanup) {
            hooks->before_cleanup();
        }
        if (Result<void> step = write_phase(datapath, plan.after, hooks, done); !step) {
            return step;
        }
        if (Result<void> step = datapath.set_reserved_flows(plan.reserved_after); !step) {
            return step;
        }
        return datapath.set_pending(0);
    };
    if (Result<void> result = run(); !result) {
        return unexpected(std::move(result).error());
    }
    stats.cleanup_us = watch.lap();
    stats.writes = done;
    return stats;
}

Result<CommitStats> run_unconfirmed_commit(Datapath& datapath, const CommitPlan& plan, std::uint32_t seconds) {
    CommitStats stats;
    Stopwatch watch;
    std::size_t done = 0;
    const auto run = [&]() -> Result<void> {
        if (Result<void> step = announce(datapath, plan, nullptr, done); !step) {
            return step;
        }
        // Not earlier: a rollback that fires while the edits are written would find nothing to undo.
        stats.undone_at = boot_time_now() + seconds * std::uint64_t{1'000'000'000};
        if (Result<void> step = datapath.arm_rollback(stats.undone_at); !step) {
            return step;
        }
        if (Result<void> step = datapath.flip(plan.to, plan.digest); !step) {
            return step;
        }
        auto control = datapath.control();
        if (!control) {
            return unexpected(std::move(control).error());
        }
        // The timer goes back again within a second, or the next command does: nothing to undo here.
        return control->confirm_state == SG_CONFIRM_ARMED
                   ? Result<void>{}
                   : unexpected(make_error(ErrorCode::kRefused, "the time for the confirmation was over at once"));
    };
    if (Result<void> result = run(); !result) {
        return unexpected(std::move(result).error());
    }
    stats.engine_us = watch.lap();
    stats.writes = done;
    return stats;
}

namespace {

Result<void> write_all(Datapath& datapath, const EditList& edits) {
    return edits.empty() ? Result<void>{} : datapath.write(edits, 0, edits.size());
}

}  // namespace

Result<MapImage> repair(Datapath& datapath, const MapImage* known) {
    Result<ControlState> control = datapath.control();
    if (!control) {
        return unexpected(std::move(control).error());
    }
    Result<RawMaps> maps = datapath.read_maps();
    if (!maps) {
        return unexpected(std::move(maps).error());
    }
    if (Result<void> step = write_all(datapath, undo_edits(*maps, control->generation)); !step) {
        return unexpected(std::move(step).error());
    }
    // For packets that read what was just taken back, and for a commit that flipped a moment ago.
    if (Result<void> step = datapath.wait_grace_period(); !step) {
        return unexpected(std::move(step).error());
    }
    const bool is_known = known != nullptr && digest(*known) == control->digest;
    MapImage image = is_known ? *known : image_from_maps(*maps, control->generation);
    if (Result<void> step = write_all(datapath, repair_edits(*maps, image)); !step) {
        return unexpected(std::move(step).error());
    }
    const std::uint64_t reserved = plan_commit(image, image, control->generation).reserved_after;
    if (Result<void> step = datapath.set_reserved_flows(reserved); !step) {
        return unexpected(std::move(step).error());
    }
    if (Result<void> step = datapath.set_pending(0); !step) {
        return unexpected(std::move(step).error());
    }
    return image;
}

}  // namespace sgbpf
