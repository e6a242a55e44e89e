// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The programs of a namespace: loaded when its first device is attached, swapped in place when this binary
// brings other ones. Never detached and attached: packets would pass unfiltered in between.
#include "datapath/features.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

Result<Instance*> Attacher::instance_for(std::uint64_t netns_inode) {
    if (instance_ && instance_->netns_inode() == netns_inode) {
        return &*instance_;
    }
    auto opened = Instance::open(paths_, netns_inode);
    if (!opened && opened.error().code == ErrorCode::kNotFound && !path_exists(paths_.instance(netns_inode))) {
        opened = Instance::create(paths_, netns_inode, *tree_, capacities_);
    }
    if (!opened) {
        return unexpected(opened.error());
    }
    instance_.emplace(std::move(*opened));
    if (instance_->build_id() != Object::build_id()) {
        auto upgraded = upgrade(*instance_);
        if (!upgraded) {
            instance_.reset();
            return unexpected(upgraded.error());
        }
    }
    return &*instance_;
}

// The pinned programs are of another build than this binary's: swap every attachment in place. Precondition:
// the calling thread is in the instance's namespace.
Result<void> Attacher::upgrade(Instance& instance) {
    auto config = tree_->config();
    if (!config) {
        return unexpected(config.error());
    }
    Object::Request request;
    request.programs = {kProgramNames[SG_IN], kProgramNames[SG_OUT], "sg_sweep_start"};
    request.maps = tree_->reuse();
    request.maps.emplace_back(kIfindexSpec.name, instance.ifindexes().fd());
    request.config = *config;
    auto object = Object::load(request);
    if (!object) {
        return unexpected(object.error());
    }
    auto replaced = upgrade_links(instance, *object);
    if (!replaced) {
        return replaced;
    }
    // The sweeper's timer runs the code of the object that started it.
    auto swept = run_program(object->program("sg_sweep_start"), "sg_sweep_start", std::vector<std::byte>(64));
    if (!swept) {
        return unexpected(swept.error());
    }
    if (swept->verdict != 0) {
        return unexpected(kernel_error("move the sweeper to the new programs", -static_cast<int>(swept->verdict)));
    }
    return instance.adopt_programs(*object);
}

Result<void> Attacher::upgrade_links(Instance& instance, const Object& object) {
    auto ids = instance.link_ids();
    auto bindings = instance.bindings();
    if (!ids || !bindings) {
        return unexpected(ids ? bindings.error() : ids.error());
    }
    for (const sg_direction direction : kBothDirections) {
        const int next = object.program(kProgramNames[direction]);
        auto next_info = program_info(next);
        if (!next_info) {
            return unexpected(next_info.error());
        }
        // True when the running program has other instructions than ours.
        const auto is_older = [&next_info](std::uint32_t program_id) {
            auto info = program_info_by_id(program_id);
            return !info || info->tag != next_info->tag;
        };
        for (const std::string& id : *ids) {
            auto info = pinned_link(instance, id, direction);
            if (!info) {
                return unexpected(info.error());
            }
            if (!*info || (*info)->ifindex == 0 || !is_older((*info)->program_id)) {
                continue;
            }
            auto link = open_pin(instance.link_path(id, direction));
            auto old = program_by_id((*info)->program_id);
            if (!link || !old) {
                return unexpected(link ? old.error() : link.error());
            }
            auto replaced = tcx_replace(link->get(), next, old->get());
            if (!replaced) {
                return replaced;
            }
        }
        for (const auto& [ifindex, slot] : *bindings) {
            auto own = own_program(instance, id_of_slot(slot), ifindex, direction);
            if (!own || own->where != OwnProgram::Where::kClsact || !is_older(own->program_id)) {
                continue;
            }
            auto replaced = clsact_attach(ifindex, hook_of(direction), next, true);
            if (!replaced) {
                return replaced;
            }
        }
    }
    return {};
}

}  // namespace sgbpf
