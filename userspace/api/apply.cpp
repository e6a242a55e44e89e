// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// apply and diff: from a file to a commit, then to devices. Everything that can be refused is refused
// before the first write; rules are complete before a device is filtered (SG-13.3). For what a crash
// leaves, see transition.hpp; devices not yet attached or unbound are seen and done by the next run.
#include <algorithm>

#include <fmt/format.h>

#include "api/apply_checks.hpp"
#include "api/confirm.hpp"
#include "api/devices.hpp"
#include "api/engine_parts.hpp"
#include "api/reset.hpp"
#include "api/revoke.hpp"
#include "api/transition.hpp"
#include "base/strings.hpp"
#include "model/changes.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

std::string left_words(const Device& device) {
    return fmt::format("drops all traffic but ARP, ND and DHCP until `sgbpf detach {}`", device.name);
}

bool claimed(const DeviceSearch& devices, const Device& device) {
    return std::any_of(devices.found.begin(), devices.found.end(),
                       [&](const auto& found) { return same_device(found.second, device); });
}

std::string name_of_interface(const std::optional<Applied>& applied, const std::string& id) {
    if (applied) {
        for (const auto& [name, interface] : applied->state.interfaces) {
            if (interface.id == id) {
                return name;
            }
        }
    }
    return id;
}

// Attached devices that no interface of the file claims. Those that are unbound already left earlier.
void find_leaving(Prepared& work) {
    const HostState& host = work.transition.host;
    for (const Attachment& attachment : host.attachments) {
        if (attachment.device.ifindex == 0 || attachment.interface_slot == 0 || attachment.hook.empty() ||
            claimed(work.devices, attachment.device)) {
            continue;
        }
        if (host.image.interface_at(attachment.interface_slot) == nullptr) {
            work.left_behind.push_back(attachment);
            continue;
        }
        const std::string device = device_words(attachment.device);
        const std::string name = name_of_interface(host.applied, attachment.interface_id);
        const bool gone = work.transition.desired.interfaces.count(name) == 0;
        work.plan.leaving.push_back(
            fmt::format("{} {}; it then {}", device,
                        (gone ? "leaves the file with interface " : "is no longer the device of interface ") + name,
                        left_words(attachment.device)));
        work.leaving.push_back(attachment);
    }
}

void find_unattached(Prepared& work) {
    const HostState& host = work.transition.host;
    for (const auto& [name, device] : work.devices.found) {
        const Attachment* attachment = attachment_of_device(host.attachments, device);
        const Interface& interface = work.transition.desired.interfaces.at(name);
        const auto slot = work.transition.slots.find(interface.id);
        // The other role's programs are at the other hooks: there is no way over without a gap.
        if (attachment != nullptr && !attachment->hook.empty() && attachment->role != interface.role) {
            work.devices.problems.push_back(make_error(
                ErrorCode::kRefused,
                fmt::format("interface {}: {} is attached in role {} and cannot become role {} while it filters; "
                            "`sgbpf detach {}` first",
                            name, device_words(device), role_text(attachment->role), role_text(interface.role),
                            device.name)));
            continue;
        }
        if (attachment == nullptr || !attachment->problem.empty() || slot == work.transition.slots.end() ||
            attachment->interface_slot != slot->second) {
            work.to_attach.push_back(name);
            work.plan.attaching.push_back(name + ": " + device_words(device));
        }
    }
}

// A quarantine is the operator's, not the file's: it stays.
void keep_quarantines(Prepared& work, const HostState& host, State& desired) {
    if (!host.applied) {
        return;
    }
    for (auto& [name, interface] : desired.interfaces) {
        const auto before = host.applied->state.interfaces.find(name);
        if (before != host.applied->state.interfaces.end() && before->second.quarantine) {
            interface.quarantine = true;
            work.notes.push_back(fmt::format("{} is quarantined and stays so; `sgbpf attach {}` ends it", name, name));
        }
    }
}

