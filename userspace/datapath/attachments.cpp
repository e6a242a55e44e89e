// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is attached, as the kernel says, and taking it away again. A tcx attachment is found by its pinned
// links, a clsact one by a binding in sg_ifindex and a filter whose program uses that map.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include "datapath/devices.hpp"
#include "datapath/features.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

namespace {

using Where = OwnProgram::Where;

std::string program_name(std::uint32_t program_id) {
    auto info = program_info_by_id(program_id);
    return info && !info->name.empty() ? info->name : fmt::format("program {}", program_id);
}

// Place of our program at its hook, and who runs before it.
void describe_place(Attachment& attachment, sg_direction direction, const OwnProgram& own) {
    const Hook hook = hook_of(direction);
    const int ifindex = attachment.device.ifindex;
    std::vector<std::string> before;
    unsigned position = 0;
    unsigned count = 0;
    if (auto programs = tcx_programs(ifindex, hook)) {
        for (const HookProgram& program : *programs) {
            ++count;
            if (own.where == Where::kTcx && program.link_id == own.link_id) {
                position = count;
            } else if (position == 0) {
                before.push_back(program_name(program.program_id));
            }
        }
    }
    if (own.where == Where::kClsact) {
        if (auto filters = tc_filters(ifindex, hook)) {
            for (const TcFilter& filter : *filters) {
                ++count;
                if (filter.program_id == own.program_id && filter.preference == kOurPreference) {
                    position = count;
                } else if (position == 0) {
                    before.push_back(filter.name);
                }
            }
        }
    }
    attachment.position[direction] = position;
    attachment.programs[direction] = count;
    for (std::string& name : before) {
        if (std::find(attachment.foreign_before.begin(), attachment.foreign_before.end(), name) ==
            attachment.foreign_before.end()) {
            attachment.foreign_before.push_back(std::move(name));
        }
    }
}

}  // namespace

bool uses_map(std::uint32_t program_id, std::uint32_t map_id) {
    auto info = program_info_by_id(program_id);
    return info && std::find(info->map_ids.begin(), info->map_ids.end(), map_id) != info->map_ids.end();
}

Result<std::optional<LinkInfo>> pinned_link(const Instance& instance, const std::string& interface_id,
                                            sg_direction direction) {
    auto link = open_pin(instance.link_path(interface_id, direction));
    if (!link) {
        if (link.error().code == ErrorCode::kNotFound) {
            return std::optional<LinkInfo>();
        }
        return unexpected(link.error());
    }
    auto info = tcx_link_info(link->get());
    if (!info) {
        return unexpected(info.error());
    }
    return std::optional<LinkInfo>(*info);
}

Result<void> remove_link(const std::string& path) {
    auto link = open_pin(path);
    if (!link) {
        return link.error().code == ErrorCode::kNotFound ? Result<void>() : Result<void>(unexpected(link.error()));
    }
    // Unpinning alone would leave it in force while anyone else holds a descriptor. ENOLINK: device gone.
    if (bpf_link_detach(link->get()) != 0 && errno != ENOLINK && errno != ENODEV) {
        return unexpected(kernel_error("detach the link " + path, errno));
    }
    if (::unlink(path.c_str()) != 0) {
        return unexpected(kernel_error("remove the pin " + path, errno));
    }
    return {};
}

Result<OwnProgram> Attacher::own_program(Instance& instance, const std::string& interface_id, int ifindex,
                                         sg_direction direction) {
    if (!interface_id.empty()) {
        auto link = pinned_link(instance, interface_id, direction);
        if (!link) {
            return unexpected(link.error());
        }
        if (*link && (*link)->ifindex == static_cast<std::uint32_t>(ifindex)) {
            return OwnProgram{Where::kTcx, (*link)->id, (*link)->program_id};
        }
    }
    auto filters = tc_filters(ifindex, hook_of(direction));
    if (!filters) {
        return unexpected(filters.error());
    }
    for (const TcFilter& filter : *filters) {
        if (filter.preference == kOurPreference && filter.handle == kOurHandle && filter.program_id != 0 &&
            uses_map(filter.program_id, instance.ifindexes().id())) {
            return OwnProgram{Where::kClsact, 0, filter.program_id};
        }
    }
    return OwnProgram{};
}

Result<Attacher::Own> Attacher::own_programs(Instance& instance, const std::string& interface_id, int ifindex) {
    Own own;
    for (const sg_direction direction : kBothDirections) {
        auto program = own_program(instance, interface_id, ifindex, direction);
        if (!program) {
            return unexpected(program.error());
        }
        own[direction] = *program;
    }
    return own;
}

std::string Attacher::id_of_slot(std::uint32_t slot) {
    auto interfaces = elements<sg_interface>(tree_->map(MapId::kInterfaces));
    if (!interfaces || slot >= interfaces->size()) {
        return {};
    }
    const sg_interface& interface = (*interfaces)[slot];
    return std::string(interface.id, ::strnlen(interface.id, sizeof(interface.id)));
}

