// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// attach, detach, quarantine, remove_all: devices of the applied state, and none at all.
#include <algorithm>

#include <fmt/format.h>

#include "api/devices.hpp"
#include "api/engine_parts.hpp"
#include "api/session_guard.hpp"
#include "api/transition.hpp"
#include "base/strings.hpp"

namespace sgbpf {

namespace {

// Sets or ends the quarantine of one interface: a commit of its own. Writes nothing yet.
Result<Transition> plan_quarantine(const Engine::Parts& parts, HostState host, const std::string& name, bool on) {
    State desired = host.applied->state;
    desired.interfaces.at(name).quarantine = on;
    return plan_transition(parts, std::move(host), std::move(desired));
}

// Carries it out, and makes `host` what is in force then.
Result<void> set_quarantine(const Engine::Parts& parts, Transition transition, HostState& host,
                            const std::string& command) {
    if (transition.changes_anything()) {
        auto outcome = carry_out(parts, transition, transition.host.applied->source);
        if (!outcome) {
            return unexpected(outcome.error());
        }
        parts.journal(caller_text(), command, to_hex(transition.host.control.digest), &outcome->notes);
        finish(parts, transition, &outcome->notes);
        for (const std::string& note : outcome->notes) {
            parts.warn(note.starts_with("warning: ") ? note.substr(9) : note);
        }
    }
    host = std::move(transition.host);
    host.image = std::move(transition.next);
    host.applied->state = std::move(transition.desired);
    host.applied_is_current = true;
    return {};
}

Result<void> require_current(const HostState& host) {
    if (host.kernel_empty || !host.applied) {
        return unexpected(make_error(ErrorCode::kNotFound, "nothing is applied on this host; sgbpf apply FILE"));
    }
    if (!host.applied_is_current) {
        return unexpected(make_error(
            ErrorCode::kRefused, "the kernel does not enforce what the applied state says; sgbpf apply FILE first"));
    }
    return {};
}

// What `name` means: an interface's attachment, or a device's. Several devices of one name in several
// namespaces are told apart by the interface.
Result<std::vector<Attachment>> attachments_named(const HostState& host, const std::string& name) {
    std::vector<Attachment> found;
    std::string id;
    if (host.applied) {
        const auto at = host.applied->state.interfaces.find(name);
        id = at == host.applied->state.interfaces.end() ? "" : at->second.id;
    }
    std::vector<std::string> known;
    for (const Attachment& attachment : host.attachments) {
        const bool by_id = !id.empty() && attachment.interface_id == id;
        if (by_id || (id.empty() && attachment.device.name == name)) {
            found.push_back(attachment);
        }
        known.push_back(attachment.device.name);
    }
    if (found.empty() && !id.empty()) {
        return unexpected(make_error(ErrorCode::kNotFound, "interface " + name + " has no attached device"));
    }
    if (found.empty()) {
        if (host.applied) {
            const auto interfaces = interface_names(host.applied->state);
            known.insert(known.end(), interfaces.begin(), interfaces.end());
        }
        return unexpected(make_error(ErrorCode::kNotFound, fmt::format("no interface and no attached device {}{}",
                                                                       printable(name), did_you_mean(name, known))));
    }
    if (found.size() > 1 && id.empty()) {
        return unexpected(
            make_error(ErrorCode::kInvalid,
                       fmt::format("{} namespaces have an attached {}; name the interface", found.size(), name)));
    }
    return found;
}

DetachReport report_of(const HostState& host, const Attachment& attachment) {
    DetachReport report;
    report.device = device_words(attachment.device);
    if (report.device.empty()) {
        report.device = "(a device that is gone)";
    }
    if (host.applied) {
        for (const auto& [name, interface] : host.applied->state.interfaces) {
            if (interface.id == attachment.interface_id) {
                report.interface = name;
            }
        }
    }
    return report;
}

// Everything passes now, and nothing of it is to come back by surprise. Without a record there is none.
void forget_quarantines(const Store& store) {
    auto applied = store.load_applied();
    if (!applied || !*applied) {
        return;
    }
    for (auto& [name, interface] : (*applied)->state.interfaces) {
        interface.quarantine = false;
    }
    static_cast<void>(store.save_applied(**applied).has_value());
}

}  // namespace

Result<AttachReport> Engine::attach(const std::string& interface, HookChoice hook,
                                    const std::optional<OperatorSession>& session, std::uint32_t adopt_seconds) {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    auto host = parts_->load(Access::kWrite);
    if (!host) {
        return unexpected(host.error());
    }
    std::map<std::string, Interface> wanted;
    if (!interface.empty()) {
        auto named = parts_->interface_named(*host, interface);
        if (!named) {
            return unexpected(named.error());
        }
        wanted.emplace(interface, **named);
    }
    if (auto current = require_current(*host); !current) {
        return unexpected(current.error());
    }
    if (interface.empty()) {
        wanted = host->applied->state.interfaces;
    }
    auto devices = find_devices(*parts_->datapath, wanted);
    if (!devices) {
        return unexpected(devices.error());
    }
    if (!interface.empty() && !devices->problems.empty()) {
        return unexpected(devices->problems.front());
    }
    // What is going to be in force: an attach by name is the way out of a quarantine.
    std::optional<Transition> unquarantined;
    if (!interface.empty() && wanted.begin()->second.quarantine) {
        auto planned = plan_quarantine(*parts_, std::move(*host), interface, false);
        if (!planned) {
            return unexpected(planned.error());
        }
        unquarantined = std::move(*planned);
    }
    if (session) {
        const HostState& now = unquarantined ? unquarantined->host : *host;
        auto guarded = check_session(*parts_, *session,
                                     {unquarantined ? unquarantined->desired : now.applied->state,
                                      unquarantined ? unquarantined->next : now.image, devices->found, now});
        if (!guarded) {
            return unexpected(guarded.error());
        }
    }
    if (unquarantined) {
        auto ended =
            set_quarantine(*parts_, std::move(*unquarantined), *host, "attach " + interface + ": quarantine ended");
        if (!ended) {
            return unexpected(ended.error());
        }
    }
    AttachReport report;
    for (const auto& [name, why] : devices->waiting) {
        report.waiting.push_back(name + ": " + why);
    }
    for (const Error& problem : devices->problems) {
        report.errors.push_back(problem.message);
    }
    const auto slots = interface_slots(host->image);
    for (const auto& [name, device] : devices->found) {
        const Interface& one = wanted.at(name);
        const auto slot = slots.find(one.id);
        if (slot == slots.end()) {
            report.errors.push_back(name + " is not loaded; sgbpf apply FILE");
            continue;
        }
        // Before the first packet is judged: a connection that is refused once may not try again in time.
        if (auto open = parts_->open_adoption(slot->second, adopt_seconds); !open) {
            report.errors.push_back(fmt::format("{}: {}", name, open.error().message));
            continue;
        }
        auto attached = parts_->attach_device(*host, one, device, slot->second, hook);
        if (!attached) {
            report.errors.push_back(
                fmt::format("{}: {} is NOT filtered: {}", name, device_words(device), attached.error().message));
            continue;
        }
        attached->adopting_s = adopt_seconds;
        if (!attached->already || adopt_seconds != 0) {
            parts_->journal(caller_text(),
                            fmt::format("attach {} {}{}", name, device_words(device), adopting_words(adopt_seconds)),
                            to_hex(host->control.digest), nullptr);
        }
        report.attached.push_back(std::move(*attached));
    }
    return report;
}

Result<std::vector<DetachReport>> Engine::detach_preview(const std::string& name) {
    auto host = parts_->load(Access::kRead);
    if (!host) {
        return unexpected(host.error());
    }
    auto found = attachments_named(*host, name);
    if (!found) {
        return unexpected(found.error());
    }
    std::vector<DetachReport> reports;
    for (const Attachment& attachment : *found) {
        reports.push_back(report_of(*host, attachment));
    }
    return reports;
}

Result<std::vector<DetachReport>> Engine::detach(const std::string& name, bool quarantine,
                                                 const std::optional<OperatorSession>& session) {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    auto host = parts_->load(Access::kWrite);
    if (!host) {
        return unexpected(host.error());
    }
    auto found = attachments_named(*host, name);
    if (!found) {
        return unexpected(found.error());
    }
    if (quarantine && session) {
        auto guarded = check_session_leaves(*parts_, *session, *found, "a quarantine drops everything");
        if (!guarded) {
            return unexpected(guarded.error());
        }
    }
    std::vector<DetachReport> reports;
    for (const Attachment& attachment : *found) {
        DetachReport report = report_of(*host, attachment);
        if (quarantine) {
            if (report.interface.empty()) {
                return unexpected(make_error(
                    ErrorCode::kRefused,
                    report.device + " belongs to no interface and drops all traffic but ARP, ND and DHCP already"));
            }
            if (auto current = require_current(*host); !current) {
                return unexpected(current.error());
            }
            auto planned = plan_quarantine(*parts_, std::move(*host), report.interface, true);
            if (!planned) {
                return unexpected(planned.error());
            }
            auto set = set_quarantine(*parts_, std::move(*planned), *host, "quarantine " + report.interface);
            if (!set) {
                return unexpected(set.error());
            }
            report.quarantined = true;
        } else {
            if (auto detached = parts_->datapath->detach(attachment); !detached) {
                return unexpected(detached.error());
            }
            parts_->journal(caller_text(), fmt::format("detach {} {}", report.interface, report.device),
                            to_hex(host->control.digest), nullptr);
        }
        reports.push_back(std::move(report));
    }
    return reports;
}

Result<std::vector<std::string>> Engine::remove_all() {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    std::vector<std::string> devices;
    // Also when pins are damaged: this is the way out.
    if (auto empty = parts_->datapath->is_empty(); empty && !*empty) {
        if (parts_->datapath->open(parts_->host.capacities, false)) {
            if (auto attachments = parts_->datapath->attachments(); attachments) {
                for (const Attachment& attachment : *attachments) {
                    if (attachment.device.ifindex != 0) {
                        devices.push_back(device_words(attachment.device));
                    }
                }
            }
        }
    }
    if (auto removed = parts_->datapath->remove_all(); !removed) {
        return unexpected(removed.error());
    }
    forget_quarantines(*parts_->store);
    parts_->journal(caller_text(), fmt::format("remove-all: {}", counted(devices.size(), "device")), "", nullptr);
    return devices;
}

}  // namespace sgbpf