Result<void> count_flows_of_leaving(Datapath& datapath, Prepared& work) {
    if (work.leaving.empty()) {
        return {};
    }
    auto flows = datapath.read_flows({});
    if (!flows) {
        return unexpected(flows.error());
    }
    for (const sg_flow& flow : flows->flows) {
        const bool ends = std::any_of(work.leaving.begin(), work.leaving.end(), [&](const Attachment& attachment) {
            return attachment.interface_slot == flow.key.interface_slot;
        });
        work.plan.flows_of_leaving += ends ? 1 : 0;
    }
    return {};
}

// An unconfirmed commit ends no flow: that would outlive its rollback.
TransitionOptions transition_options(const ApplyOptions& options) {
    TransitionOptions wanted;
    wanted.reversible = options.confirm_seconds != 0;
    wanted.revoke = wanted.reversible ? std::optional(Revocation::kKeep) : options.revoke;
    wanted.revoke_always = options.revoke && *options.revoke != Revocation::kKeep;
    return wanted;
}

Result<void> prepare(const Engine::Parts& parts, const std::string& file, Access access,
                     const TransitionOptions& options, Prepared& work) {
    auto start = std::chrono::steady_clock::now();
    auto parsed = parse_state_file(file);
    if (!parsed) {
        Error error = parsed.error();
        error.message += "; nothing changed";
        return unexpected(std::move(error));
    }
    work.timing.parse_ms = elapsed_ms(start);
    work.plan.input = input_report(*parsed, parts.host.policy);
    if (!parsed->ok()) {
        return {};
    }
    State desired = std::move(parsed->state);
    auto host = parts.load(access);
    if (!host) {
        return unexpected(host.error());
    }
    start = std::chrono::steady_clock::now();
    work.plan.notes = host->notes;
    keep_quarantines(work, *host, desired);
    auto transition = plan_transition(parts, std::move(*host), std::move(desired), options);
    if (!transition) {
        return unexpected(transition.error());
    }
    work.transition = std::move(*transition);
    const Transition& next = work.transition;
    work.plan.writes = next.writes();
    if (!next.same_state) {
        for (const Change& change : next.changes) {
            work.plan.changes.push_back(change.to_string());
        }
    }
    if (next.writes() != 0) {
        work.plan.interfaces = touched_interfaces(next);
    }
    work.timing.engine_ms = elapsed_ms(start);
    auto devices = find_devices(*parts.datapath, next.desired.interfaces);
    if (!devices) {
        return unexpected(devices.error());
    }
    work.devices = std::move(*devices);
    for (const auto& [name, why] : work.devices.waiting) {
        work.plan.waiting.push_back(name + ": " + why);
    }
    find_leaving(work);
    find_unattached(work);
    return count_flows_of_leaving(*parts.datapath, work);
}

// A device that goes to another interface is taken from the old one first, all of them before the first is
// attached again: two may have changed places. In between they drop.
void unbind_moved(const Engine::Parts& parts, const Prepared& work, ApplyReport& report) {
    for (const std::string& name : work.to_attach) {
        const Device& device = work.devices.found.at(name);
        const Attachment* before = moved_attachment(work, name);
        if (before == nullptr) {
            continue;
        }
        if (const auto unbound = parts.datapath->unbind(*before); !unbound) {
            report.attach_errors.push_back(
                fmt::format("{} is still bound: {}", device_words(device), unbound.error().message));
        }
    }
}

// Devices that an interrupted apply left bound to a slot without an interface. Before the commit, which may
// give the slot to another interface: the device would be judged as that one.
Result<void> unbind_left_behind(const Engine::Parts& parts, const Prepared& work, ApplyReport& report) {
    for (const Attachment& attachment : work.left_behind) {
        const std::string device = device_words(attachment.device);
        if (auto unbound = parts.datapath->unbind(attachment); !unbound) {
            Error error = std::move(unbound).error();
            error.message =
                fmt::format("{} is still bound to an interface that left: {}; nothing changed", device, error.message);
            return unexpected(std::move(error));
        }
        report.notes.push_back(fmt::format("{} stays attached and {}", device, left_words(attachment.device)));
    }
    return {};
}

