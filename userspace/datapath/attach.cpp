// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attacher::attach: guards first, then the binding, then the programs; see pins.cpp for the crash points.
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

const char* role_words(Role role) {
    return role == Role::kHost ? "host" : "workload";
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

// The device's number may be bound to another interface, or in another role: in force, or left over from a
// vanished device.
Result<void> Attacher::check_binding(Instance& instance, const AttachRequest& request) {
    const int ifindex = request.device.ifindex;
    auto bound = instance.binding(ifindex);
    if (!bound) {
        return unexpected(bound.error());
    }
    const bool left = (bound->flags & SG_BINDING_LEFT) != 0;
    const bool another = bound->interface_slot != 0 && bound->interface_slot != request.interface_slot;
    const bool other_role = (bound->interface_slot != 0 || left) && role_of(*bound) != request.role;
    if (!another && !other_role) {
        return {};
    }
    std::string holder = left ? instance.left_id(ifindex) : id_of_slot(bound->interface_slot);
    auto own = own_programs(instance, holder, ifindex, role_of(*bound));
    if (!own) {
        return unexpected(own.error());
    }
    if (!(*own)[SG_IN].kind && !(*own)[SG_OUT].kind) {
        return {};
    }
    if (another) {
        if (holder.empty()) {
            holder = fmt::format("in slot {}", bound->interface_slot);
        }
        return refuse(fmt::format("{} is attached for interface {}; detach that first", request.device.name, holder));
    }
    return refuse(fmt::format("{} is attached in role {}; detach it before it is attached in role {}",
                              request.device.name, role_words(role_of(*bound)), role_words(request.role)));
}

// Where the namespace has the interface bound, 0 = nowhere. All bindings are read once: attaching one of a
// thousand devices does not read them a thousand times.
Result<int> Attacher::bound_ifindex(Instance& instance, std::uint32_t interface_slot) {
    auto known = bound_.find(instance.netns_inode());
    if (known == bound_.end()) {
        auto bindings = instance.bindings();
        if (!bindings) {
            return unexpected(bindings.error());
        }
        known = bound_.emplace(instance.netns_inode(), std::map<std::uint32_t, int>()).first;
        for (const auto& [ifindex, binding] : *bindings) {
            known->second[binding.interface_slot] = ifindex;
        }
    }
    const auto found = known->second.find(interface_slot);
    if (found == known->second.end()) {
        return 0;
    }
    // Since then the number may have been given to another interface.
    auto now = instance.binding(found->second);
    if (!now) {
        return unexpected(now.error());
    }
    return now->interface_slot == interface_slot ? found->second : 0;
}

// Nothing of the interface may be in force at another device of this namespace; leftovers are removed.
Result<void> Attacher::check_instance(Instance& other, const AttachRequest& request, bool same_namespace) {
    auto bound_to = bound_ifindex(other, request.interface_slot);
    if (!bound_to) {
        return unexpected(bound_to.error());
    }
    const auto elsewhere = [&](int ifindex) {
        return ifindex != 0 && (!same_namespace || ifindex != request.device.ifindex);
    };
    const auto in_force = [&](int ifindex) {
        const auto netns = netns_by_inode(other.netns_inode(), netns_dir_);
        return refuse(fmt::format("interface {} is attached to another device (ifindex {}{}); detach it first",
                                  request.interface_id, ifindex,
                                  netns && !netns->name.empty() ? " in " + netns->name : ""));
    };
    for (const sg_direction direction : kBothDirections) {
        auto link = pinned_link(other, request.interface_id, direction);
        if (!link) {
            return unexpected(link.error());
        }
        const int linked_to = *link ? static_cast<int>((*link)->ifindex) : 0;
        if (elsewhere(linked_to)) {
            return in_force(linked_to);
        }
        if (*link && linked_to == 0) {
            auto removed = remove_link(other.link_path(request.interface_id, direction));
            if (!removed) {
                return removed;
            }
        }
    }
    if (!elsewhere(*bound_to)) {
        return {};
    }
    if (const auto netns = netns_by_inode(other.netns_inode(), netns_dir_)) {
        auto guard = NetnsGuard::enter(*netns);
        if (!guard) {
            return unexpected(guard.error());
        }
        auto binding = other.binding(*bound_to);
        if (!binding) {
            return unexpected(binding.error());
        }
        auto own = own_programs(other, request.interface_id, *bound_to, role_of(*binding));
        if (own && ((*own)[SG_IN].kind || (*own)[SG_OUT].kind)) {
            return in_force(*bound_to);
        }
    }
    return other.bind(*bound_to, {});
}

// An interface is at one device of the host.
Result<void> Attacher::check_elsewhere(const AttachRequest& request, std::uint64_t netns_inode) {
    auto inodes = instance_inodes(paths_);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    for (const std::uint64_t inode : *inodes) {
        const auto known = bound_.find(inode);
        if (inode != netns_inode && known != bound_.end() && !known->second.contains(request.interface_slot) &&
            !path_exists(paths_.link(inode, request.interface_id, SG_IN)) &&
            !path_exists(paths_.link(inode, request.interface_id, SG_OUT))) {
            continue;
        }
        auto other = Instance::open(paths_, inode);
        if (!other) {
            return unexpected(other.error());
        }
        const bool first_look = known == bound_.end();
        auto checked = check_instance(*other, request, inode == netns_inode);
        if (!checked) {
            return checked;
        }
        // The devices of a vanished namespace went with it, and its inode may be given to another one.
        auto ids = other->link_ids();
        if (first_look && ids && ids->empty() && inode != netns_inode && !netns_by_inode(inode, netns_dir_)) {
            auto removed = remove_directory_tree(paths_.instance(inode));
            if (!removed) {
                return removed;
            }
            bound_.erase(inode);
        }
    }
    return {};
}

// A device whose interface left comes back: its links get the name of the interface, and never stop.
Result<void> Attacher::take_over_left(Instance& instance, const AttachRequest& request) {
    const std::string left = instance.left_id(request.device.ifindex);
    for (const sg_direction direction : kBothDirections) {
        auto link = pinned_link(instance, left, direction);
        if (!link) {
            return unexpected(link.error());
        }
        if (!*link) {
            continue;
        }
        const std::string path = instance.link_path(left, direction);
        // ifindex 0: a link of an older device that had the same number.
        auto done = (*link)->ifindex == 0 ? remove_link(path)
                                          : rename_path(path, instance.link_path(request.interface_id, direction));
        if (!done) {
            return done;
        }
    }
    return {};
}

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
    if (!(*own)[SG_IN].kind || !(*own)[SG_OUT].kind) {
        checked = in_order([&] { return check_elsewhere(request, netns->inode); },
                           [&] { return take_over_left(instance, request); });
        if (!checked) {
            return unexpected(checked.error());
        }
        own = own_programs(instance, request.interface_id, ifindex, request.role);
        if (!own) {
            return unexpected(own.error());
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
                         [&] { return attach_missing(instance, request, *own, refused); });
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
