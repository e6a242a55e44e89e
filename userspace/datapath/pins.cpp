// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Layout, below <bpffs>/sgbpf:
 *
 *   v3/                           v + SG_ABI_VERSION
 *     maps/<map>                  maps all namespaces share; sg_sweep holds the sweeper's timer
 *     ns-<netns inode>/           one per network namespace with attached devices
 *       sg_tc_in  sg_tc_out       programs; sg_xdp_in is for role host
 *       sg_xdp_in
 *       sg_ifindex                ifindex -> interface slot
 *       build-<16 hex>/           empty; its name says from which object file the programs are
 *       links/<interface id>_in   tcx and XDP links; clsact filters have no pin, they stay with the device
 *             <interface id>_out
 *             left-<netns inode>-<ifindex>_in, _out: the device of an interface that left; it stays
 *                             attached, bound to slot 0, and drops all but the exempt list
 *     staging/                    an instance being made or removed
 *   staging/                      a tree being made or removed
 *
 * Locks: every call that writes runs under the state directory's lock, which the caller holds; readers
 * take none and see a directory before or after a rename, never half of one.
 *
 * Invariants:
 *   I1  v3/ and v3/ns-* are complete: they appear by rename(2) from staging when all is in them, the
 *       free list is filled and the sweeper runs. What is under staging belongs to nobody and is removed
 *       by the next create or remove.
 *   I2  A device bound in sg_ifindex before its links exist, and until they are gone: an attached
 *       program always knows its interface. (Unbound, it would drop all but the exempt list.) The binding
 *       tells the role, and so at which hooks the device's programs are.
 *   I3  Every pinned link of an instance runs programs of the build named, or, while an upgrade goes
 *       on, of that or this binary's build; each works on the same maps.
 *
 * Crash points, and what the next run finds:
 *   create:   before the rename      -> staging, removed; nothing else knows of it
 *   attach:   after the binding      -> binding without links: no effect on packets; attachments() tells
 *             between the two links  -> one direction attached: attachments() tells, attach finishes it
 *             link made, not pinned  -> the link ended with the process; as one step earlier
 *   upgrade:  between two links      -> old build name: the next attach goes through all links again
 *             program pins replaced  -> the same
 *   unbind:   links renamed, bound   -> the device drops by a slot without rules; unbind again
 *   detach:   after one link         -> one direction left; detach again
 *             links gone, bound      -> binding without links
 *   remove:   before the rename      -> v3 with fewer attachments; remove again
 *             after it               -> staging, removed by the next create or remove
 */
#include "datapath/pins.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <random>

#include <fmt/format.h>

#include "datapath/clock.hpp"
#include "datapath/features.hpp"

