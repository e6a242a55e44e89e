// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Taking attachments away: one, all, or only the interface behind one. Filters and programs of others stay.
#include <cerrno>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include "datapath/features.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

namespace {

// Our clsact filters at a device of the calling thread's namespace; the qdisc too, when nothing is left in it.
Result<void> remove_own_filters(int ifindex, std::uint32_t own_ifindex_map) {
    bool was_clsact = false;
    for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
        auto filters = tc_filters(ifindex, hook);
        if (!filters) {
            return unexpected(filters.error());
        }
        for (const TcFilter& filter : *filters) {
            if (is_own_filter(filter, own_ifindex_map)) {
                was_clsact = true;
                auto detached = clsact_detach(ifindex, hook);
                if (!detached) {
                    return detached;
                }
            }
        }
    }
    return was_clsact ? clsact_remove_if_empty(ifindex) : Result<void>();
}

}  // namespace

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

Result<void> Attacher::detach_from(Instance& instance, const Attachment& attachment) {
    auto removed = in_order([&] { return remove_link(instance.link_path(attachment.interface_id, SG_IN)); },
                            [&] { return remove_link(instance.link_path(attachment.interface_id, SG_OUT)); });
    auto bindings = instance.bindings();
    if (!removed || !bindings) {
        return unexpected(removed ? bindings.error() : removed.error());
    }
    for (const auto& [ifindex, binding] : *bindings) {
        const std::uint32_t slot = binding.interface_slot;
        if (slot != attachment.interface_slot || (slot == 0 && attachment.interface_id != instance.left_id(ifindex))) {
            continue;
        }
        const auto netns = netns_by_inode(instance.netns_inode(), netns_dir_);
        if (netns) {
            auto guard = NetnsGuard::enter(*netns);
            if (!guard) {
                return unexpected(guard.error());
            }
            auto removed_filters = remove_own_filters(ifindex, instance.ifindexes().id());
            if (!removed_filters) {
                return removed_filters;
            }
        }
        auto cleared = instance.bind(ifindex, {});
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

Result<void> Attacher::keep_binding(const Attachment& attachment) {
    auto netns = netns_by_name(attachment.device.netns, netns_dir_);
    if (!netns) {
        return unexpected(netns.error());
    }
    auto instance = Instance::open(paths_, netns->inode);
    return instance ? instance->settle(attachment.device.ifindex) : Result<void>(unexpected(instance.error()));
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
        for (const auto& [ifindex, binding] : *bindings) {
            auto removed = remove_own_filters(ifindex, instance->ifindexes().id());
            if (!removed) {
                return removed;
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
