// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/confirm.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "api/commit.hpp"
#include "api/devices.hpp"
#include "api/engine_parts.hpp"
#include "api/revoke.hpp"
#include "api/transition.hpp"
#include "base/strings.hpp"

namespace sgbpf {

std::string boot_time_text(std::uint64_t boot_ns) {
    const auto ahead = std::chrono::nanoseconds(static_cast<std::int64_t>(boot_ns - boot_time_now()));
    const auto wall = std::chrono::system_clock::now() + std::chrono::round<std::chrono::seconds>(ahead);
    return fmt::format("{:%H:%M:%S}", fmt::localtime(std::chrono::system_clock::to_time_t(wall)));
}

namespace {

// Flows that only the undone commit admitted: the slots they name are free in `kept` and will be given away.
Result<void> end_its_flows(Datapath& datapath, const MapImage& kept) {
    FlowFilter what;
    what.choose = [&](const sg_flow& flow) {
        return kept.interface_at(flow.key.interface_slot) == nullptr || kept.rule_id(flow.rule).empty();
    };
    if (auto ended = datapath.flush_flows(what); !ended) {
        return unexpected(ended.error());
    }
    return {};
}

}  // namespace

Result<void> clean_up_rollback(Datapath& datapath, const MapImage* known, std::vector<std::string>& notes) {
    // The timer first: it would store the old generation again after the next commit.
    if (auto stopped = datapath.disarm_rollback(); !stopped) {
        return unexpected(stopped.error());
    }
    auto control = datapath.control();
    auto attachments = datapath.attachments();
    if (!control || !attachments) {
        return unexpected(control ? attachments.error() : control.error());
    }
    const std::uint64_t undone = control->pending;
    if (undone != 0 && control->generation == undone) {
        // It flipped after the timer had fired, and the timer did not come by again.
        if (auto back = datapath.flip(control->confirm_from, control->digest_before); !back) {
            return back;
        }
        control->generation = control->confirm_from;
        control->digest = control->digest_before;
    }
    for (const Attachment& attachment : *attachments) {
        if (attachment.since <= control->generation) {
            continue;
        }
        if (auto detached = datapath.detach(attachment); !detached) {
            return detached;
        }
        notes.push_back(fmt::format("{} is detached again: the apply that attached it was not confirmed",
                                    device_words(attachment.device)));
    }
    auto kept = repair(datapath, known != nullptr && digest(*known) == control->digest ? known : nullptr);
    if (!kept) {
        return unexpected(kept.error());
    }
    const std::uint64_t next = std::max(undone, control->generation) + 1;
    auto done = end_its_flows(datapath, *kept);
    done = done ? datapath.flip(next, control->digest) : done;
    done = done ? datapath.forget_rollback() : done;
    if (done) {
        notes.push_back(fmt::format("generation {} was not confirmed and is undone: the rules from before it are in "
                                    "force, as generation {}",
                                    undone, next));
    }
    return done;
}

namespace {

Error nothing_waits() {
    return make_error(ErrorCode::kRefused, "nothing waits for a confirmation");
}

// Devices of interfaces that the confirmed state no longer has: bound to no interface from now on.
void unbind_without_interface(const Engine::Parts& parts, const HostState& host, std::vector<std::string>& notes) {
    for (const Attachment& attachment : host.attachments) {
        const bool bound = attachment.device.ifindex != 0 && attachment.interface_slot != 0;
        if (!bound || host.image.interface_at(attachment.interface_slot) != nullptr) {
            continue;
        }
        const std::string device = device_words(attachment.device);
        if (auto unbound = parts.datapath->unbind(attachment); !unbound) {
            notes.push_back(fmt::format("warning: {} is still bound: {}", device, unbound.error().message));
        } else {
            notes.push_back(fmt::format("{} stays attached and drops all traffic but ARP, ND and DHCP until `sgbpf "
                                        "detach {}`",
                                        device, attachment.device.name));
        }
    }
}

// What the unconfirmed commit did not do to flows, for interfaces that do not keep them: a commit of its own.
void revoke_confirmed(const Engine::Parts& parts, HostState host, ConfirmReport& report) {
    if (!host.applied || !host.applied_is_current || !revokes_by_itself(host.applied->state, parts.host.policy)) {
        return;
    }
    State state = host.applied->state;
    const std::string source = host.applied->source;
    const auto run = [&]() -> Result<FlowsEnded> {
        auto transition = plan_transition(parts, std::move(host), std::move(state), {.revoke_always = true});
        if (!transition) {
            return unexpected(transition.error());
        }
        auto outcome = carry_out(parts, *transition, source);
        if (!outcome) {
            return unexpected(outcome.error());
        }
        report.generation = transition->host.control.generation;
        report.notes.insert(report.notes.end(), outcome->notes.begin(), outcome->notes.end());
        finish(parts, *transition, &report.notes);
        return end_revoked_flows(parts, transition->host.image, transition->next, transition->desired);
    };
    const auto ended = run();
    if (!ended) {
        report.notes.push_back("warning: flows of rules that are gone go on: " + ended.error().message);
    } else if (ended->flows != 0) {
        report.notes.push_back(ended_words(*ended));
    }
}

}  // namespace

Result<ConfirmReport> Engine::confirm(bool undo) {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    auto host = parts_->load(Access::kConfirm);
    if (!host) {
        return unexpected(host.error());
    }
    ConfirmReport report;
    report.notes = host->notes;
    report.generation = host->control.generation;
    // A confirmation that died after the timer was stopped: what is in force stays, the rest is done below.
    const bool kept_already = host->control.confirm_state == SG_CONFIRM_NONE && host->control.pending != 0 &&
                              host->control.pending == host->control.generation;
    if (kept_already && undo) {
        return unexpected(make_error(ErrorCode::kRefused, "it is confirmed already, by a run that did not finish; "
                                                          "`sgbpf confirm` finishes it"));
    }
    if (!host->unconfirmed && !kept_already) {
        if (host->notes.empty()) {
            return unexpected(nothing_waits());
        }
        report.rolled_back = true;  // too late: load() has cleaned up
        return report;
    }
    Datapath& datapath = *parts_->datapath;
    auto kept = kept_already ? Result<bool>(true) : undo ? datapath.roll_back_now() : datapath.disarm_rollback();
    if (!kept) {
        return unexpected(kept.error());
    }
    // From here on it is an ordinary commit whose cleaning up is left: a run that dies now leaves what an
    // interrupted apply leaves. Loading again for writing finishes it: repair, promotion of what is staged.
    auto finished = parts_->load(Access::kWrite);
    if (!finished) {
        return unexpected(finished.error());
    }
    if (undo || !*kept) {
        report.notes = finished->notes;
        report.generation = finished->control.generation;
        report.rolled_back = true;
        parts_->journal(caller_text(), fmt::format("generation {} is in force again", report.generation),
                        to_hex(finished->control.digest), &report.notes);
        return report;
    }
    for (const Attachment& attachment : finished->attachments) {
        if (attachment.since == 0) {
            continue;
        }
        if (auto settled = datapath.keep_binding(attachment); !settled) {
            report.notes.push_back("warning: " + settled.error().message);
        }
    }
    unbind_without_interface(*parts_, *finished, report.notes);
    finish_confirmed(*parts_, *finished, &report.notes);
    parts_->journal(caller_text(), fmt::format("confirm generation {}", report.generation),
                    to_hex(finished->control.digest), &report.notes);
    revoke_confirmed(*parts_, std::move(*finished), report);
    return report;
}

}  // namespace sgbpf
