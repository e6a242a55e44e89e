// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The durable half of the datapath: what is pinned where, and how it comes and goes. See pins.cpp for
// layout, invariants and crash points.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sgbpf/result.hpp>

#include "base/fd.hpp"
#include "datapath/map.hpp"
#include "datapath/object.hpp"
#include "datapath/raw_bpf.hpp"

namespace sgbpf {

// Paths below <bpffs>/sgbpf. No name contains '.': bpffs refuses it.
class PinPaths {
public:
    explicit PinPaths(std::string bpffs) : bpffs_(std::move(bpffs)) {}
    [[nodiscard]] const std::string& bpffs() const { return bpffs_; }
    [[nodiscard]] std::string root() const { return bpffs_ + "/sgbpf"; }
    [[nodiscard]] std::string version() const;  // "v" + SG_ABI_VERSION
    [[nodiscard]] std::string tree() const { return root() + "/" + version(); }
    [[nodiscard]] std::string staging() const { return root() + "/staging"; }
    [[nodiscard]] std::string maps() const { return tree() + "/maps"; }
    [[nodiscard]] std::string instance(std::uint64_t netns_inode) const;
    [[nodiscard]] std::string link(std::uint64_t netns_inode, const std::string& interface_id,
                                   sg_direction direction) const;
    [[nodiscard]] std::string instance_staging() const { return tree() + "/staging"; }

private:
    std::string bpffs_;
};

Result<void> pin(int fd, const std::string& path);
Result<Fd> open_pin(const std::string& path);  // kNotFound: nothing there
// A pin that must be there is not: kCorrupt, with the cure.
Error missing_pin(const std::string& path);
bool path_exists(const std::string& path);
Result<void> make_directory(const std::string& path);                       // fine when it exists
Result<void> rename_path(const std::string& from, const std::string& to);   // replaces a pin, not a directory
Result<void> remove_directory_tree(const std::string& path);                // fine when it is not there
Result<std::vector<std::string>> directory_names(const std::string& path);  // sorted; empty when not there
// Steps, until one fails.
template <typename... Steps> Result<void> in_order(const Steps&... steps) {
    Result<void> result;
    static_cast<void>(((result = steps(), result.has_value()) && ...));
    return result;
}
// Versions under root() other than ours, "v3" ...
Result<std::vector<std::string>> foreign_versions(const PinPaths& paths);

// The maps all namespaces share.
class Tree {
public:
    // Error kNotFound: nothing is loaded; kUnsupported: pins of another ABI version.
    static Result<Tree> open(const PinPaths& paths);
    // Makes the tree, complete or not at all. Precondition: open() said kNotFound.
    static Result<Tree> create(const PinPaths& paths, const Capacities& capacities);
    // The maps that a loaded object made, pinned nowhere.
    static Result<Tree> adopt(const Object& object);
    // Writes sg_control of maps that nobody has seen yet.
    Result<void> initialise(std::uint32_t ticks_per_second, std::uint64_t hash_seed);

    Map& map(MapId id) { return maps_[map_position(id)]; }
    Map& map(HostMap id) { return maps_[map_position(id)]; }
    [[nodiscard]] std::vector<Map>& maps() { return maps_; }
    // Names and descriptors, for loading programs on these maps.
    [[nodiscard]] std::vector<std::pair<std::string_view, int>> reuse() const;
    Result<sg_control*> control();
    // .rodata of programs that work on these maps.
    Result<sg_config> config();

private:
    explicit Tree(std::vector<Map> maps) : maps_(std::move(maps)) {}
    std::vector<Map> maps_;
};

// A program that user space runs, loaded on the maps of a tree.
Result<Object> load_on(Tree& tree, std::string_view program);
// Runs it once, without a request; what it returns is 0 or a negative errno.
Result<void> run_on(Tree& tree, std::string_view program);

// Puts every record slot of new maps on the free list. `object` has program sg_fill.
Result<void> fill_free_list(Object& object, const Capacities& capacities);

// Programs and ifindex map of one network namespace, and the directory of its links.
class Instance {
public:
    static Result<Instance> open(const PinPaths& paths, std::uint64_t netns_inode);  // kNotFound: none yet
    static Result<Instance> create(const PinPaths& paths, std::uint64_t netns_inode, Tree& tree,
                                   const Capacities& capacities);

    [[nodiscard]] std::uint64_t netns_inode() const { return netns_inode_; }
    [[nodiscard]] int program(sg_direction direction) const { return programs_[direction].get(); }
    [[nodiscard]] int xdp_program() const { return programs_[SG_DIRECTIONS].get(); }
    [[nodiscard]] std::string link_path(const std::string& interface_id, sg_direction direction) const;
    Result<std::vector<std::string>> link_ids() const;  // interface ids that have a link pin, sorted
    Map& ifindexes() { return ifindexes_; }

    Result<sg_binding> binding(int ifindex);                    // slot 0: none
    Result<void> bind(int ifindex, const sg_binding& binding);  // {}: to nothing
    // Forgets the unconfirmed commit that a device was bound for.
    Result<void> settle(int ifindex);
    // The device stays attached without an interface; its links are then named left_id().
    Result<void> bind_left(int ifindex);
    [[nodiscard]] std::string left_id(int ifindex) const;        // unique on the host
    Result<std::vector<std::pair<int, sg_binding>>> bindings();  // by ifindex, of all bound; slot 0: left

    // Build of the programs (Object::build_id()) that are pinned, or were when the last upgrade ended.
    [[nodiscard]] std::string build_id() const;
    // Pins newer programs; every attachment runs them already.
    Result<void> adopt_programs(const Object& tc, const Object& xdp);

private:
    // By direction; the last one is the XDP program.
    using Programs = std::array<Fd, SG_DIRECTIONS + 1>;
    Instance(std::string path, std::uint64_t inode, Programs programs, Map ifindexes)
        : path_(std::move(path)), netns_inode_(inode), programs_(std::move(programs)),
          ifindexes_(std::move(ifindexes)) {}
    static Result<Instance> open_at(const std::string& path, std::uint64_t netns_inode);

    std::string path_;
    std::uint64_t netns_inode_;
    Programs programs_;
    Map ifindexes_;
};

// Inodes of the namespaces that have an instance.
Result<std::vector<std::uint64_t>> instance_inodes(const PinPaths& paths);

inline constexpr std::array<const char*, SG_DIRECTIONS> kProgramNames = {"sg_tc_in", "sg_tc_out"};
inline constexpr const char* kXdpProgramName = "sg_xdp_in";

// What is remembered of an attached device's role.
constexpr Role role_of(const sg_binding& binding) {
    return (binding.flags & SG_BINDING_HOST) != 0 ? Role::kHost : Role::kWorkload;
}

}  // namespace sgbpf
