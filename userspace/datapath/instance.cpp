// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Class Instance of pins.hpp: the programs and bindings of one network namespace.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "datapath/pins.hpp"

namespace sgbpf {

namespace {

constexpr std::string_view kBuildPrefix = "build-";
constexpr std::array<const char*, SG_DIRECTIONS + 1> kPinNames = {kProgramNames[SG_IN], kProgramNames[SG_OUT],
                                                                  kXdpProgramName};

Result<Fd> open_own_pin(const std::string& path) {
    auto fd = open_pin(path);
    return fd || fd.error().code != ErrorCode::kNotFound ? std::move(fd) : unexpected(missing_pin(path));
}

}  // namespace

Result<Instance> Instance::open_at(const std::string& path, std::uint64_t netns_inode) {
    Programs programs;
    for (std::size_t i = 0; i < programs.size(); ++i) {
        auto fd = open_own_pin(fmt::format("{}/{}", path, kPinNames[i]));
        if (!fd) {
            return unexpected(fd.error());
        }
        programs[i] = std::move(*fd);
    }
    auto fd = open_own_pin(fmt::format("{}/{}", path, kIfindexSpec.name));
    if (!fd) {
        return unexpected(fd.error());
    }
    auto ifindexes = Map::adopt(std::move(*fd), kIfindexSpec);
    if (!ifindexes) {
        return unexpected(ifindexes.error());
    }
    return Instance(path, netns_inode, std::move(programs), std::move(*ifindexes));
}

Result<Instance> Instance::open(const PinPaths& paths, std::uint64_t netns_inode) {
    const std::string path = paths.instance(netns_inode);
    if (!path_exists(path)) {
        return unexpected(make_error(ErrorCode::kNotFound, path + " does not exist"));
    }
    return open_at(path, netns_inode);
}

Result<Instance> Instance::create(const PinPaths& paths, std::uint64_t netns_inode, Tree& tree,
                                  const Capacities& capacities) {
    auto config = tree.config();
    if (!config) {
        return unexpected(config.error());
    }
    Object::Request request;
    request.programs.assign(kProgramNames.begin(), kProgramNames.end());
    request.maps = tree.reuse();
    request.create = capacities;  // only sg_ifindex is left to make
    request.config = *config;
    auto tc = Object::load(request);
    if (!tc) {
        return unexpected(tc.error());
    }
    request.kind = ObjectKind::kXdp;
    request.programs = {kXdpProgramName};
    request.maps.emplace_back(kIfindexSpec.name, tc->map(kIfindexSpec.name));
    request.create.reset();
    auto xdp = Object::load(request);
    if (!xdp) {
        return unexpected(xdp.error());
    }
    const std::string staging = paths.instance_staging();
    auto pinned =
        in_order([&] { return remove_directory_tree(staging); }, [&] { return make_directory(staging); },
                 [&] { return make_directory(staging + "/links"); },
                 [&] { return make_directory(fmt::format("{}/{}{}", staging, kBuildPrefix, Object::build_id())); },
                 [&] { return pin(tc->map(kIfindexSpec.name), fmt::format("{}/{}", staging, kIfindexSpec.name)); },
                 [&] { return pin(tc->program(kProgramNames[SG_IN]), staging + "/" + kProgramNames[SG_IN]); },
                 [&] { return pin(tc->program(kProgramNames[SG_OUT]), staging + "/" + kProgramNames[SG_OUT]); },
                 [&] { return pin(xdp->program(kXdpProgramName), staging + "/" + kXdpProgramName); },
                 [&] { return rename_path(staging, paths.instance(netns_inode)); });
    if (!pinned) {
        return unexpected(pinned.error());
    }
    return open(paths, netns_inode);
}

std::string Instance::link_path(const std::string& interface_id, sg_direction direction) const {
    return fmt::format("{}/links/{}{}", path_, interface_id, direction == SG_IN ? "_in" : "_out");
}

Result<std::vector<std::string>> Instance::link_ids() const {
    auto names = directory_names(path_ + "/links");
    if (!names) {
        return unexpected(names.error());
    }
    std::vector<std::string> ids;
    for (const std::string& name : *names) {
        ids.push_back(name.substr(0, name.rfind('_')));
    }
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
}

Result<sg_binding> Instance::binding(int ifindex) {
    return TypedMap<std::uint32_t, sg_binding>(ifindexes_).get(static_cast<std::uint32_t>(ifindex));
}

Result<void> Instance::bind(int ifindex, const sg_binding& binding) {
    return TypedMap<std::uint32_t, sg_binding>(ifindexes_).put(static_cast<std::uint32_t>(ifindex), binding);
}

Result<void> Instance::settle(int ifindex) {
    auto found = binding(ifindex);
    if (!found) {
        return unexpected(found.error());
    }
    found->since = 0;
    return bind(ifindex, *found);
}

Result<void> Instance::bind_left(int ifindex) {
    auto before = binding(ifindex);
    return before ? bind(ifindex, {.flags = SG_BINDING_LEFT | (before->flags & SG_BINDING_HOST)})
                  : Result<void>(unexpected(before.error()));
}

std::string Instance::left_id(int ifindex) const {
    return fmt::format("left-{}-{}", netns_inode_, ifindex);
}

Result<std::vector<std::pair<int, sg_binding>>> Instance::bindings() {
    std::vector<std::pair<int, sg_binding>> bound;
    auto read = for_each_row(ifindexes_, [&bound](const std::byte* key, const std::byte* value) {
        std::uint32_t ifindex = 0;
        sg_binding binding{};
        std::memcpy(&ifindex, key, sizeof(ifindex));
        std::memcpy(&binding, value, sizeof(binding));
        if (binding.interface_slot != 0 || (binding.flags & SG_BINDING_LEFT) != 0) {
            bound.emplace_back(static_cast<int>(ifindex), binding);
        }
    });
    if (!read) {
        return unexpected(read.error());
    }
    return bound;
}

std::string Instance::build_id() const {
    auto names = directory_names(path_);
    if (names) {
        for (const std::string& name : *names) {
            if (name.starts_with(kBuildPrefix)) {
                return name.substr(kBuildPrefix.size());
            }
        }
    }
    return {};
}

Result<void> Instance::adopt_programs(const Object& tc, const Object& xdp) {
    const std::string before = build_id();
    for (std::size_t i = 0; i < programs_.size(); ++i) {
        const std::string path = fmt::format("{}/{}", path_, kPinNames[i]);
        const Object& object = i < SG_DIRECTIONS ? tc : xdp;
        const std::string next = path + "_next";
        auto pinned =
            in_order([&] { return remove_directory_tree(next); },
                     [&] { return pin(object.program(kPinNames[i]), next); }, [&] { return rename_path(next, path); });
        if (!pinned) {
            return pinned;
        }
        auto fd = open_pin(path);
        if (!fd) {
            return unexpected(fd.error());
        }
        programs_[i] = std::move(*fd);
    }
    const std::string marker = fmt::format("{}/{}{}", path_, kBuildPrefix, Object::build_id());
    return before.empty() ? make_directory(marker)
                          : rename_path(fmt::format("{}/{}{}", path_, kBuildPrefix, before), marker);
}

}  // namespace sgbpf
