// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attaching to devices and telling what is attached: tcx and XDP by pinned link, clsact by filter.
//
// Directions: what a workload receives leaves the host through its device, so inbound rules (sg_tc_in)
// are judged at the device's egress hook and outbound rules (sg_tc_out) at its ingress hook. Role host is
// the other way round, and its inbound rules may be judged at XDP (sg_xdp_in), before the ingress hook.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/result.hpp>

#include "datapath/clsact.hpp"
#include "datapath/datapath.hpp"
#include "datapath/hook_choice.hpp"
#include "datapath/netns.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

constexpr Hook hook_of(Role role, sg_direction direction) {
    return (direction == SG_IN) == (role == Role::kHost) ? Hook::kIngress : Hook::kEgress;
}
inline constexpr std::array kBothDirections = {SG_IN, SG_OUT};

// Our program in one direction of one device.
struct OwnProgram {
    std::optional<HookKind> kind;  // nothing: it is not there
    std::uint32_t link_id = 0;     // tcx, XDP
    std::uint32_t program_id = 0;  // what runs now
};

// One use of the pins under the caller's lock. Errors of attach() are about the device named in them.
class Attacher {
public:
    Attacher(PinPaths paths, std::string netns_dir, Tree& tree, const Capacities& capacities)
        : paths_(std::move(paths)), netns_dir_(std::move(netns_dir)), tree_(&tree), capacities_(capacities) {}

    Result<Attachment> attach(const AttachRequest& request);
    Result<void> detach(const Attachment& attachment);
    Result<void> unbind(const Attachment& attachment);
    Result<void> keep_binding(const Attachment& attachment);
    Result<std::vector<Attachment>> list();

private:
    using Own = std::array<OwnProgram, SG_DIRECTIONS>;

    // upgrade.cpp
    Result<Instance*> instance_for(std::uint64_t netns_inode);
    Result<void> upgrade(Instance& instance);
    Result<void> upgrade_links(Instance& instance, const Object& tc, const Object& xdp);
    Result<void> upgrade_filters(Instance& instance, const Object& tc);

    // attach_checks.cpp
    Result<void> check_binding(Instance& instance, const AttachRequest& request);
    Result<int> bound_ifindex(Instance& instance, std::uint32_t interface_slot);
    Result<void> check_instance(Instance& other, const AttachRequest& request, bool same_namespace);
    Result<void> check_elsewhere(const AttachRequest& request, std::uint64_t netns_inode);
    Result<void> take_over_left(Instance& instance, const AttachRequest& request);

    // attach.cpp
    Result<HookKind> climb(Instance& instance, const AttachRequest& request, sg_direction direction,
                           const std::vector<HookKind>& hooks, std::vector<std::string>& refused);
    Result<void> check_hook(const AttachRequest& request, const Own& own);
    Result<void> attach_missing(Instance& instance, const AttachRequest& request, const Own& own,
                                std::vector<std::string>& refused);

    // attachments.cpp
    Result<OwnProgram> own_program(Instance& instance, const std::string& interface_id, int ifindex, Role role,
                                   sg_direction direction);
    Result<Own> own_programs(Instance& instance, const std::string& interface_id, int ifindex, Role role);
    Attachment describe(Instance& instance, const Device& device, std::uint32_t slot, const std::string& id);
    Result<void> list_instance(Instance& instance, std::vector<Attachment>& all);
    std::string id_of_slot(std::uint32_t slot);
    std::uint32_t slot_of_id(const std::string& id);

    // detach.cpp
    Result<void> detach_from(Instance& instance, const Attachment& attachment);

    PinPaths paths_;
    std::string netns_dir_;
    Tree* tree_;
    Capacities capacities_;
    std::optional<Instance> instance_;  // the one used last; attach() is mostly called for one namespace
    std::map<std::uint64_t, std::map<std::uint32_t, int>> bound_;  // netns inode -> slot -> ifindex, as read first
};

// What a pinned link is attached to: ifindex 0 when the device is gone, nothing when there is no such pin.
Result<std::optional<LinkInfo>> pinned_link(const Instance& instance, const std::string& interface_id,
                                            sg_direction direction);
// Detaches and unpins; fine when there is no such pin.
Result<void> remove_link(const std::string& path);
bool uses_map(std::uint32_t program_id, std::uint32_t map_id);
// A filter of the instance that has this map of devices, of whatever build.
bool is_own_filter(const TcFilter& filter, std::uint32_t own_ifindex_map);

// Detaches and unpins all there is, also when the maps are damaged, and removes the tree.
Result<void> remove_everything(const PinPaths& paths, const std::string& netns_dir);

}  // namespace sgbpf