namespace sgbpf {

namespace {

constexpr std::string_view kInstancePrefix = "ns-";

Result<void> start_sweeper(Object& object) {
    auto started = run_program(object.program("sg_sweep_start"), "sg_sweep_start", std::vector<std::byte>(64));
    if (!started) {
        return unexpected(started.error());
    }
    if (started->verdict != 0) {
        return unexpected(kernel_error("start the timer of the flow sweeper", -static_cast<int>(started->verdict)));
    }
    return {};
}

std::uint64_t random_seed() {
    std::random_device source;
    return std::uint64_t{source()} << 32 | source();
}

Result<void> check_versions(const PinPaths& paths) {
    auto others = foreign_versions(paths);
    if (!others) {
        return unexpected(others.error());
    }
    if (!others->empty()) {
        return unexpected(make_error(
            ErrorCode::kUnsupported,
            fmt::format(
                "{}/{} was pinned by another version of sgbpf (this one uses {}); it keeps filtering; remove it "
                "with the sgbpf that made it",
                paths.root(), others->front(), paths.version())));
    }
    return {};
}

}  // namespace

std::string PinPaths::version() const {
    return fmt::format("v{}", SG_ABI_VERSION);
}

std::string PinPaths::instance(std::uint64_t netns_inode) const {
    return fmt::format("{}/{}{}", tree(), kInstancePrefix, netns_inode);
}

std::string PinPaths::link(std::uint64_t netns_inode, const std::string& interface_id, sg_direction direction) const {
    return fmt::format("{}/links/{}{}", instance(netns_inode), interface_id, direction == SG_IN ? "_in" : "_out");
}

Result<std::vector<std::string>> foreign_versions(const PinPaths& paths) {
    auto names = directory_names(paths.root());
    if (!names) {
        return unexpected(names.error());
    }
    std::erase_if(*names, [&paths](const std::string& name) {
        const bool is_version =
            name.size() > 1 && name[0] == 'v' && name.find_first_not_of("0123456789", 1) == std::string::npos;
        return !is_version || name == paths.version();
    });
    return names;
}

Result<Tree> Tree::open(const PinPaths& paths) {
    auto versions = check_versions(paths);
    if (!versions) {
        return unexpected(versions.error());
    }
    if (!path_exists(paths.tree())) {
        return unexpected(make_error(ErrorCode::kNotFound, "nothing is loaded: no policy was ever applied here"));
    }
    std::vector<Map> maps;
    for (const MapSpec& spec : host_map_specs()) {
        const std::string path = fmt::format("{}/{}", paths.maps(), spec.name);
        auto fd = open_pin(path);
        if (!fd) {
            if (fd.error().code == ErrorCode::kNotFound) {
                return unexpected(missing_pin(path));
            }
            return unexpected(fd.error());
        }
        auto map = Map::adopt(std::move(*fd), spec);
        if (!map) {
            return unexpected(map.error());
        }
        maps.push_back(std::move(*map));
    }
    Tree tree(std::move(maps));
    auto control = tree.control();
    if (!control) {
        return unexpected(control.error());
    }
    if ((*control)->abi_version != SG_ABI_VERSION) {
        return unexpected(make_error(ErrorCode::kUnsupported,
                                     fmt::format("{} holds maps of layout {}, this sgbpf uses {}; remove them with the "
                                                 "sgbpf that made them",
                                                 paths.tree(), (*control)->abi_version, SG_ABI_VERSION)));
    }
    return tree;
}

Result<Tree> Tree::adopt(const Object& object) {
    std::vector<Map> maps;
    for (const MapSpec& spec : host_map_specs()) {
        Fd fd(::fcntl(object.map(spec.name), F_DUPFD_CLOEXEC, 3));
        if (!fd.valid()) {
            return unexpected(kernel_error(fmt::format("take map {}", spec.name), errno));
        }
        auto map = Map::adopt(std::move(fd), spec);
        if (!map) {
            return unexpected(map.error());
        }
        maps.push_back(std::move(*map));
    }
    return Tree(std::move(maps));
}

Result<Tree> Tree::create(const PinPaths& paths, const Capacities& capacities) {
    const auto stage = [&]() -> Result<void> {
        auto made = in_order(
            [&] { return make_directory(paths.root()); }, [&] { return remove_directory_tree(paths.staging()); },
            [&] { return make_directory(paths.staging()); }, [&] { return make_directory(paths.staging() + "/maps"); });
        if (!made) {
            return made;
        }
        auto ticks = measure_ticks_per_second();
        if (!ticks) {
            return unexpected(ticks.error());
        }
        Object::Request request;
        request.programs = {"sg_fill", "sg_sweep_start"};
        request.create = capacities;
        request.create->ifindexes = 1;  // of no use here: every namespace makes its own
        request.config =
            sg_config{.abi_version = SG_ABI_VERSION, .ticks_per_second = *ticks, .flow_slots = capacities.flows};
        auto object = Object::load(request);
        if (!object) {
            return unexpected(object.error());
        }
        for (const MapSpec& spec : host_map_specs()) {
            auto pinned = pin(object->map(spec.name), fmt::format("{}/maps/{}", paths.staging(), spec.name));
            if (!pinned) {
                return pinned;
            }
        }
        auto tree = adopt(*object);
        if (!tree) {
            return unexpected(tree.error());
        }
        auto started =
            in_order([&] { return tree->initialise(*ticks, random_seed()); },
                     [&] { return fill_free_list(*object, capacities); }, [&] { return start_sweeper(*object); });
        if (!started) {
            return started;
        }
        return rename_path(paths.staging(), paths.tree());
    };
    auto staged = stage();
    if (!staged) {
        // Best effort: I1 does not depend on it.
        (void)remove_directory_tree(paths.staging()).has_value();
        return unexpected(staged.error());
    }
    return open(paths);
}

Result<Object> load_on(Tree& tree, std::string_view program) {
    auto config = tree.config();
    if (!config) {
        return unexpected(config.error());
    }
    Object::Request request;
    request.programs = {program};
    request.maps = tree.reuse();
    request.config = *config;
    return Object::load(request);
}

Result<void> run_on(Tree& tree, std::string_view program) {
    auto object = load_on(tree, program);
    if (!object) {
        return unexpected(object.error());
    }
    auto run = run_program(object->program(program), program, std::vector<std::byte>(64));
    if (!run) {
        return unexpected(run.error());
    }
    if (const int code = static_cast<int>(run->verdict); code != 0) {
        return unexpected(kernel_error(fmt::format("program {}", program), -code));
    }
    return {};
}

Result<void> fill_free_list(Object& object, const Capacities& capacities) {
    auto filled = run_program(object.program("sg_fill"), "sg_fill", std::vector<std::byte>(64));
    if (!filled) {
        return unexpected(filled.error());
    }
    // Slot 0 of the records stays unused.
    if (filled->verdict != capacities.flows - 1) {
        return unexpected(
            make_error(ErrorCode::kSystem, fmt::format("fill the list of free flow slots: {} of {} went in",
                                                       filled->verdict, capacities.flows - 1)));
    }
    return {};
}

Result<void> Tree::initialise(std::uint32_t ticks_per_second, std::uint64_t hash_seed) {
    sg_control record{};
    record.abi_version = SG_ABI_VERSION;
    record.ticks_per_second = ticks_per_second;
    record.hash_seed = hash_seed;
    const std::uint32_t zero = 0;
    return map_update(map(HostMap::kControl), &zero, &record);
}

std::vector<std::pair<std::string_view, int>> Tree::reuse() const {
    std::vector<std::pair<std::string_view, int>> list;
    for (const Map& map : maps_) {
        list.emplace_back(map.spec().name, map.fd());
    }
    return list;
}

Result<sg_control*> Tree::control() {
    auto records = elements<sg_control>(map(HostMap::kControl));
    if (!records) {
        return unexpected(records.error());
    }
    return records->data();
}

Result<sg_config> Tree::config() {
    auto record = control();
    if (!record) {
        return unexpected(record.error());
    }
    return sg_config{.abi_version = SG_ABI_VERSION,
                     .ticks_per_second = (*record)->ticks_per_second,
                     .flow_slots = map(HostMap::kFlows).max_entries(),
                     .hint_mask = map(HostMap::kFlowHints).max_entries() - 1,
                     .hash_seed = (*record)->hash_seed};
}

Result<std::vector<std::uint64_t>> instance_inodes(const PinPaths& paths) {
    auto names = directory_names(paths.tree());
    if (!names) {
        return unexpected(names.error());
    }
    std::vector<std::uint64_t> inodes;
    for (const std::string& name : *names) {
        std::uint64_t inode = 0;
        if (name.starts_with(kInstancePrefix)) {
            const char* end = name.data() + name.size();
            if (std::from_chars(name.data() + kInstancePrefix.size(), end, inode).ptr == end) {
                inodes.push_back(inode);
            }
        }
    }
    return inodes;
}

}  // namespace sgbpf
