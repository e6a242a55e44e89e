// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What is attached, as the kernel says. A tcx or XDP attachment is found by its pinned links, a clsact one
// by a binding in sg_ifindex and a filter whose program uses that map.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "datapath/devices.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

namespace {

std::string program_name(std::uint32_t program_id) {
    auto info = program_info_by_id(program_id);
    return info && !info->name.empty() ? info->name : fmt::format("program {}", program_id);
}

// Place of our program at its hook, and who runs before it.
void describe_place(Attachment& attachment, sg_direction direction, const OwnProgram& own) {
    if (is_xdp(*own.kind)) {
        attachment.position[direction] = attachment.programs[direction] = 1;
        return;
    }
    const Hook hook = hook_of(attachment.role, direction);
    const int ifindex = attachment.device.ifindex;
    std::vector<std::string> before;
    unsigned position = 0;
    unsigned count = 0;
    if (auto programs = tcx_programs(ifindex, hook)) {
        for (const HookProgram& program : *programs) {
            ++count;
            if (own.kind == HookKind::kTcx && program.link_id == own.link_id) {
                position = count;
            } else if (position == 0) {
                before.push_back(program_name(program.program_id));
            }
        }
    }
    if (own.kind == HookKind::kClsact) {
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

// Native and generic exclude each other: where one of them is ours, only an offloaded one can be another's.
std::string foreign_xdp(const Device& device, bool own_xdp) {
    for (const XdpProgram& program : device.xdp) {
        if (!own_xdp || program.mode == XdpMode::kOffloaded) {
            return program_name(program.program_id);
        }
    }
    return {};
}

std::string hooks_text(const std::array<OwnProgram, SG_DIRECTIONS>& own) {
    const auto& in = own[SG_IN].kind;
    const auto& out = own[SG_OUT].kind;
    if (!in || !out || in == out) {
        return in || out ? std::string(hook_text(in ? *in : *out)) : "";
    }
    return fmt::format("{} + {}", hook_text(*in), hook_text(*out));
}

// Our XDP program is at the device: which mode?
Result<HookKind> mode_in_force(int ifindex) {
    auto device = device_by_ifindex(ifindex, {});
    if (!device) {
        return unexpected(device.error());
    }
    const bool generic = std::any_of(device->xdp.begin(), device->xdp.end(),
                                     [](const XdpProgram& program) { return program.mode == XdpMode::kGeneric; });
    return generic ? HookKind::kGeneric : HookKind::kNative;
}

}  // namespace

bool uses_map(std::uint32_t program_id, std::uint32_t map_id) {
    auto info = program_info_by_id(program_id);
    return info && std::find(info->map_ids.begin(), info->map_ids.end(), map_id) != info->map_ids.end();
}

bool is_own_filter(const TcFilter& filter, std::uint32_t own_ifindex_map) {
    return filter.preference == kOurPreference && filter.handle == kOurHandle && filter.program_id != 0 &&
           uses_map(filter.program_id, own_ifindex_map);
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
    auto info = link_info(link->get());
    if (!info) {
        return unexpected(info.error());
    }
    return std::optional<LinkInfo>(*info);
}

Result<OwnProgram> Attacher::own_program(Instance& instance, const std::string& interface_id, int ifindex, Role role,
                                         sg_direction direction) {
    if (!interface_id.empty()) {
        auto link = pinned_link(instance, interface_id, direction);
        if (!link) {
            return unexpected(link.error());
        }
        if (*link && (*link)->ifindex == static_cast<std::uint32_t>(ifindex)) {
            auto kind = is_xdp(**link) ? mode_in_force(ifindex) : Result<HookKind>(HookKind::kTcx);
            if (!kind) {
                return unexpected(kind.error());
            }
            return OwnProgram{*kind, (*link)->id, (*link)->program_id};
        }
    }
    auto filters = tc_filters(ifindex, hook_of(role, direction));
    if (!filters) {
        return unexpected(filters.error());
    }
    for (const TcFilter& filter : *filters) {
        if (is_own_filter(filter, instance.ifindexes().id())) {
            return OwnProgram{HookKind::kClsact, 0, filter.program_id};
        }
    }
    return OwnProgram{};
}

Result<Attacher::Own> Attacher::own_programs(Instance& instance, const std::string& interface_id, int ifindex,
                                             Role role) {
    Own own;
    for (const sg_direction direction : kBothDirections) {
        auto program = own_program(instance, interface_id, ifindex, role, direction);
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
    auto binding = instance.binding(device.ifindex);
    if (!binding) {
        attachment.problem = binding.error().message;
        return attachment;
    }
    attachment.role = role_of(*binding);
    attachment.since = binding->since;
    auto own = own_programs(instance, id, device.ifindex, attachment.role);
    if (!own) {
        attachment.problem = own.error().message;
        return attachment;
    }
    attachment.hook = hooks_text(*own);
    for (const sg_direction direction : kBothDirections) {
        if ((*own)[direction].kind) {
            describe_place(attachment, direction, (*own)[direction]);
        }
    }
    const bool in = (*own)[SG_IN].kind.has_value();
    const bool out = (*own)[SG_OUT].kind.has_value();
    if (in || out) {
        attachment.foreign_xdp = foreign_xdp(device, in && is_xdp(*(*own)[SG_IN].kind));
    }
    if (!in && !out) {
        attachment.problem = "no program is attached: someone removed it, or the device is a new one";
    } else if (!in || !out) {
        attachment.problem = in ? "outbound rules are not attached" : "inbound rules are not attached";
    } else if (binding->interface_slot != slot || (slot == 0 && (binding->flags & SG_BINDING_LEFT) == 0)) {
        attachment.problem = "the device is not bound to its interface";
    } else if (instance.build_id() != Object::build_id()) {
        attachment.problem = "the programs are those of another build of sgbpf";
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
    std::map<int, std::uint32_t> unlisted;
    for (const auto& [ifindex, binding] : *bindings) {
        unlisted.emplace(ifindex, binding.interface_slot);
    }
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
        // A binding of the same interface is this attachment's, whatever became of the device.
        std::erase_if(unlisted, [&](const auto& entry) {
            return slot != 0 ? entry.second == slot : entry.second == 0 && id == instance.left_id(entry.first);
        });
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
    bound_.clear();
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

}  // namespace sgbpf
