// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What may stand in the way of an attachment: the device is another interface's or in another role, the
// interface is at another device. Leftovers are removed, or taken over.
#include <fmt/format.h>

#include "datapath/link.hpp"

namespace sgbpf {

namespace {

Unexpected refuse(std::string sentence) {
    return unexpected(make_error(ErrorCode::kRefused, std::move(sentence)));
}

const char* role_words(Role role) {
    return role == Role::kHost ? "host" : "workload";
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

}  // namespace sgbpf
