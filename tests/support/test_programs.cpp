// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/test_programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/errno.hpp"
#include "sg_tc.skel.h"

namespace sgbpf::test {

namespace {

constexpr std::uint32_t kZero = 0;

[[noreturn]] void fail(const char* what, int error) {
    std::fprintf(stderr, "test programs: %s: %s\n", what, std::strerror(std::abs(error)));
    std::abort();
}

void set_sizes(sg_tc& skeleton, const Capacities& capacities) {
    for (const MapInfo& info : kMaps) {
        bpf_map* map = bpf_object__find_map_by_name(skeleton.obj, std::string(info.name).c_str());
        if (map == nullptr) {
            fail(std::string(info.name).c_str(), ENOENT);
        }
        bpf_map__set_max_entries(map, capacities.*info.capacity);
    }
    bpf_map__set_max_entries(skeleton.maps.sg_ifindex, capacities.ifindexes);
    bpf_map__set_max_entries(skeleton.maps.sg_flow_index, capacities.flows);
    bpf_map__set_max_entries(skeleton.maps.sg_flows, capacities.flows);
    bpf_map__set_max_entries(skeleton.maps.sg_flow_free, capacities.flows);
    bpf_map__set_max_entries(skeleton.maps.sg_counters, capacities.interfaces);
    bpf_map__set_max_entries(skeleton.maps.sg_rule_counts, capacities.rules);
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

TestPrograms::TestPrograms(sg_tc* skeleton, const Capacities& capacities)
    : skeleton_(skeleton), capacities_(capacities) {}

TestPrograms::~TestPrograms() {
    sg_tc__destroy(skeleton_);
}

Result<std::unique_ptr<TestPrograms>> TestPrograms::load(const Capacities& capacities, Mode mode) {
    sg_tc* skeleton = sg_tc__open();
    if (skeleton == nullptr) {
        return unexpected(errno_error("open the BPF object", errno));
    }
    std::unique_ptr<TestPrograms> programs(new TestPrograms(skeleton, capacities));
    set_sizes(*skeleton, capacities);
    skeleton->rodata->sg_config.abi_version = SG_ABI_VERSION;
    skeleton->rodata->sg_config.ticks_per_second = 1000;
    skeleton->rodata->sg_config.flow_slots = capacities.flows;
    skeleton->rodata->sg_config.test_mode = mode == Mode::kTest ? 1 : 0;
    if (const int error = sg_tc__load(skeleton); error != 0) {
        return unexpected(libbpf_error("load the BPF object", error));
    }
    __u8 frame[64] = {};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));
    if (const int error = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.sg_fill), &options); error != 0) {
        return unexpected(libbpf_error("fill the free list", error));
    }
    sg_control control{};
    control.abi_version = SG_ABI_VERSION;
    control.ticks_per_second = 1000;
    if (auto written = programs->write_control(control); !written) {
        return unexpected(std::move(written).error());
    }
    return programs;
}

void TestPrograms::set_test_input(std::uint32_t interface_slot, std::uint64_t now_ms) {
    skeleton_->bss->sg_test.interface_slot = interface_slot;
    skeleton_->bss->sg_test.now = now_ms;
}

PacketResult TestPrograms::run(unsigned direction, std::uint32_t interface_slot, const std::vector<std::uint8_t>& frame,
                               std::uint64_t now_ms, bool vlan_tag) {
    set_test_input(interface_slot, now_ms);
    skeleton_->bss->sg_test.vlan_tag = vlan_tag ? 1 : 0;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = static_cast<__u32>(frame.size()));
    const bpf_program* program = direction == SG_IN ? skeleton_->progs.sg_tc_in : skeleton_->progs.sg_tc_out;
    if (const int error = bpf_prog_test_run_opts(bpf_program__fd(program), &options); error != 0) {
        fail("test run", error);
    }
    const sg_test& test = skeleton_->bss->sg_test;
    return PacketResult{static_cast<int>(options.retval), static_cast<sg_reason>(test.reason), test.rule,
                        test.tracked != 0, test.flow_slot};
}

