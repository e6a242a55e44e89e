// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/test_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sgbpf::test {

namespace {

[[noreturn]] void fail(const char* what, const std::string& why) {
    std::fprintf(stderr, "test programs: %s: %s\n", what, why.c_str());
    std::abort();
}

}  // namespace

Capacities small_capacities() {
    Capacities capacities;
    capacities.interfaces = 64;
    capacities.policy_slots = 128;
    capacities.policies = 256;
    capacities.prefixes = 4096;
    capacities.list_prefixes = 4096;
    capacities.members = 4096;
    capacities.local_prefixes = 1024;
    capacities.set_classes = 4096;
    capacities.classes = 2048;
    capacities.intervals = 4096;
    capacities.rule_refs = 8192;
    capacities.rules = 1024;
    capacities.flows = 1024;
    capacities.ifindexes = 64;
    return capacities;
}

Result<std::unique_ptr<TestPrograms>> TestPrograms::load(const Capacities& capacities, Mode mode) {
    const bool xdp = mode == Mode::kTestXdp || mode == Mode::kLiveXdp;
    auto sandbox = Sandbox::load({.capacities = capacities,
                                  .kind = xdp ? ObjectKind::kXdp : ObjectKind::kTc,
                                  .live = mode == Mode::kLive || mode == Mode::kLiveXdp});
    if (!sandbox) {
        return unexpected(std::move(sandbox).error());
    }
    return std::unique_ptr<TestPrograms>(new TestPrograms(std::move(*sandbox)));
}

PacketResult TestPrograms::run(unsigned direction, std::uint32_t interface_slot, const std::vector<std::uint8_t>& frame,
                               std::uint64_t now_ms, bool vlan_tag) {
    auto judged = sandbox_->judge({.direction = direction,
                                   .interface_slot = interface_slot,
                                   .frame = std::as_bytes(std::span(frame)),
                                   .now_ms = now_ms,
                                   .vlan_tag = vlan_tag});
    if (!judged) {
        fail("test run", judged.error().message);
    }
    const sg_outcome& outcome = judged->outcome;
    const bool tracked = outcome.tracking == SG_TRACKING_FLOW || outcome.tracking == SG_TRACKING_OPENED;
    return PacketResult{judged->passed,    judged->code, static_cast<sg_reason>(outcome.reason), outcome.rule, tracked,
                        outcome.flow_slot, outcome};
}

void TestPrograms::prepare(std::uint32_t interface_slot, std::uint64_t now_ms) {
    sg_test& test = sandbox_->tc().test();
    test.now = now_ms;
    test.interface_slot = interface_slot;
    test.vlan_tag = 0;
    test.length = 0;
    // The XDP object's own; the frame is neither IP nor ARP.
    static_cast<void>(run(SG_IN, interface_slot, std::vector<std::uint8_t>(64), now_ms));
}

std::uint32_t TestPrograms::nanoseconds_per_run(int program_fd, const std::vector<std::uint8_t>& frame,
                                                int repeat) const {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = static_cast<__u32>(frame.size()),
                .repeat = repeat);
    if (const int error = bpf_prog_test_run_opts(program_fd, &options); error != 0) {
        fail("repeated test run", std::strerror(-error));
    }
    return options.duration;
}

void TestPrograms::sweep_once(std::uint64_t now_ms) {
    if (auto swept = sandbox_->sweep(now_ms); !swept) {
        fail("sweep", swept.error().message);
    }
}

std::vector<sg_flow> TestPrograms::live_flows() const {
    auto snapshot = sandbox_->read_flows({.contexts = true});
    if (!snapshot) {
        fail("read flows", snapshot.error().message);
    }
    return std::move(snapshot->flows);
}

std::uint64_t TestPrograms::free_flow_slots() const {
    std::vector<std::uint32_t> slots;
    const int fd = map_fd("sg_flow_free");
    std::uint32_t slot = 0;
    while (bpf_map_lookup_and_delete_elem(fd, nullptr, &slot) == 0) {
        slots.push_back(slot);
    }
    for (const std::uint32_t one : slots) {
        bpf_map_update_elem(fd, nullptr, &one, BPF_ANY);
    }
    return slots.size();
}

}  // namespace sgbpf::test
