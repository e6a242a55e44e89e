// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attacher::attach: guards first, then the binding, then the programs; see pins.cpp for the crash points.
#include <algorithm>

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
Result<void> check_nothing_in_front(const Device& device, std::uint32_t own_ifindex_map) {
    for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
        auto programs = tcx_programs(device.ifindex, hook);
        if (programs && !programs->empty()) {
            auto info = program_info_by_id(programs->front().program_id);
            return refuse(
                in_front(device.name, fmt::format("the tcx program {}", info ? info->name : "of another"), hook));
        }
        auto filters = tc_filters(device.ifindex, hook);
        if (!filters) {
            return unexpected(filters.error());
        }
        for (const TcFilter& filter : *filters) {
            if (filter.preference <= kOurPreference && !is_own_filter(filter, own_ifindex_map)) {
                return refuse(in_front(
                    device.name, fmt::format("the tc filter {} (pref {})", filter.name, filter.preference), hook));
            }
        }
    }
    return {};
}

}  // namespace

// The device's number may be bound to another interface: in force, or left over from a vanished device.
Result<void> Attacher::check_binding(Instance& instance, const AttachRequest& request) {
    auto bound = instance.binding(request.device.ifindex);
    if (!bound) {
        return unexpected(bound.error());
    }
    if (bound->interface_slot == 0 || bound->interface_slot == request.interface_slot) {
        return {};
    }
    std::string holder = id_of_slot(bound->interface_slot);
    auto own = own_programs(instance, holder, request.device.ifindex);
    if (!own) {
        return unexpected(own.error());
    }
    for (const OwnProgram& program : *own) {
        if (program.where != OwnProgram::Where::kNowhere) {
            if (holder.empty()) {
                holder = fmt::format("in slot {}", bound->interface_slot);
            }
            return refuse(
                fmt::format("{} is attached for interface {}; detach that first", request.device.name, holder));
        }
    }
    return {};
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
        for (const auto& [ifindex, slot] : *bindings) {
            known->second[slot] = ifindex;
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
        auto own = own_programs(other, request.interface_id, *bound_to);
        if (own && ((*own)[SG_IN].where != OwnProgram::Where::kNowhere ||
                    (*own)[SG_OUT].where != OwnProgram::Where::kNowhere)) {
            return in_force(*bound_to);
        }
    }
    return other.bind(*bound_to, 0);
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

Result<OwnProgram::Where> Attacher::choose_hook(const AttachRequest& request, const Own& own) {
    using Where = OwnProgram::Where;
    if (request.hook == HookChoice::kNative || request.hook == HookChoice::kGeneric) {
        return refuse(fmt::format("{} cannot be attached by XDP: it judges what arrives at a device, which for role "
                                  "workload are outbound packets; leave the hook to sgbpf or take tcx or clsact",
                                  request.device.name));
    }
    auto probed = tcx_programs(request.device.ifindex, Hook::kIngress);
    if (!probed && (probed.error().code != ErrorCode::kUnsupported || request.hook == HookChoice::kTcx)) {
        return unexpected(probed.error());
    }
    Where current = own[SG_IN].where != Where::kNowhere ? own[SG_IN].where : own[SG_OUT].where;
    const Where wanted = request.hook == HookChoice::kTcx      ? Where::kTcx
                         : request.hook == HookChoice::kClsact ? Where::kClsact
                                                               : Where::kNowhere;
    if (current != Where::kNowhere && wanted != Where::kNowhere && current != wanted) {
        return refuse(fmt::format("{} is attached by {}; detach it before attaching by {}", request.device.name,
                                  current == Where::kTcx ? "tcx" : "clsact", wanted == Where::kTcx ? "tcx" : "clsact"));
    }
    if (current != Where::kNowhere) {
        return current;
    }
    return wanted != Where::kNowhere ? wanted : probed ? Where::kTcx : Where::kClsact;
}

Result<void> Attacher::attach_missing(Instance& instance, const AttachRequest& request, OwnProgram::Where where,
                                      const Own& own) {
    const int ifindex = request.device.ifindex;
    std::vector<sg_direction> made;
    const auto attach_one = [&](sg_direction direction) -> Result<void> {
        if (where == OwnProgram::Where::kClsact) {
            return clsact_attach(ifindex, hook_of(direction), instance.program(direction), false);
        }
        auto link = tcx_attach_first(instance.program(direction), ifindex, hook_of(direction));
        return link ? pin(link->get(), instance.link_path(request.interface_id, direction))
                    : Result<void>(unexpected(link.error()));
    };
    Result<void> result;
    if (where == OwnProgram::Where::kClsact) {
        result = in_order([&] { return check_nothing_in_front(request.device, instance.ifindexes().id()); },
                          [&] { return clsact_ensure(ifindex); });
    }
    for (const sg_direction direction : kBothDirections) {
        if (result && own[direction].where == OwnProgram::Where::kNowhere) {
            result = attach_one(direction);
            if (result) {
                made.push_back(direction);
            }
        }
    }
    if (!result) {
        for (const sg_direction direction : made) {  // best effort: the first error is the one to tell
            static_cast<void>(where == OwnProgram::Where::kTcx
                                  ? remove_link(instance.link_path(request.interface_id, direction)).has_value()
                                  : clsact_detach(ifindex, hook_of(direction)).has_value());
        }
        if (where == OwnProgram::Where::kClsact) {
            static_cast<void>(clsact_remove_if_empty(ifindex).has_value());
        }
        result.error().message = request.device.name + ": " + result.error().message;
    }
    return result;
}

Result<Attachment> Attacher::attach(const AttachRequest& request) {
    for (const auto& check : {check_workload_device(request.device), check_interface_id(request.interface_id)}) {
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
    auto own = own_programs(instance, request.interface_id, ifindex);
    if (!own) {
        return unexpected(own.error());
    }
    // In force here already, then it is nowhere else: refreshing thousands of devices stays cheap.
    if ((*own)[SG_IN].where == OwnProgram::Where::kNowhere || (*own)[SG_OUT].where == OwnProgram::Where::kNowhere) {
        checked = in_order([&] { return check_elsewhere(request, netns->inode); },
                           [&] { return take_over_left(instance, request); });
        if (!checked) {
            return unexpected(checked.error());
        }
        own = own_programs(instance, request.interface_id, ifindex);
        if (!own) {
            return unexpected(own.error());
        }
    }
    auto where = choose_hook(request, *own);
    auto before = instance.binding(ifindex);
    if (!where || !before) {
        return unexpected(where ? before.error() : where.error());
    }
    auto done = in_order([&] { return instance.bind(ifindex, request.interface_slot, request.since); },
                         [&] { return attach_missing(instance, request, *where, *own); });
    if (!done) {
        static_cast<void>(instance.bind(ifindex, before->interface_slot, before->since).has_value());
        return unexpected(done.error());
    }
    bound_[netns->inode][request.interface_slot] = ifindex;
    return describe(instance, *device, request.interface_slot, request.interface_id);
}

}  // namespace sgbpf
