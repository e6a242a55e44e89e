// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attacher::attach: guards first (attach_checks.cpp), then the binding, then the programs; see pins.cpp for the
// crash points.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "datapath/device_rules.hpp"
#include "datapath/devices.hpp"
#include "datapath/features.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

namespace {

Unexpected refuse(std::string sentence) {
    return unexpected(make_error(ErrorCode::kRefused, std::move(sentence)));
}

// Names of pins: bpffs refuses '.', and '/' would leave the directory.
Result<void> check_interface_id(const std::string& id) {
    const bool plain = std::all_of(id.begin(), id.end(), [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (id.empty() || id.size() >= SG_ID_BYTES || !plain) {
        return unexpected(make_error(ErrorCode::kInvalid, "\"" + id + "\" cannot be an interface id"));
    }
    return {};
}

std::string in_front(const std::string& device, const std::string& what, Hook hook) {
    return fmt::format(
        "{}: {} runs in front of sgbpf at the {} hook and could accept packets that no rule admits; remove "
        "it first",
        device, what, hook == Hook::kIngress ? "ingress" : "egress");
}

// On clsact, everything at tcx runs before, and so does an older filter of our preference.
Result<void> check_nothing_in_front(const Device& device, Hook hook, std::uint32_t own_ifindex_map) {
    auto programs = tcx_programs(device.ifindex, hook);
    if (programs && !programs->empty()) {
        auto info = program_info_by_id(programs->front().program_id);
        return refuse(in_front(device.name, fmt::format("the tcx program {}", info ? info->name : "of another"), hook));
    }
    auto filters = tc_filters(device.ifindex, hook);
    if (!filters) {
        return unexpected(filters.error());
    }
    for (const TcFilter& filter : *filters) {
        if (filter.preference <= kOurPreference && !is_own_filter(filter, own_ifindex_map)) {
            return refuse(
                in_front(device.name, fmt::format("the tc filter {} (pref {})", filter.name, filter.preference), hook));
        }
    }
    return {};
}

// Why a hook was not taken, in the kernel's words; for XDP also who has it.
std::string why_refused(HookKind kind, const Device& device, const Error& error) {
    std::string why = error.sys_errno != 0 ? std::strerror(error.sys_errno) : error.message;
    if (kind == HookKind::kTcx && error.code == ErrorCode::kUnsupported) {
        why = error.message;
    }
    if (is_xdp(kind) && !device.xdp.empty()) {
        auto holder = program_info_by_id(device.xdp.front().program_id);
        why += holder && !holder->name.empty() ? ": the XDP program " + holder->name + " is there" : "";
    }
    return fmt::format("{} refused ({})", hook_text(kind), why);
}

// May the next hook be tried? XDP depends on driver and device in many ways; tcx is there or is not.
bool may_go_on(HookKind kind, const Error& error) {
    return is_xdp(kind) || error.code == ErrorCode::kUnsupported;
}

}  // namespace

// Tries the hooks of a direction in order; what was refused on the way is told in `refused`.
Result<HookKind> Attacher::climb(Instance& instance, const AttachRequest& request, sg_direction direction,
                                 const std::vector<HookKind>& hooks, std::vector<std::string>& refused) {
    const int ifindex = request.device.ifindex;
    const Hook hook = hook_of(request.role, direction);
    const auto try_one = [&](HookKind kind) -> Result<void> {
        if (kind == HookKind::kClsact) {
            return in_order([&] { return check_nothing_in_front(request.device, hook, instance.ifindexes().id()); },
                            [&] { return clsact_ensure(ifindex); },
                            [&] { return clsact_attach(ifindex, hook, instance.program(direction), false); });
        }
        if (kind == HookKind::kTcx) {
            auto probed = tcx_programs(ifindex, hook);  // says in words that the kernel has none
            if (!probed) {
                return unexpected(probed.error());
            }
        }
        auto link = is_xdp(kind) ? xdp_attach(instance.xdp_program(), ifindex, kind == HookKind::kNative)
                                 : tcx_attach_first(instance.program(direction), ifindex, hook);
        return link ? pin(link->get(), instance.link_path(request.interface_id, direction))
                    : Result<void>(unexpected(link.error()));
    };
    for (const HookKind kind : hooks) {
        auto tried = try_one(kind);
        if (tried) {
            return kind;
        }
        if (kind == hooks.back() || !may_go_on(kind, tried.error())) {
            return unexpected(tried.error());
        }
        refused.push_back(why_refused(kind, request.device, tried.error()));
    }
    return unexpected(make_error(ErrorCode::kUnsupported, "no hook to attach to"));  // `hooks` is never empty
}

Result<void> Attacher::attach_missing(Instance& instance, const AttachRequest& request, const Own& own,
                                      std::vector<std::string>& refused) {
    const int ifindex = request.device.ifindex;
    std::array<std::optional<HookKind>, SG_DIRECTIONS> made;
    Result<void> result;
    bool touched_clsact = false;
    for (const sg_direction direction : kBothDirections) {
        const auto& other = own[direction == SG_IN ? SG_OUT : SG_IN].kind;
        auto hooks = hook_ladder(request.role, direction, request.device, request.hook);
        if (!hooks) {
            return unexpected(hooks.error());
        }
        if (own[direction].kind) {
            continue;
        }
        // The half that a crash left decides for the other, where both are of one kind anyway.
        if (hooks->size() > 1 && other && !is_xdp(*other) && !is_xdp(hooks->front())) {
            hooks = std::vector{*other};
        }
        std::vector<std::string> told;
        auto taken = climb(instance, request, direction, *hooks, told);
        touched_clsact |= told.size() + 1 == hooks->size() && hooks->back() == HookKind::kClsact;
        if (!taken) {
            result = unexpected(taken.error());
            break;
        }
        made[direction] = *taken;
        // A kernel without tcx is no news for a workload, nor for the second direction.
        if (request.role == Role::kHost && direction == SG_IN) {
            refused = std::move(told);
        }
    }
    const bool asked_for_xdp = request.hook == HookChoice::kNative || request.hook == HookChoice::kGeneric;
    if (request.role == Role::kWorkload && asked_for_xdp && (made[SG_IN] || made[SG_OUT])) {
        refused.push_back(fmt::format(
            "{} refused (it judges what arrives at a device: the outbound packets of a workload)",
            request.hook == HookChoice::kNative ? hook_text(HookKind::kNative) : hook_text(HookKind::kGeneric)));
    }
    if (!result) {
        for (const sg_direction direction : kBothDirections) {  // best effort: the first error is the one to tell
            if (made[direction]) {
                static_cast<void>(made[direction] == HookKind::kClsact
                                      ? clsact_detach(ifindex, hook_of(request.role, direction)).has_value()
                                      : remove_link(instance.link_path(request.interface_id, direction)).has_value());
            }
        }
        if (touched_clsact) {
            static_cast<void>(clsact_remove_if_empty(ifindex).has_value());
        }
        result.error().message = request.device.name + ": " + result.error().message;
    }
    return result;
}

// What is attached stays where it is: another hook by name is refused.
Result<void> Attacher::check_hook(const AttachRequest& request, const Own& own) {
    for (const sg_direction direction : kBothDirections) {
        auto hooks = hook_ladder(request.role, direction, request.device, request.hook);
        if (!hooks) {
            return unexpected(hooks.error());
        }
        const auto& kind = own[direction].kind;
        if (request.hook != HookChoice::kAuto && kind &&
            std::find(hooks->begin(), hooks->end(), *kind) == hooks->end()) {
            return refuse(fmt::format("{} is attached by {}; detach it before attaching by {}", request.device.name,
                                      hook_text(*kind), hook_text(hooks->front())));
        }
    }
    return {};
}

Result<Attachment> Attacher::attach(const AttachRequest& request) {
    for (const auto& check : {check_device(request.role, request.device), check_interface_id(request.interface_id)}) {
        if (!check) {
            return unexpected(check.error());
        }
    }
    auto netns = netns_by_name(request.device.netns, netns_dir_);
    if (!netns) {
        return unexpected(netns.error());
    }
    auto guard = NetnsGuard::enter(*netns);
    if (!guard) {
        return unexpected(guard.error());
    }
    auto device = device_by_ifindex(request.device.ifindex, request.device.netns);
    if (!device || device->name != request.device.name) {
        return unexpected(make_error(
            ErrorCode::kNotFound, fmt::format("{} (ifindex {}) is gone", request.device.name, request.device.ifindex)));
    }
    auto found = instance_for(netns->inode);
    if (!found) {
        return unexpected(found.error());
    }
    Instance& instance = **found;
    const int ifindex = request.device.ifindex;
    if (static_cast<std::uint32_t>(ifindex) >= instance.ifindexes().max_entries()) {
        return unexpected(make_error(
            ErrorCode::kExhausted,
            fmt::format("{} has ifindex {}, the map of devices holds {}; raise `ifindexes` in host.yaml and load anew",
                        request.device.name, ifindex, instance.ifindexes().max_entries())));
    }
    auto checked = check_binding(instance, request);
    if (!checked) {
        return unexpected(checked.error());
    }
    auto own = own_programs(instance, request.interface_id, ifindex, request.role);
    if (!own) {
        return unexpected(own.error());
    }
    // In force here already, then it is nowhere else: refreshing thousands of devices stays cheap.
    const bool in_force = (*own)[SG_IN].kind && (*own)[SG_OUT].kind;
    if (!in_force) {
        checked = check_elsewhere(request, netns->inode);
        // Of a device that stayed attached when its interface left: taken over below, when nothing refuses.
        auto left = own_programs(instance, instance.left_id(ifindex), ifindex, request.role);
        if (!checked || !left) {
            return unexpected(checked ? left.error() : checked.error());
        }
        for (const sg_direction direction : kBothDirections) {
            (*own)[direction] = (*own)[direction].kind ? (*own)[direction] : (*left)[direction];
        }
    }
    checked = check_hook(request, *own);
    auto before = instance.binding(ifindex);
    if (!checked || !before) {
        return unexpected(checked ? before.error() : checked.error());
    }
    const sg_binding binding = {.interface_slot = request.interface_slot,
                                .flags = request.role == Role::kHost ? __u32{SG_BINDING_HOST} : 0,
                                .since = request.since};
    std::vector<std::string> refused;
    auto done = in_order([&] { return instance.bind(ifindex, binding); },
                         [&] { return attach_missing(instance, request, *own, refused); },
                         [&] { return in_force ? Result<void>() : take_over_left(instance, request); });
    if (!done) {
        static_cast<void>(instance.bind(ifindex, *before).has_value());
        return unexpected(done.error());
    }
    bound_[netns->inode][request.interface_slot] = ifindex;
    Attachment attachment = describe(instance, *device, request.interface_slot, request.interface_id);
    attachment.ladder = std::move(refused);
    return attachment;
}

}  // namespace sgbpf
