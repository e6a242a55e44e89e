// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// status: does this host enforce what it should? Every reason why not is a condition with a sentence.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "api/confirm.hpp"
#include "api/devices.hpp"
#include "api/engine_parts.hpp"
#include "base/strings.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

constexpr std::uint64_t kNearlyFullPercent = 90;

struct Look {
    const HostState& host;
    DeviceSearch devices;
    std::map<std::uint32_t, std::uint64_t> flows;  // by interface slot
    std::map<std::string, std::uint32_t, std::less<>> slots;
};

void say(StatusReport& report, bool unhealthy, std::string name, std::string text) {
    report.conditions.push_back({unhealthy, std::move(name), std::move(text)});
}

// SG-5.51: too little room is another trouble than a missing rule.
void say_allowance(StatusReport& report, const std::string& name, const AllowanceReport& allowance) {
    const auto nearly = [](std::uint64_t used, std::uint64_t limit) {
        return limit != 0 && used * 100 > limit * kNearlyFullPercent;
    };
    if (nearly(allowance.flows, allowance.max_flows) || nearly(allowance.opening, allowance.max_opening)) {
        say(report, true, "allowance-nearly-used",
            fmt::format(
                "{} has {} of at most {} flows, {} of at most {} of them unanswered; new ones are refused at the "
                "limit; tracking.max_flows and max_opening set it",
                name, allowance.flows, allowance.max_flows, allowance.opening, allowance.max_opening));
    }
    if (allowance.exceeded != 0) {
        say(report, false, "allowance-exceeded",
            fmt::format("{}: {} dropped so far for lack of an entry of the flow table; {} can be opened now", name,
                        counted(allowance.exceeded, "packet"), counted(allowance.available, "flow")));
    }
    if (allowance.corrected != 0) {
        say(report, false, "account-corrected",
            fmt::format("{}: a recount of its flows found another number {}; please report it", name,
                        counted(allowance.corrected, "time")));
    }
    if (allowance.adopting_s != 0) {
        say(report, false, "adopting",
            fmt::format("{} takes up connections that run already for {} s more; {} so far", name, allowance.adopting_s,
                        counted(allowance.adopted, "flow")));
    }
}

void say_pool(StatusReport& report, const AccountsSnapshot& accounts) {
    const sg_account& pool = accounts.accounts.at(0);
    if (pool.limit != 0 && std::uint64_t{pool.flows} * 100 > std::uint64_t{pool.limit} * kNearlyFullPercent) {
        say(report, true, "pool-nearly-full",
            fmt::format(
                "{} of the {} flows that all interfaces share are in use; raise \"flows\" in host.yaml, or what "
                "interfaces reserve",
                pool.flows, pool.limit));
    }
}

std::uint64_t drops(const sg_counters& counters) {
    std::uint64_t sum = 0;
#define SG_ADD_DROPS(number, symbol, name, verdict, sentence)                                                          \
    if ((verdict) == SG_DROP) {                                                                                        \
        sum += counters.packets[SG_IN][number] + counters.packets[SG_OUT][number];                                     \
    }
    SG_REASONS(SG_ADD_DROPS)
#undef SG_ADD_DROPS
    return sum;
}

void say_foreign(StatusReport& report, const std::string& who, const Attachment& attachment) {
    if (attachment.foreign_before.empty()) {
        return;
    }
    std::string names;
    for (const std::string& name : attachment.foreign_before) {
        names += (names.empty() ? "" : ", ") + name;
    }
    say(report, true, "foreign-program-first",
        fmt::format("{}: foreign program {} runs before ours at {} and can accept what the rules refuse; remove it, or "
                    "`sgbpf detach` and `sgbpf attach` to be first again",
                    who, names, device_words(attachment.device)));
}

// XDP cannot accept past a tcx or clsact program, but send a packet elsewhere or change it.
void say_foreign_xdp(StatusReport& report, const std::string& who, const Attachment& attachment) {
    if (!attachment.foreign_xdp.empty()) {
        say(report, false, "foreign-xdp-program",
            fmt::format(
                "{}: the foreign XDP program {} sees the packets that arrive at {} before ours; what it drops or "
                "redirects is not judged",
                who, attachment.foreign_xdp, device_words(attachment.device)));
    }
}

// The attachment that serves an interface: at its device if it has one, else by id.
const Attachment* attachment_of(const Look& look, const std::string& name, const Interface& interface) {
    const auto device = look.devices.found.find(name);
    const Attachment* stale = nullptr;
    for (const Attachment& attachment : look.host.attachments) {
        if (device != look.devices.found.end() && same_device(attachment.device, device->second)) {
            return &attachment;
        }
        if (attachment.interface_id == interface.id) {
            stale = &attachment;
        }
    }
    return stale;
}

