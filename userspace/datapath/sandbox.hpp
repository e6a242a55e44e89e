// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The real programs on maps of their own, under a clock that the caller sets: for `replay`, for asking
// beforehand what a commit would do, and for tests. A Datapath as far as commits, flows and counters go;
// nothing is pinned, no device is touched, and all of it ends with the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "datapath/object.hpp"
#include "datapath/tree_datapath.hpp"

namespace sgbpf {

class Sandbox : public TreeDatapath {
public:
    struct Options {
        Capacities capacities;
        ObjectKind kind = ObjectKind::kTc;  // which programs judge
        bool live = false;                  // as attached, for benchmarks: clock and interface are the kernel's
    };
    static Result<std::unique_ptr<Sandbox>> load(const Options& options);

    // Judges one frame (from the Ethernet header on, at least 14 bytes) and remembers it as the live
    // programs would. A frame longer than a test run can carry is cut, its length is told to the program.
    struct Packet {
        unsigned direction = SG_IN;
        std::uint32_t interface_slot = 0;
        std::span<const std::byte> frame;
        std::uint64_t now_ms = 0;
        bool vlan_tag = false;     // behave as if the skb's metadata carried a tag
        std::uint32_t length = 0;  // on the wire, if more than was captured
    };
    Result<Judged> judge(const Packet& packet);
    // Makes the empty maps hold an image.
    Result<void> fill(const MapImage& image);
    // One slice of the sweeper at that time (SG_SWEEP_RECORDS records).
    Result<void> sweep(std::uint64_t now_ms);
    // The record of a flow as it is now; nullopt: the slot holds none.
    std::optional<sg_flow> flow_at(std::uint32_t slot);

    // Other threads run the programs: commits then wait for them. Otherwise nobody judges meanwhile.
    void share() { shared_ = true; }

    [[nodiscard]] int program(std::string_view name) const;
    [[nodiscard]] Object& tc() { return tc_; }
    [[nodiscard]] Tree& maps() { return tree_; }

    Result<void> open(const Capacities& /*capacities*/, bool /*create*/) override { return {}; }
    Result<bool> is_empty() override { return false; }
    Result<Capacities> capacities() override { return capacities_; }
    Result<void> wait_grace_period() override;
    Result<FlowSnapshot> read_flows(const FlowFilter& filter) override;
    Result<std::vector<Judged>> dry_run(const std::vector<DryRun>& packets) override;
    Result<std::vector<Judged>> try_image(const MapImage& image, const Capacities& capacities,
                                          const std::vector<DryRun>& packets) override;
    Result<std::vector<int>> devices_between(const Address& /*local*/, const Address& /*peer*/) override {
        return std::vector<int>{};
    }
    Result<ResetsSent> send_resets(const ResetOrder& /*order*/) override { return ResetsSent{}; }
    Result<std::vector<MapUsage>> map_usage() override { return std::vector<MapUsage>{}; }
    // There are no devices.
    Result<std::vector<Device>> devices(const std::string& /*netns*/) override { return std::vector<Device>{}; }
    Result<Attachment> attach(const AttachRequest& /*request*/) override { return Attachment{}; }
    Result<void> detach(const Attachment& /*attachment*/) override { return {}; }
    Result<void> unbind(const Attachment& /*attachment*/) override { return {}; }
    Result<void> keep_binding(const Attachment& /*attachment*/) override { return {}; }
    Result<std::vector<Attachment>> attachments() override { return std::vector<Attachment>{}; }
    Result<void> remove_all() override { return {}; }

protected:
    Sandbox(const Options& options, Object tc, std::optional<Object> xdp, Tree tree)
        : capacities_(options.capacities), tc_(std::move(tc)), xdp_(std::move(xdp)), tree_(std::move(tree)) {}
    Result<Tree*> tree() override { return &tree_; }
    Result<std::uint64_t> ticks_now() override { return now_ms_; }

private:
    Capacities capacities_;
    Object tc_;
    std::optional<Object> xdp_;
    Tree tree_;
    std::uint64_t now_ms_ = 0;
    bool shared_ = false;
};

// Runs a program of an object in test_mode once.
Result<Judged> judge_once(Object& object, std::string_view program, const Sandbox::Packet& packet);

// Judges packets on private maps that hold `image`.
Result<std::vector<Judged>> try_image_in_sandbox(const MapImage& image, const Capacities& capacities,
                                                 const std::vector<DryRun>& packets);

// Judges packets on the maps of `tree` at `now` ticks without writing any: what `why` asks.
Result<std::vector<Judged>> dry_run_on(Tree& tree, const std::vector<DryRun>& packets, std::uint64_t now);

// Bytes of a frame that a test run takes at most; the rest of it is payload.
inline constexpr std::size_t kTestRunBytes = 3000;

}  // namespace sgbpf