std::uint32_t Attacher::slot_of_id(const std::string& id) {
    auto interfaces = elements<sg_interface>(tree_->map(MapId::kInterfaces));
    if (interfaces) {
        for (std::uint32_t slot = 1; slot < interfaces->size(); ++slot) {
            const sg_interface& interface = (*interfaces)[slot];
            if (interface.live != 0 && id == std::string_view(interface.id, ::strnlen(interface.id, SG_ID_BYTES))) {
                return slot;
            }
        }
    }
    return 0;
}

// Precondition: the calling thread is in the instance's namespace, unless the device is gone.
Attachment Attacher::describe(Instance& instance, const Device& device, std::uint32_t slot, const std::string& id) {
    Attachment attachment;
    attachment.device = device;
    attachment.interface_slot = slot;
    attachment.interface_id = id;
    if (device.ifindex == 0) {
        attachment.problem = "the device is gone";
        return attachment;
    }
    auto own = own_programs(instance, id, device.ifindex);
    if (!own) {
        attachment.problem = own.error().message;
        return attachment;
    }
    for (const sg_direction direction : kBothDirections) {
        const OwnProgram& program = (*own)[direction];
        if (program.where == Where::kNowhere) {
            continue;
        }
        attachment.hook = program.where == Where::kTcx ? "tcx" : "clsact";
        describe_place(attachment, direction, program);
    }
    const bool in = (*own)[SG_IN].where != Where::kNowhere;
    const bool out = (*own)[SG_OUT].where != Where::kNowhere;
    auto binding = instance.binding(device.ifindex);
    if (!in && !out) {
        attachment.problem = "no program is attached: someone removed it, or the device is a new one";
    } else if (!in || !out) {
        attachment.problem = in ? "outbound rules are not attached" : "inbound rules are not attached";
    } else if (!binding || binding->interface_slot != slot || (slot == 0 && binding->left == 0)) {
        attachment.problem = "the device is not bound to its interface";
    }
    return attachment;
}

Result<void> Attacher::list_instance(Instance& instance, std::vector<Attachment>& all) {
    std::map<int, Device> devices;
    const auto netns = netns_by_inode(instance.netns_inode(), netns_dir_);
    std::optional<NetnsGuard> guard;
    if (netns) {
        auto entered = NetnsGuard::enter(*netns);
        if (!entered) {
            return unexpected(entered.error());
        }
        guard.emplace(std::move(*entered));
        auto found = list_devices(netns->name);
        if (!found) {
            return unexpected(found.error());
        }
        for (Device& device : *found) {
            devices.emplace(device.ifindex, std::move(device));
        }
    }
    auto bindings = instance.bindings();
    auto ids = instance.link_ids();
    if (!bindings || !ids) {
        return unexpected(bindings ? ids.error() : bindings.error());
    }
    std::map<int, std::uint32_t> unlisted(bindings->begin(), bindings->end());
    const auto device_of = [&](int ifindex) {
        const auto found = devices.find(ifindex);
        Device gone;
        gone.netns = netns ? netns->name : "";
        return found == devices.end() ? gone : found->second;
    };
    for (const std::string& id : *ids) {
        int ifindex = 0;
        for (const sg_direction direction : kBothDirections) {
            auto link = pinned_link(instance, id, direction);
            if (!link) {
                return unexpected(link.error());
            }
            ifindex = *link && (*link)->ifindex != 0 ? static_cast<int>((*link)->ifindex) : ifindex;
        }
        const auto bound = unlisted.find(ifindex);
        const std::uint32_t slot = bound == unlisted.end() ? slot_of_id(id) : bound->second;
        if (bound != unlisted.end()) {
            unlisted.erase(bound);
        }
        std::erase_if(unlisted, [slot](const auto& entry) { return slot != 0 && entry.second == slot; });
        all.push_back(describe(instance, device_of(ifindex), slot, id));
        if (ifindex != 0 && all.back().device.ifindex == 0) {
            all.back().problem = "its network namespace cannot be reached";
        }
    }
    for (const auto& [ifindex, slot] : unlisted) {
        all.push_back(
            describe(instance, device_of(ifindex), slot, slot == 0 ? instance.left_id(ifindex) : id_of_slot(slot)));
    }
    return {};
}

Result<std::vector<Attachment>> Attacher::list() {
    auto inodes = instance_inodes(paths_);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    std::vector<Attachment> all;
    for (const std::uint64_t inode : *inodes) {
        auto instance = Instance::open(paths_, inode);
        if (!instance) {
            return unexpected(instance.error());
        }
        auto listed = list_instance(*instance, all);
        if (!listed) {
            return unexpected(listed.error());
        }
    }
    return all;
}