InterfaceStatus look_at(const Look& look, const std::string& name, const Interface& interface, StatusReport& report) {
    InterfaceStatus row;
    row.interface = name;
    row.role = role_text(interface.role);
    const auto slot = look.slots.find(interface.id);
    const auto device = look.devices.found.find(name);
    const Attachment* attachment = attachment_of(look, name, interface);
    const bool has_device = device != look.devices.found.end();
    const bool at_device = attachment != nullptr && has_device && same_device(attachment->device, device->second);
    if (has_device) {
        row.device = device_words(device->second);
    }
    if (slot == look.slots.end()) {
        row.state = "not loaded";
        say(report, true, "interface-not-loaded", name + " is in the applied state but not in the kernel; apply again");
        return row;
    }
    const auto flows = look.flows.find(slot->second);
    row.flows = flows == look.flows.end() ? 0 : flows->second;
    if (const auto waiting = look.devices.waiting.find(name); waiting != look.devices.waiting.end()) {
        row.state = "waiting";
        report.waiting.push_back(name + ": " + waiting->second);
        return row;
    }
    if (!has_device) {
        row.state = "problem";  // said by find_devices
        return row;
    }
    if (!at_device) {
        row.state = "NOT filtered";
        const bool replaced = attachment != nullptr;
        say(report, true, replaced ? "device-replaced" : "not-attached",
            fmt::format("{}: {} {} and passes ALL traffic; `sgbpf attach {}`", name, row.device,
                        replaced ? "was re-created after it was attached" : "is not attached", name));
        return row;
    }
    row.hook = attachment->hook;
    row.generation = look.host.control.generation;
    if (attachment->since > look.host.control.generation) {
        row.state = "NOT filtered";  // said with the rollback
    } else if (!attachment->problem.empty()) {
        row.state = "problem";
        say(report, true, "attachment-incomplete",
            fmt::format("{}: {}: {}; `sgbpf attach {}`", name, row.device, attachment->problem, name));
    } else if (attachment->interface_slot != slot->second) {
        row.state = "dropping";
        say(report, true, "not-bound",
            fmt::format("{}: {} is attached but not bound to its interface; it drops all but ARP, ND and DHCP; `sgbpf "
                        "attach {}`",
                        name, row.device, name));
    } else {
        row.state = interface.quarantine ? "quarantined" : "filtering";
    }
    say_foreign(report, name, *attachment);
    say_foreign_xdp(report, name, *attachment);
    return row;
}

// Attached devices that no interface of the applied state has.
void look_at_left(const Look& look, StatusReport& report) {
    for (const Attachment& attachment : look.host.attachments) {
        const bool owned = std::any_of(look.devices.found.begin(), look.devices.found.end(),
                                       [&](const auto& found) { return same_device(found.second, attachment.device); });
        if (attachment.device.ifindex == 0 || attachment.hook.empty() || owned) {
            continue;
        }
        InterfaceStatus row;
        row.device = device_words(attachment.device);
        row.role = role_text(attachment.role);
        row.hook = attachment.hook;
        if (attachment.since > look.host.control.generation) {
            row.state = "NOT filtered";
            report.interfaces.push_back(row);
            continue;
        }
        const InterfaceImage* bound = look.host.image.interface_at(attachment.interface_slot);
        if (attachment.problem.empty() && bound != nullptr) {
            // The record is lost, or the device was renamed: what it is bound to is still enforced.
            row.state = "filtering";
            report.interfaces.push_back(row);
            say(report, true, "unknown-interface",
                fmt::format("{} is filtered by the rules of {}, which the applied state does not find at this device; "
                            "`sgbpf apply FILE`",
                            row.device, id_text(bound->id)));
            say_foreign(report, row.device, attachment);
            say_foreign_xdp(report, row.device, attachment);
            continue;
        }
        row.state = attachment.problem.empty() ? "dropping" : "problem";
        report.interfaces.push_back(row);
        say(report, !attachment.problem.empty(), "no-interface",
            fmt::format("{} belongs to no interface and drops all but ARP, ND and DHCP until `sgbpf detach {}`{}",
                        row.device, attachment.device.name,
                        attachment.problem.empty() ? "" : " (" + attachment.problem + ")"));
        say_foreign(report, row.device, attachment);
        say_foreign_xdp(report, row.device, attachment);
    }
}

