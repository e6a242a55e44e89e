// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Class KernelDatapath: which part answers which call of the seam. The parts are in their own files.
#include "datapath/kernel_datapath.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "datapath/clock.hpp"
#include "datapath/devices.hpp"
#include "datapath/features.hpp"
#include "datapath/flows.hpp"
#include "datapath/grace.hpp"
#include "datapath/libbpf_words.hpp"
#include "datapath/link.hpp"
#include "datapath/netns.hpp"
#include "datapath/pins.hpp"
#include "datapath/resets.hpp"
#include "datapath/sandbox.hpp"
#include "datapath/tree_datapath.hpp"
#include "datapath/usage.hpp"

namespace sgbpf {

namespace {

class KernelDatapath final : public TreeDatapath {
public:
    explicit KernelDatapath(KernelOptions options) : options_(std::move(options)), paths_(options_.bpffs) {
        LibbpfWords::silence();
    }

    Result<void> open(const Capacities& capacities, bool create) override;
    Result<bool> is_empty() override;
    Result<Capacities> capacities() override;
    Result<Fd> lock() override;

    Result<void> wait_grace_period() override { return wait_rcu_grace_period(); }

    Result<std::vector<Device>> devices(const std::string& netns) override;
    Result<Attachment> attach(const AttachRequest& request) override;
    Result<void> detach(const Attachment& attachment) override;
    Result<void> unbind(const Attachment& attachment) override;
    Result<void> keep_binding(const Attachment& attachment) override;
    Result<std::vector<Attachment>> attachments() override;
    Result<void> remove_all() override;

    Result<FlowSnapshot> read_flows(const FlowFilter& filter) override;
    Result<std::vector<Judged>> dry_run(const std::vector<DryRun>& packets) override;
    Result<std::vector<Judged>> try_image(const MapImage& image, const Capacities& capacities,
                                          const std::vector<DryRun>& packets) override {
        return try_image_in_sandbox(image, capacities, packets);
    }
    Result<std::vector<int>> devices_between(const Address& local, const Address& peer) override {
        return find_devices_between(local, peer);
    }
    Result<ResetsSent> send_resets(const ResetOrder& order) override;
    Result<std::vector<MapUsage>> map_usage() override;

private:
    // Everything but open(), is_empty(), devices() and remove_all() works on an open tree.
    Result<Tree*> tree() override;
    Result<std::uint64_t> ticks_now() override;