// A device that cannot be unbound keeps a slot without rules: it drops all the same.
void unbind_leaving(const Engine::Parts& parts, const Prepared& work, ApplyReport& report) {
    for (const Attachment& attachment : work.leaving) {
        const std::string device = device_words(attachment.device);
        if (const auto unbound = parts.datapath->unbind(attachment); !unbound) {
            report.attach_errors.push_back(fmt::format("{} is still bound: {}", device, unbound.error().message));
            continue;
        }
        report.notes.push_back(fmt::format("{} stays attached and {}", device, left_words(attachment.device)));
    }
}

void attach_found(const Engine::Parts& parts, const ApplyOptions& options, const Prepared& work, ApplyReport& report) {
    const Transition& transition = work.transition;
    for (const std::string& name : work.to_attach) {
        const Interface& interface = transition.desired.interfaces.at(name);
        const Device& device = work.devices.found.at(name);
        const std::uint32_t slot = transition.slots.find(interface.id)->second;
        // Only a device that nothing of ours filters now passes everything after a rollback.
        const Attachment* before = attachment_of_device(transition.host.attachments, device);
        const bool is_new = before == nullptr || before->hook.empty();
        const std::uint64_t since = options.confirm_seconds != 0 && is_new ? transition.commit.to : 0;
        if (auto open = parts.open_adoption(slot, options.adopt_seconds); !open) {
            report.attach_errors.push_back(fmt::format("{}: {}", name, open.error().message));
            continue;
        }
        auto attached = parts.attach_device(transition.host, interface, device, slot, options.hook, since);
        if (!attached) {
            report.attach_errors.push_back(
                fmt::format("{}: {} is NOT filtered: {}", name, device_words(device), attached.error().message));
            continue;
        }
        parts.journal(options.who,
                      fmt::format("attach {} {}{}", name, device_words(device), adopting_words(options.adopt_seconds)),
                      to_hex(transition.host.control.digest), &report.notes);
        attached->adopting_s = options.adopt_seconds;
        report.attached.push_back(std::move(*attached));
    }
    if (options.adopt_seconds != 0 && report.attached.empty()) {
        report.notes.emplace_back(
            "--adopt: this apply attached no device; sgbpf attach NAME --adopt is for one that is attached");
    }
}

Result<void> carry_out_plan(const Engine::Parts& parts, const ApplyOptions& options, const std::string& file,
                            Prepared& work, ApplyReport& report) {
    Transition& transition = work.transition;
    std::function<void()> reset;
    if (const auto which = revoked_flows(transition.host.image, transition.next, transition.desired);
        which && options.reset) {
        reset = [&parts, &transition, &report, which] {
            auto ended = end_with_resets(parts, transition.next, transition.host.attachments, *which);
            if (ended) {
                report.ended = *ended;
            } else {
                report.notes.push_back("warning: no resets are sent: " + ended.error().message);
            }
        };
    }
    auto outcome = carry_out(parts, transition, file, options.confirm_seconds, reset);
    if (!outcome) {
        return unexpected(outcome.error());
    }
    report.committed = true;
    report.undone_at = outcome->undone_at == 0 ? "" : boot_time_text(outcome->undone_at);
    report.writes = outcome->writes;
    report.generation = transition.host.control.generation;
    report.timing.engine_ms += outcome->engine_ms;
    report.timing.grace_ms = outcome->grace_ms;
    report.notes.insert(report.notes.end(), outcome->notes.begin(), outcome->notes.end());
    parts.journal(options.who,
                  fmt::format("{}: generation {}, {}, {}", options.command, report.generation,
                              counted(work.plan.changes.size(), "change"), counted(report.writes, "write")),
                  to_hex(transition.host.control.digest), &report.notes);
    return {};
}

void end_flows_of_gone_rules(const Engine::Parts& parts, const ApplyOptions& options, const Transition& transition,
                             ApplyReport& report) {
    auto ended = end_revoked_flows(parts, transition.host.image, transition.next, transition.desired);
    if (!ended) {
        report.notes.push_back("warning: flows of rules that are gone go on: " + ended.error().message +
                               "; `sgbpf flows flush` ends them");
        return;
    }
    report.ended.flows += ended->flows;
    if (report.ended.flows != 0 || report.ended.resets) {
        parts.journal(options.who, fmt::format("{}: {}", options.command, ended_words(report.ended)),
                      to_hex(transition.host.control.digest), &report.notes);
    }
}