void look_at_commit(const HostState& host, const Store* store, StatusReport& report) {
    if (host.interrupted) {
        // Or one that is under way right now: then somebody holds the lock.
        const bool running = store != nullptr && !store->lock(std::chrono::milliseconds(0));
        say(report, !running, running ? "commit-running" : "commit-interrupted",
            running ? "a commit is under way"
            : host.control.generation == host.control.pending
                ? fmt::format(
                      "a commit was interrupted after it took effect: generation {} is in force; the next apply "
                      "or `sgbpf confirm` tidies up",
                      host.control.generation)
                : "a commit was interrupted; the rules from before it are in force until the next apply, which repairs "
                  "it");
    }
    if (host.unconfirmed) {
        say(report, false, "unconfirmed",
            fmt::format("generation {} waits for its confirmation until {}; then generation {} is in force again; "
                        "`sgbpf confirm` keeps it",
                        host.control.generation, boot_time_text(host.control.confirm_until),
                        host.control.confirm_from));
    }
    if (host.rolled_back) {
        say(report, true, "rolled-back",
            fmt::format("generation {} was not confirmed and is undone, generation {} is in force; devices that it "
                        "attached pass ALL traffic, as before; the next apply or `sgbpf confirm` tidies up",
                        host.control.pending, host.control.generation));
    }
    if (!host.kernel_empty && !host.applied_is_current && !host.interrupted && host.control.generation != 0) {
        say(report, true, "applied-state-differs",
            host.applied ? "the kernel enforces something else than the applied state says; apply again"
                         : "the record of what was applied is missing; apply again");
    }
}

Result<void> look_at_maps(Datapath& datapath, StatusReport& report) {
    auto usage = datapath.map_usage();
    if (!usage) {
        return unexpected(usage.error());
    }
    for (const MapUsage& map : *usage) {
        // Of one element, a list of what is free, or a ring that nobody empties: full is how they may be.
        if (map.limit <= 1 || map.name == "sg_flow_free" || map.name == "sg_events") {
            continue;
        }
        if (map.limit != 0 && map.used * 100 > map.limit * kNearlyFullPercent) {
            say(report, true, "map-nearly-full",
                fmt::format("map {} holds {} of {}; raise its capacity in host.yaml", map.name, map.used, map.limit));
        }
    }
    return {};
}

}  // namespace

bool StatusReport::healthy() const {
    return std::none_of(conditions.begin(), conditions.end(), [](const Condition& c) { return c.unhealthy; });
}

Result<StatusReport> Engine::status() {
    auto loaded = parts_->load(Access::kRead);
    if (!loaded) {
        return unexpected(loaded.error());
    }
    const HostState& host = *loaded;
    StatusReport report;
    report.generation = host.control.generation;
    report.digest = to_hex(host.control.digest);
    if (host.kernel_empty) {
        report.empty = true;
        if (host.applied && !host.applied->state.interfaces.empty()) {
            say(report, true, "not-loaded",
                fmt::format(
                    "nothing is loaded, although {} was applied at {} (a reboot, or remove-all); devices pass ALL "
                    "traffic; apply again",
                    host.applied->source, host.applied->applied_at));
        }
        return report;
    }
    Look look{host, {}, {}, interface_slots(host.image)};
    static const State kNothing;
    const State& state = host.applied ? host.applied->state : kNothing;
    auto devices = find_devices(*parts_->datapath, state.interfaces);
    if (!devices) {
        return unexpected(devices.error());
    }
    look.devices = std::move(*devices);
    auto flows = parts_->datapath->read_flows({});
    if (!flows) {
        return unexpected(flows.error());
    }
    for (const sg_flow& flow : flows->flows) {
        ++look.flows[flow.key.interface_slot];
    }
    auto accounts = parts_->datapath->read_accounts();
    if (!accounts) {
        return unexpected(accounts.error());
    }
    for (const Error& problem : look.devices.problems) {
        say(report, true, "device-match", problem.message);
    }
    for (const auto& [name, interface] : state.interfaces) {
        InterfaceStatus row = look_at(look, name, interface, report);
        if (const auto slot = look.slots.find(interface.id); slot != look.slots.end()) {
            auto counters = parts_->datapath->read_counters(slot->second);
            if (!counters) {
                return unexpected(counters.error());
            }
            row.drops = drops(*counters);
            say_allowance(
                report, name,
                allowance_of(*accounts, *counters, host.image.interface_at(slot->second)->config, slot->second));
        }
        report.interfaces.push_back(std::move(row));
    }
    say_pool(report, *accounts);
    look_at_left(look, report);
    look_at_commit(host, parts_->store, report);
    if (auto maps = look_at_maps(*parts_->datapath, report); !maps) {
        return unexpected(maps.error());
    }
    return report;
}

}  // namespace sgbpf