std::uint32_t TestPrograms::nanoseconds_per_run(int program_fd, const std::vector<std::uint8_t>& frame,
                                                int repeat) const {
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_size_in = static_cast<__u32>(frame.size()),
                .repeat = repeat);
    if (const int error = bpf_prog_test_run_opts(program_fd, &options); error != 0) {
        fail("repeated test run", error);
    }
    return options.duration;
}

void TestPrograms::sweep_once(std::uint64_t now_ms) {
    skeleton_->bss->sg_test.now = now_ms;
    __u8 frame[64] = {};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));
    if (const int error = bpf_prog_test_run_opts(bpf_program__fd(skeleton_->progs.sg_sweep_once), &options);
        error != 0) {
        fail("sweep", error);
    }
}

std::vector<sg_flow> TestPrograms::live_flows() const {
    std::vector<sg_flow> flows;
    for (std::uint32_t slot = 1; slot < capacities_.flows; ++slot) {
        sg_flow flow{};
        if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.sg_flows), &slot, &flow) == 0 &&
            SG_WORD_STATE(flow.word) >= SG_FLOW_SYN_SENT) {
            flows.push_back(flow);
        }
    }
    return flows;
}

std::uint64_t TestPrograms::free_flow_slots() const {
    std::vector<std::uint32_t> slots;
    const int fd = bpf_map__fd(skeleton_->maps.sg_flow_free);
    std::uint32_t slot = 0;
    while (bpf_map_lookup_and_delete_elem(fd, nullptr, &slot) == 0) {
        slots.push_back(slot);
    }
    for (const std::uint32_t one : slots) {
        bpf_map_update_elem(fd, nullptr, &one, BPF_ANY);
    }
    return slots.size();
}

int TestPrograms::program_fd(const std::string& name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(skeleton_->obj, name.c_str()));
}

int TestPrograms::map_fd(const std::string& name) const {
    return bpf_map__fd(bpf_object__find_map_by_name(skeleton_->obj, name.c_str()));
}

std::vector<std::string> TestPrograms::program_names() const {
    std::vector<std::string> names;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
        names.emplace_back(bpf_program__name(program));
    }
    return names;
}

Result<sg_control> TestPrograms::read_control() const {
    sg_control control{};
    const int error = bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.sg_control), &kZero, &control);
    if (error != 0) {
        return unexpected(libbpf_error("read sg_control", error));
    }
    return control;
}

Result<void> TestPrograms::write_control(const sg_control& control) {
    const int error = bpf_map_update_elem(bpf_map__fd(skeleton_->maps.sg_control), &kZero, &control, BPF_ANY);
    if (error != 0) {
        return unexpected(libbpf_error("write sg_control", error));
    }
    return {};
}

Result<ControlState> TestPrograms::control() {
    auto control = read_control();
    if (!control) {
        return unexpected(std::move(control).error());
    }
    ControlState state;
    state.generation = control->generation;
    state.pending = control->pending;
    std::memcpy(state.digest.data(), control->digest, state.digest.size());
    state.ticks_per_second = control->ticks_per_second;
    return state;
}

Result<RawMaps> TestPrograms::read_maps() {
    RawMaps maps;
    for (const MapInfo& info : kMaps) {
        auto& rows = maps[info.id];
        const int fd = map_fd(std::string(info.name));
        std::vector<std::byte> key(info.key_bytes);
        std::vector<std::byte> next(info.key_bytes);
        std::vector<std::byte> value(info.value_bytes);
        const void* from = nullptr;
        while (bpf_map_get_next_key(fd, from, next.data()) == 0) {
            key = next;
            from = key.data();
            if (bpf_map_lookup_elem(fd, key.data(), value.data()) != 0) {
                continue;
            }
            bool zero = true;
            for (const std::byte byte : value) {
                zero = zero && byte == std::byte{0};
            }
            if (info.kind != MapKind::kArray || !zero) {
                rows.push_back({key, value});
            }
        }
    }
    return maps;
}