Result<void> Attacher::detach_from(Instance& instance, const Attachment& attachment) {
    auto removed = in_order([&] { return remove_link(instance.link_path(attachment.interface_id, SG_IN)); },
                            [&] { return remove_link(instance.link_path(attachment.interface_id, SG_OUT)); });
    auto bindings = instance.bindings();
    if (!removed || !bindings) {
        return unexpected(removed ? bindings.error() : removed.error());
    }
    for (const auto& [ifindex, slot] : *bindings) {
        if (slot != attachment.interface_slot || (slot == 0 && attachment.interface_id != instance.left_id(ifindex))) {
            continue;
        }
        const auto netns = netns_by_inode(instance.netns_inode(), netns_dir_);
        if (netns) {
            auto guard = NetnsGuard::enter(*netns);
            if (!guard) {
                return unexpected(guard.error());
            }
            bool was_clsact = false;
            for (const sg_direction direction : kBothDirections) {
                auto own = own_program(instance, attachment.interface_id, ifindex, direction);
                if (own && own->where == Where::kClsact) {
                    was_clsact = true;
                    auto detached = clsact_detach(ifindex, hook_of(direction));
                    if (!detached) {
                        return detached;
                    }
                }
            }
            auto emptied = was_clsact ? clsact_remove_if_empty(ifindex) : Result<void>();
            if (!emptied) {
                return emptied;
            }
        }
        auto cleared = instance.bind(ifindex, 0);
        if (!cleared) {
            return cleared;
        }
    }
    return {};
}

Result<void> Attacher::detach(const Attachment& attachment) {
    auto inodes = instance_inodes(paths_);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    for (const std::uint64_t inode : *inodes) {
        auto instance = Instance::open(paths_, inode);
        if (!instance) {
            return unexpected(instance.error());
        }
        auto detached = detach_from(*instance, attachment);
        if (!detached) {
            return detached;
        }
    }
    bound_.clear();
    return {};
}

// Links first: should the process end in between, the device is still bound to a slot without rules.
Result<void> Attacher::unbind(const Attachment& attachment) {
    auto netns = netns_by_name(attachment.device.netns, netns_dir_);
    if (!netns) {
        return unexpected(netns.error());
    }
    auto instance = Instance::open(paths_, netns->inode);
    if (!instance) {
        return unexpected(instance.error());
    }
    const int ifindex = attachment.device.ifindex;
    for (const sg_direction direction : kBothDirections) {
        auto link = pinned_link(*instance, attachment.interface_id, direction);
        if (!link) {
            return unexpected(link.error());
        }
        if (*link && (*link)->ifindex == static_cast<std::uint32_t>(ifindex)) {
            auto renamed = rename_path(instance->link_path(attachment.interface_id, direction),
                                       instance->link_path(instance->left_id(ifindex), direction));
            if (!renamed) {
                return renamed;
            }
        }
    }
    bound_.clear();
    return instance->bind_left(ifindex);
}

Result<void> remove_everything(const PinPaths& paths, const std::string& netns_dir) {
    auto inodes = instance_inodes(paths);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    for (const std::uint64_t inode : *inodes) {
        const std::string links = paths.instance(inode) + "/links";
        auto names = directory_names(links);
        if (!names) {
            return unexpected(names.error());
        }
        for (const std::string& name : *names) {
            auto removed = remove_link(links + "/" + name);
            if (!removed) {
                return removed;
            }
        }
        auto instance = Instance::open(paths, inode);
        const auto netns = netns_by_inode(inode, netns_dir);
        if (!instance || !netns) {
            continue;  // damaged pins, or a namespace that took its devices and filters with it
        }
        auto guard = NetnsGuard::enter(*netns);
        auto bindings = instance->bindings();
        if (!guard || !bindings) {
            return unexpected(guard ? bindings.error() : guard.error());
        }
        for (const auto& [ifindex, slot] : *bindings) {
            bool was_clsact = false;
            for (const sg_direction direction : kBothDirections) {
                auto filters = tc_filters(ifindex, hook_of(direction));
                for (const TcFilter& filter : filters ? *filters : std::vector<TcFilter>()) {
                    if (filter.preference == kOurPreference && filter.handle == kOurHandle && filter.program_id != 0 &&
                        uses_map(filter.program_id, instance->ifindexes().id())) {
                        was_clsact = true;
                        auto detached = clsact_detach(ifindex, hook_of(direction));
                        if (!detached) {
                            return detached;
                        }
                    }
                }
            }
            auto emptied = was_clsact ? clsact_remove_if_empty(ifindex) : Result<void>();
            if (!emptied) {
                return emptied;
            }
        }
    }
    // From here on nothing is attached; one rename makes the rest nobody's.
    return in_order(
        [&] { return remove_directory_tree(paths.staging()); },
        [&] { return path_exists(paths.tree()) ? rename_path(paths.tree(), paths.staging()) : Result<void>(); },
        [&] { return remove_directory_tree(paths.staging()); },
        [&]() -> Result<void> {
            // ENOTEMPTY: another version's pins are none of our business.
            if (::rmdir(paths.root().c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) {
                return unexpected(kernel_error("remove " + paths.root(), errno));
            }
            return {};
        });
}

}  // namespace sgbpf