    KernelOptions options_;
    PinPaths paths_;
    Capacities wanted_;
    std::optional<Tree> tree_;
    std::optional<Attacher> attacher_;
};

Result<Tree*> KernelDatapath::tree() {
    if (!tree_) {
        return unexpected(make_error(ErrorCode::kNotFound, "nothing is loaded: no policy was ever applied here"));
    }
    return &*tree_;
}

Result<void> KernelDatapath::open(const Capacities& capacities, bool create) {
    attacher_.reset();
    tree_.reset();
    wanted_ = capacities;
    if (auto new_enough = require_kernel(kernel_release()); !new_enough) {
        return new_enough;
    }
    auto mounted = require_bpffs(paths_.bpffs(), create && options_.mount_default_bpffs);
    if (!mounted) {
        // Where nothing is mounted nothing can be pinned; a place of the user's choice is their mistake.
        const bool may_be_fresh = mounted.error().code == ErrorCode::kUnsupported && !create;
        if (may_be_fresh && paths_.bpffs() == KernelOptions().bpffs) {
            return unexpected(make_error(ErrorCode::kNotFound,
                                         "nothing is loaded: no BPF file system is mounted at " + paths_.bpffs()));
        }
        return mounted;
    }
    auto opened = Tree::open(paths_);
    if (!opened && opened.error().code == ErrorCode::kNotFound && create) {
        opened = Tree::create(paths_, capacities);
    }
    if (!opened) {
        return unexpected(opened.error());
    }
    tree_.emplace(std::move(*opened));
    attacher_.emplace(paths_, options_.netns_dir, *tree_, wanted_);
    return {};
}

Result<Fd> KernelDatapath::lock() {
    Fd directory(::open(paths_.bpffs().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) {
        return Fd();  // nothing to protect yet; open() says what is wrong
    }
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) {
        return unexpected(make_error(ErrorCode::kRefused,
                                     fmt::format("another sgbpf, with another state directory, is changing the maps in "
                                                 "{}; wait until it has finished and try again",
                                                 paths_.bpffs()),
                                     errno));
    }
    return directory;
}

Result<bool> KernelDatapath::is_empty() {
    auto mounted = require_bpffs(paths_.bpffs(), false);
    if (!mounted) {
        if (paths_.bpffs() == KernelOptions().bpffs && mounted.error().code == ErrorCode::kUnsupported) {
            return true;
        }
        return unexpected(mounted.error());
    }
    auto others = foreign_versions(paths_);
    if (!others) {
        return unexpected(others.error());
    }
    return others->empty() && !path_exists(paths_.tree());
}

Result<Capacities> KernelDatapath::capacities() {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    Capacities found;
    for (const Map& map : (*open_tree)->maps()) {
        if (map.spec().capacity != nullptr) {
            found.*map.spec().capacity = map.max_entries();
        }
    }
    // Every namespace has its own; those to come get what is wanted now.
    found.ifindexes = wanted_.ifindexes;
    auto inodes = instance_inodes(paths_);
    if (!inodes) {
        return unexpected(inodes.error());
    }
    for (const std::uint64_t inode : *inodes) {
        if (auto instance = Instance::open(paths_, inode)) {
            found.ifindexes = std::min(found.ifindexes, instance->ifindexes().max_entries());
        }
    }
    return found;
}

Result<std::vector<Device>> KernelDatapath::devices(const std::string& netns) {
    auto found = netns_by_name(netns, options_.netns_dir);
    if (!found) {
        return unexpected(found.error());
    }
    auto guard = NetnsGuard::enter(*found);
    return guard ? list_devices(netns) : Result<std::vector<Device>>(unexpected(guard.error()));
}

Result<Attachment> KernelDatapath::attach(const AttachRequest& request) {
    auto open_tree = tree();
    return open_tree ? attacher_->attach(request) : Result<Attachment>(unexpected(open_tree.error()));
}

Result<void> KernelDatapath::detach(const Attachment& attachment) {
    auto open_tree = tree();
    return open_tree ? attacher_->detach(attachment) : Result<void>(unexpected(open_tree.error()));
}

Result<void> KernelDatapath::unbind(const Attachment& attachment) {
    auto open_tree = tree();
    return open_tree ? attacher_->unbind(attachment) : Result<void>(unexpected(open_tree.error()));
}

Result<void> KernelDatapath::keep_binding(const Attachment& attachment) {
    auto open_tree = tree();
    return open_tree ? attacher_->keep_binding(attachment) : Result<void>(unexpected(open_tree.error()));
}

Result<std::vector<Attachment>> KernelDatapath::attachments() {
    auto open_tree = tree();
    return open_tree ? attacher_->list() : Result<std::vector<Attachment>>(unexpected(open_tree.error()));
}

Result<void> KernelDatapath::remove_all() {
    attacher_.reset();
    tree_.reset();
    auto mounted = require_bpffs(paths_.bpffs(), false);
    if (!mounted) {
        return mounted;
    }
    return remove_everything(paths_, options_.netns_dir);
}

Result<std::uint64_t> KernelDatapath::ticks_now() {
    auto clock = TickClock::open();
    if (!clock) {
        return unexpected(clock.error());
    }
    auto now = clock->read();
    return now ? Result<std::uint64_t>(now->ticks) : Result<std::uint64_t>(unexpected(now.error()));
}

Result<FlowSnapshot> KernelDatapath::read_flows(const FlowFilter& filter) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    auto snapshot = read_flow_records(**open_tree, filter);
    if (snapshot) {
        auto now = ticks_now();
        if (!now) {
            return unexpected(now.error());
        }
        snapshot->now = *now;
    }
    return snapshot;
}

Result<std::vector<Judged>> KernelDatapath::dry_run(const std::vector<DryRun>& packets) {
    auto open_tree = tree();
    auto now = ticks_now();
    if (!open_tree || !now) {
        return unexpected(open_tree ? now.error() : open_tree.error());
    }
    return dry_run_on(**open_tree, packets, *now);
}

Result<ResetsSent> KernelDatapath::send_resets(const ResetOrder& order) {
    auto netns = netns_by_name(order.device.netns, options_.netns_dir);
    auto guard = netns ? NetnsGuard::enter(*netns) : Result<NetnsGuard>(unexpected(netns.error()));
    if (!guard) {
        return unexpected(guard.error());
    }
    return order.role == Role::kHost ? destroy_sockets(order) : send_reset_frames(order);
}

Result<std::vector<MapUsage>> KernelDatapath::map_usage() {
    auto open_tree = tree();
    return open_tree ? measure_usage(**open_tree, paths_)
                     : Result<std::vector<MapUsage>>(unexpected(open_tree.error()));
}

}  // namespace

std::unique_ptr<Datapath> make_kernel_datapath(KernelOptions options) {
    return std::make_unique<KernelDatapath>(std::move(options));
}

}  // namespace sgbpf
