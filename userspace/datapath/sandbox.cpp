// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/sandbox.hpp"

#include <algorithm>
#include <array>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include "datapath/features.hpp"
#include "datapath/flows.hpp"
#include "datapath/grace.hpp"
#include "datapath/libbpf_words.hpp"
#include "image/plan.hpp"

namespace sgbpf {

namespace {

constexpr std::uint32_t kTicksPerSecond = 1000;  // ticks are milliseconds
constexpr std::size_t kEthernetHeader = 14;
constexpr std::uint64_t kHashSeed = 1;  // nobody aims collisions here, and runs are repeatable

constexpr std::array<std::string_view, SG_DIRECTIONS> kTcPrograms = {"sg_tc_in", "sg_tc_out"};
constexpr std::array<std::string_view, SG_DIRECTIONS> kXdpPrograms = {"sg_xdp_in", "sg_xdp_out"};

constexpr int kTcNext = -1;  // bpf/sg_tc.bpf.c
constexpr std::uint32_t kFewFlows = 64;

// Newer kernels (6.18 does, 6.1 does not) refuse a test run with an IP packet shorter than its header, though
// such a frame can be on a wire. They look no further than a VLAN tag; the programs do, and find it truncated.
std::optional<std::vector<std::byte>> behind_a_tag(std::span<const std::byte> frame) {
    constexpr std::array kTag = {std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{0}};
    constexpr std::size_t kTypeAt = 12;
    const auto type = static_cast<unsigned>(frame[kTypeAt]) << 8 | static_cast<unsigned>(frame[kTypeAt + 1]);
    const std::size_t header = type == 0x0800 ? 20 : type == 0x86dd ? 40 : 0;
    if (frame.size() >= kEthernetHeader + header) {
        return std::nullopt;
    }
    std::vector<std::byte> tagged(frame.begin(), frame.end());
    tagged.insert(tagged.begin() + kTypeAt, kTag.begin(), kTag.end());
    return tagged;
}

}  // namespace

Result<Judged> judge_once(Object& object, std::string_view program, const Sandbox::Packet& packet) {
    if (packet.frame.size() < kEthernetHeader) {
        return unexpected(
            make_error(ErrorCode::kInvalid,
                       fmt::format("a frame of {} bytes is shorter than an Ethernet header", packet.frame.size())));
    }
    auto frame = packet.frame.first(std::min(packet.frame.size(), kTestRunBytes));
    const auto tagged = packet.vlan_tag ? std::nullopt : behind_a_tag(frame);
    if (tagged) {
        frame = *tagged;
    }
    const auto length = std::max<std::size_t>(packet.length, packet.frame.size());
    sg_test& test = object.test();
    test.now = packet.now_ms;
    test.interface_slot = packet.interface_slot;
    test.vlan_tag = packet.vlan_tag ? 1 : 0;
    test.length = length > frame.size() ? static_cast<std::uint32_t>(length) : 0;
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.repeat = 1;
    if (const int failed = bpf_prog_test_run_opts(object.program(program), &options); failed != 0) {
        return unexpected(kernel_error(fmt::format("run program {}", program), -failed));
    }
    const int code = static_cast<int>(options.retval);
    const bool passed = program.starts_with("sg_xdp") ? code == XDP_PASS : code == kTcNext;
    return Judged{passed, code, test.outcome};
}

Result<std::unique_ptr<Sandbox>> Sandbox::load(const Options& options) {
    LibbpfWords::silence();
    Object::Request request;
    request.programs = {"sg_tc_in", "sg_tc_out", "sg_fill", "sg_sweep_once", "sg_reap"};
    request.create = options.capacities;
    request.config = sg_config{.abi_version = SG_ABI_VERSION,
                               .ticks_per_second = kTicksPerSecond,
                               .flow_slots = options.capacities.flows,
                               .test_mode = options.live ? 0U : 1U,
                               .hint_mask = hint_elements(options.capacities.flows) - 1,
                               .hash_seed = kHashSeed};
    auto tc = Object::load(request);
    if (!tc) {
        return unexpected(tc.error());
    }
    auto tree = Tree::adopt(*tc);
    if (!tree) {
        return unexpected(tree.error());
    }
    std::optional<Object> xdp;
    if (options.kind == ObjectKind::kXdp) {
        request.kind = ObjectKind::kXdp;
        request.programs.assign(kXdpPrograms.begin(), kXdpPrograms.end());
        request.maps = tree->reuse();
        request.maps.emplace_back(kIfindexSpec.name, tc->map(kIfindexSpec.name));
        request.create.reset();
        auto loaded = Object::load(request);
        if (!loaded) {
            return unexpected(loaded.error());
        }
        xdp = std::move(*loaded);
    }
    auto started = in_order([&] { return tree->initialise(kTicksPerSecond, kHashSeed); },
                            [&] { return fill_free_list(*tc, options.capacities); });
    if (!started) {
        return unexpected(started.error());
    }
    return std::unique_ptr<Sandbox>(new Sandbox(options, std::move(*tc), std::move(xdp), std::move(*tree)));
}

Result<Judged> Sandbox::judge(const Packet& packet) {
    now_ms_ = packet.now_ms;
    return xdp_ ? judge_once(*xdp_, kXdpPrograms[packet.direction], packet)
                : judge_once(tc_, kTcPrograms[packet.direction], packet);
}

Result<void> Sandbox::sweep(std::uint64_t now_ms) {
    now_ms_ = now_ms;
    tc_.test().now = now_ms;
    auto run = run_program(tc_.program("sg_sweep_once"), "sg_sweep_once", std::vector<std::byte>(64));
    return run ? Result<void>{} : unexpected(run.error());
}

Result<void> Sandbox::wait_grace_period() {
    return shared_ ? grace_by_membarrier() : Result<void>{};
}

std::optional<sg_flow> Sandbox::flow_at(std::uint32_t slot) {
    auto records = elements<sg_flow>(tree_.map(HostMap::kFlows));
    if (!records || slot == 0 || slot >= records->size()) {
        return std::nullopt;
    }
    return copy_live_flow((*records)[slot], [] {});
}

int Sandbox::program(std::string_view name) const {
    const int own = xdp_ ? xdp_->program(name) : -1;
    return own >= 0 ? own : tc_.program(name);
}

Result<FlowSnapshot> Sandbox::read_flows(const FlowFilter& filter) {
    auto snapshot = read_flow_records(tree_, filter);
    if (snapshot) {
        snapshot->now = now_ms_;
    }
    return snapshot;
}

Result<std::vector<Judged>> Sandbox::dry_run(const std::vector<DryRun>& packets) {
    return dry_run_on(tree_, packets, now_ms_);
}

Result<void> Sandbox::fill(const MapImage& image) {
    const CommitPlan plan = plan_commit(MapImage{}, image, 0);
    return in_order([&] { return write(plan.before, 0, plan.before.size()); },
                    [&] { return write(plan.publish, 0, plan.publish.size()); },
                    // The image's limits are of a larger table; here nothing is to be refused for lack of room.
                    [&] { return set_reserved_flows(0); }, [&] { return flip(plan.to, plan.digest); });
}

Result<std::vector<Judged>> Sandbox::try_image(const MapImage& image, const Capacities& capacities,
                                               const std::vector<DryRun>& packets) {
    return try_image_in_sandbox(image, capacities, packets);
}

Result<std::vector<Judged>> try_image_in_sandbox(const MapImage& image, const Capacities& capacities,
                                                 const std::vector<DryRun>& packets) {
    Sandbox::Options options{.capacities = capacities};
    options.capacities.flows = kFewFlows;
    auto sandbox = Sandbox::load(options);
    if (!sandbox) {
        return unexpected(sandbox.error());
    }
    if (auto filled = (*sandbox)->fill(image); !filled) {
        return unexpected(filled.error());
    }
    return (*sandbox)->dry_run(packets);
}

Result<std::vector<Judged>> dry_run_on(Tree& tree, const std::vector<DryRun>& packets, std::uint64_t now) {
    auto config = tree.config();
    if (!config) {
        return unexpected(config.error());
    }
    config->test_mode = 1;
    config->dry_run = 1;
    std::array<std::optional<Object>, 2> objects;
    std::vector<Judged> answers;
    for (const DryRun& packet : packets) {
        auto& object = objects[packet.xdp ? 1 : 0];
        const auto& programs = packet.xdp ? kXdpPrograms : kTcPrograms;
        if (!object) {
            Object::Request request;
            request.kind = packet.xdp ? ObjectKind::kXdp : ObjectKind::kTc;
            request.programs.assign(programs.begin(), programs.end());
            request.maps = tree.reuse();
            request.config = *config;
            auto loaded = Object::load(request);
            if (!loaded) {
                return unexpected(loaded.error());
            }
            object = std::move(*loaded);
        }
        auto answer = judge_once(*object, programs[packet.direction],
                                 {.direction = packet.direction,
                                  .interface_slot = packet.interface_slot,
                                  .frame = packet.frame,
                                  .now_ms = now,
                                  .length = packet.length});
        if (!answer) {
            return unexpected(answer.error());
        }
        answers.push_back(*answer);
    }
    return answers;
}

}  // namespace sgbpf