Result<void> TestPrograms::write(const EditList& edits, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) {
        const EditList::Edit edit = edits[i];
        const std::string name(map_info(edit.map).name);
        const int error = edit.op == EditOp::kPut
                              ? bpf_map_update_elem(map_fd(name), edit.key.data(), edit.value.data(), BPF_ANY)
                              : bpf_map_delete_elem(map_fd(name), edit.key.data());
        if (error != 0) {
            return unexpected(libbpf_error("edit " + std::to_string(i) + " of " + name, error));
        }
    }
    return {};
}

Result<void> TestPrograms::set_pending(std::uint64_t generation) {
    auto control = read_control();
    if (!control) {
        return unexpected(std::move(control).error());
    }
    control->pending = generation;
    return write_control(*control);
}

Result<void> TestPrograms::flip(std::uint64_t generation, const Digest& digest) {
    auto control = read_control();
    if (!control) {
        return unexpected(std::move(control).error());
    }
    control->generation = generation;
    std::memcpy(control->digest, digest.data(), digest.size());
    return write_control(*control);
}

Result<FlowSnapshot> TestPrograms::read_flows(const FlowFilter&) {
    FlowSnapshot snapshot;
    snapshot.flows = live_flows();
    snapshot.live = snapshot.flows.size();
    snapshot.ticks_per_second = 1000;
    snapshot.now = skeleton_->bss->sg_test.now;
    return snapshot;
}

Result<sg_counters> TestPrograms::read_counters(std::uint32_t interface_slot) {
    const int cpus = libbpf_num_possible_cpus();
    std::vector<sg_counters> per_cpu(static_cast<std::size_t>(cpus));
    const int error = bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.sg_counters), &interface_slot, per_cpu.data());
    if (error != 0) {
        return unexpected(libbpf_error("read sg_counters", error));
    }
    sg_counters sum{};
    for (const sg_counters& one : per_cpu) {
        for (unsigned direction = 0; direction < SG_DIRECTIONS; ++direction) {
            for (unsigned reason = 0; reason < SG_REASON_MAX; ++reason) {
                sum.packets[direction][reason] += one.packets[direction][reason];
            }
            sum.bytes[direction][SG_PASS] += one.bytes[direction][SG_PASS];
            sum.bytes[direction][SG_DROP] += one.bytes[direction][SG_DROP];
        }
    }
    return sum;
}

Result<std::vector<sg_rule_counters>> TestPrograms::read_rule_counters(const std::vector<std::uint32_t>& slots) {
    const int cpus = libbpf_num_possible_cpus();
    std::vector<sg_rule_counters> sums;
    for (const std::uint32_t slot : slots) {
        std::vector<sg_rule_counters> per_cpu(static_cast<std::size_t>(cpus));
        const int error = bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.sg_rule_counts), &slot, per_cpu.data());
        if (error != 0) {
            return unexpected(libbpf_error("read sg_rule_counts", error));
        }
        sg_rule_counters sum{};
        for (const sg_rule_counters& one : per_cpu) {
            sum.packets += one.packets;
            sum.bytes += one.bytes;
        }
        sums.push_back(sum);
    }
    return sums;
}

Result<std::uint64_t> TestPrograms::flush_flows(const sg_flush& what) {
    constexpr std::size_t kOffset = 14;
    std::vector<__u8> frame(kOffset + sizeof(sg_flush));
    std::memcpy(frame.data() + kOffset, &what, sizeof(what));
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(), .data_out = frame.data(),
                .data_size_in = static_cast<__u32>(frame.size()), .data_size_out = static_cast<__u32>(frame.size()));
    if (const int error = bpf_prog_test_run_opts(program_fd("sg_flush"), &options); error != 0) {
        return unexpected(libbpf_error("flush", error));
    }
    sg_flush answer{};
    std::memcpy(&answer, frame.data() + kOffset, sizeof(answer));
    return std::uint64_t{answer.removed};
}

}  // namespace sgbpf::test