// Unprivileged diff: against the file of what was applied.
Result<Plan> diff_with_applied(const std::string& file, const Store* store, const HostPolicy& host) {
    auto parsed = parse_state_file(file);
    if (!parsed) {
        return unexpected(parsed.error());
    }
    Plan plan;
    plan.compared_with_kernel = false;
    plan.input = input_report(*parsed, host);
    if (!parsed->ok()) {
        return plan;
    }
    State before;
    if (store != nullptr) {
        auto applied = store->load_applied();
        if (!applied) {
            return unexpected(applied.error());
        }
        if (*applied) {
            before = std::move((*applied)->state);
        }
    }
    for (const Change& change : changes(before, parsed->state)) {
        plan.changes.push_back(change.to_string());
    }
    return plan;
}

}  // namespace

Result<Plan> Engine::diff(const std::string& file) {
    if (parts_->datapath == nullptr) {
        return diff_with_applied(file, parts_->store, parts_->host.policy);
    }
    Prepared work;
    if (auto prepared = prepare(*parts_, file, Access::kRead, {}, work); !prepared) {
        return unexpected(prepared.error());
    }
    if (!work.devices.problems.empty()) {
        return unexpected(refusal_of(work.devices.problems));
    }
    if (work.transition.host.interrupted) {
        work.plan.notes.emplace_back("a commit was interrupted; apply repairs it");
    }
    work.plan.notes.insert(work.plan.notes.end(), work.notes.begin(), work.notes.end());
    return std::move(work.plan);
}

Result<ApplyReport> Engine::apply(const std::string& file, const ApplyOptions& options) {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    if (auto refused = check_revocation(options); !refused) {
        return unexpected(refused.error());
    }
    Prepared work;
    if (auto prepared = prepare(*parts_, file, Access::kWrite, transition_options(options), work); !prepared) {
        return unexpected(prepared.error());
    }
    ApplyReport report;
    if (!work.plan.input.errors.empty()) {
        report.plan = std::move(work.plan);
        return report;
    }
    if (auto refused = check_prepared(work, options); !refused) {
        return unexpected(refused.error());
    }
    if (auto refused = check_reset(options, work.transition.desired, parts_->host.policy); !refused) {
        return unexpected(refused.error());
    }
    if (auto guarded = guard_session(*parts_, work, options); !guarded) {
        return unexpected(guarded.error());
    }
    report.timing = work.timing;
    report.generation = work.transition.host.control.generation;
    report.notes = work.notes;
    const bool unconfirmed = options.confirm_seconds != 0 &&
                             (work.transition.changes_anything() || !work.leaving.empty() || !work.to_attach.empty());
    const bool commits = work.transition.changes_anything() || unconfirmed;
    if ((commits || !work.leaving.empty() || !work.to_attach.empty()) && options.before_write) {
        options.before_write(work.plan);
    }
    if (auto unbound = unbind_left_behind(*parts_, work, report); !unbound) {
        return unexpected(unbound.error());
    }
    if (commits) {
        if (auto done = carry_out_plan(*parts_, options, file, work, report); !done) {
            return unexpected(done.error());
        }
    }
    if (!unconfirmed) {  // else: what cannot be undone waits for the confirmation
        unbind_leaving(*parts_, work, report);
        unbind_moved(*parts_, work, report);
    }
    if (commits && !unconfirmed) {
        finish(*parts_, work.transition, &report.notes);
        end_flows_of_gone_rules(*parts_, options, work.transition, report);
    }
    if (unconfirmed && revokes_by_itself(work.transition.desired, parts_->host.policy)) {
        report.notes.emplace_back(
            "flows of rules that are gone go on until `sgbpf confirm`: a rollback could not bring "
            "them back");
    }
    attach_found(*parts_, options, work, report);
    report.plan = std::move(work.plan);
    return report;
}

}  // namespace sgbpf
