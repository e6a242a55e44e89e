// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The programs of a namespace: loaded when its first device is attached, swapped in place when this binary
// brings other ones. Never detached and attached: packets would pass unfiltered in between.
#include "datapath/features.hpp"
#include "datapath/link.hpp"

namespace sgbpf {

namespace {

// A program of this binary, and what tells it from those that run.
struct Replacement {
    int program = -1;
    std::string tag;

    static Result<Replacement> of(int program) {
        auto info = program_info(program);
        if (!info) {
            return unexpected(info.error());
        }
        return Replacement{program, info->tag};
    }
    // The running program has other instructions.
    [[nodiscard]] bool is_newer_than(std::uint32_t running) const {
        auto info = program_info_by_id(running);
        return !info || info->tag != tag;
    }
};

}  // namespace

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
    auto tc = Object::load(request);
    if (!tc) {
        return unexpected(tc.error());
    }
    request.kind = ObjectKind::kXdp;
    request.programs = {kXdpProgramName};
    auto xdp = Object::load(request);
    if (!xdp) {
        return unexpected(xdp.error());
    }
    auto replaced =
        in_order([&] { return upgrade_links(instance, *tc, *xdp); }, [&] { return upgrade_filters(instance, *tc); });
    if (!replaced) {
        return replaced;
    }
    // The sweeper's timer runs the code of the object that started it.
    auto swept = run_program(tc->program("sg_sweep_start"), "sg_sweep_start", std::vector<std::byte>(64));
    if (!swept) {
        return unexpected(swept.error());
    }
    if (swept->verdict != 0) {
        return unexpected(kernel_error("move the sweeper to the new programs", -static_cast<int>(swept->verdict)));
    }
    return instance.adopt_programs(*tc, *xdp);
}

Result<void> Attacher::upgrade_links(Instance& instance, const Object& tc, const Object& xdp) {
    auto ids = instance.link_ids();
    auto xdp_next = Replacement::of(xdp.program(kXdpProgramName));
    if (!ids || !xdp_next) {
        return unexpected(ids ? xdp_next.error() : ids.error());
    }
    for (const sg_direction direction : kBothDirections) {
        auto tc_next = Replacement::of(tc.program(kProgramNames[direction]));
        if (!tc_next) {
            return unexpected(tc_next.error());
        }
        for (const std::string& id : *ids) {
            auto info = pinned_link(instance, id, direction);
            if (!info) {
                return unexpected(info.error());
            }
            if (!*info || (*info)->ifindex == 0) {
                continue;
            }
            const Replacement& next = is_xdp(**info) ? *xdp_next : *tc_next;
            if (!next.is_newer_than((*info)->program_id)) {
                continue;
            }
            auto link = open_pin(instance.link_path(id, direction));
            auto old = program_by_id((*info)->program_id);
            if (!link || !old) {
                return unexpected(link ? old.error() : link.error());
            }
            auto replaced = replace_program(link->get(), next.program, old->get());
            if (!replaced) {
                return replaced;
            }
        }
    }
    return {};
}

Result<void> Attacher::upgrade_filters(Instance& instance, const Object& tc) {
    auto bindings = instance.bindings();
    if (!bindings) {
        return unexpected(bindings.error());
    }
    for (const sg_direction direction : kBothDirections) {
        auto next = Replacement::of(tc.program(kProgramNames[direction]));
        if (!next) {
            return unexpected(next.error());
        }
        for (const auto& [ifindex, binding] : *bindings) {
            const Role role = role_of(binding);
            auto own = own_program(instance, id_of_slot(binding.interface_slot), ifindex, role, direction);
            if (!own) {
                return unexpected(own.error());
            }
            if (own->kind != HookKind::kClsact || !next->is_newer_than(own->program_id)) {
                continue;
            }
            auto replaced = clsact_attach(ifindex, hook_of(role, direction), next->program, true);
            if (!replaced) {
                return replaced;
            }
        }
    }
    return {};
}

}  // namespace sgbpf
