// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Nanoseconds per packet of established TCP over IPv4 at XDP, with many flows, beside an empty XDP program
// in the same run. The program is the live one (no test mode): interface lookup, attribution and counters
// included. With a listener: what events at full rate cost (sgbpf monitor --all).
// Medians of interleaved rounds, by the kernel's own measurement (BPF_PROG_TEST_RUN); one CPU.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sgbpf/abi/config.h>
#include <sgbpf/abi/event.h>

#include "datapath/clock.hpp"
#include "flows.skel.h"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace {

using namespace sgbpf;        // NOLINT(google-build-using-namespace): a program, not a library
using namespace sgbpf::test;  // NOLINT(google-build-using-namespace): likewise

constexpr int kRepeat = 1'000'000;
constexpr int kRounds = 15;
constexpr std::uint32_t kLoopback = 1;  // ifindex that a test run shows to the program

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "bench: %s\n", what.c_str());
    std::exit(4);
}

State world() {
    StateBuilder builder;
    builder.vpc("v").group("v/g");
    builder.allow("v/g", SG_IN, kTcp, 80, 80, "192.0.0.0/16");
    builder.interface("a", {"v/g"}, {"10.0.1.10"});
    return builder;
}

Bytes segment(bool in, int flow, std::uint8_t flags) {
    const std::string peer = "192.0." + std::to_string(2 + flow / 50000) + ".7";
    const auto port = static_cast<std::uint16_t>(1024 + flow % 50000);
    return in ? Bytes(Ethernet{} / Ipv4{.source = peer, .destination = "10.0.1.10"} /
                      Tcp{.from = port, .to = 80, .flags = flags})
              : Bytes(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = peer} /
                      Tcp{.from = 80, .to = port, .flags = flags});
}

struct Row {
    std::string name;
    int program;
    bool listening;
    std::vector<std::uint32_t> samples;
    [[nodiscard]] std::uint32_t median() const {
        std::vector<std::uint32_t> sorted = samples;
        std::sort(sorted.begin(), sorted.end());
        return sorted[sorted.size() / 2];
    }
};

}  // namespace

int main(int argc, char** argv) {
    const int count = argc > 1 ? std::atoi(argv[1]) : 10'000;
    cpu_set_t one_cpu;
    CPU_ZERO(&one_cpu);
    CPU_SET(0, &one_cpu);
    sched_setaffinity(0, sizeof(one_cpu), &one_cpu);

    Capacities capacities = small_capacities();
    capacities.flows = argc > 2 ? static_cast<std::uint32_t>(std::atoi(argv[2])) : 262'144;
    auto made = LivePolicy::make(world(), capacities, TestPrograms::Mode::kLiveXdp);
    if (!made) {
        fail(made.error().message);
    }
    LivePolicy& policy = **made;
    TestPrograms& programs = policy.programs();
    const sg_binding binding{.interface_slot = policy.slot("a")};
    if (bpf_map_update_elem(programs.map_fd("sg_ifindex"), &kLoopback, &binding, BPF_ANY) != 0) {
        fail("cannot bind the loopback ifindex");
    }

    flows* bench = flows__open();
    bench->rodata->bench_flows = static_cast<std::uint32_t>(count);
    auto config = programs.sandbox().maps().config();
    if (!config) {
        fail(config.error().message);
    }
    std::memcpy(&bench->rodata->sg_config, &*config, sizeof(*config));
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, bench->obj) {
        const std::string name = bpf_map__name(map);
        if (name.find('.') == std::string::npos && bpf_map__reuse_fd(map, programs.map_fd(name)) != 0) {
            fail("cannot share map " + name);
        }
    }
    if (flows__load(bench) != 0) {
        fail("cannot load the benchmark; run as root");
    }
    const auto run = [&programs](unsigned direction, const Bytes& frame) {
        const int fd = programs.program_fd(direction == SG_IN ? "sg_xdp_in" : "sg_xdp_out");
        static_cast<void>(programs.nanoseconds_per_run(fd, frame, 1));
    };
    for (int flow = 0; flow < count; ++flow) {
        run(SG_IN, segment(true, flow, kSyn));
        run(SG_OUT, segment(false, flow, kSyn | kAck));
        run(SG_IN, segment(true, flow, kAck));
    }

    std::vector<Row> rows;
    rows.push_back({"empty program", bpf_program__fd(bench->progs.bench_empty), false, {}});
    rows.push_back({"rewriting the frame only", bpf_program__fd(bench->progs.bench_rewrite), false, {}});
    rows.push_back({"established", bpf_program__fd(bench->progs.bench_pipeline), false, {}});
    rows.push_back({"established, events at full rate", bpf_program__fd(bench->progs.bench_pipeline), true, {}});
    const Bytes frame = segment(true, 0, kAck);
    auto control = programs.sandbox().maps().control();
    if (!control) {
        fail(control.error().message);
    }
    auto clock = TickClock::open();
    if (!clock) {
        fail(clock.error().message);
    }
    for (int round = 0; round < kRounds; ++round) {
        for (Row& row : rows) {
            const std::uint64_t all = SG_MONITOR_DROPS | SG_MONITOR_PASSES | SG_MONITOR_TRACKED;
            const auto now = clock->read();
            if (!now) {
                fail(now.error().message);
            }
            const auto until = static_cast<std::uint32_t>(now->ticks + 30ULL * config->ticks_per_second);
            (*control)->monitor = row.listening ? all | std::uint64_t{until} << 32 : 0;
            row.samples.push_back(programs.nanoseconds_per_run(row.program, frame, kRepeat));
        }
    }
    (*control)->monitor = 0;
    const auto counters = programs.sandbox().read_counters(policy.slot("a"));
    const std::uint64_t expected = 2ULL * kRounds * kRepeat + 2ULL * static_cast<std::uint64_t>(count);
    if (!counters ||
        counters->packets[SG_IN][SG_REASON_TRACKED] + counters->packets[SG_OUT][SG_REASON_TRACKED] < expected) {
        fail("not every packet took the established path");
    }
    std::printf("%d flows of %u; median of %d interleaved rounds of %d packets; lowest and highest in brackets\n",
                count, capacities.flows, kRounds, kRepeat);
    std::printf("%-36s %8s %8s\n", "XDP, TCP over IPv4", "ns", "x empty");
    for (const Row& row : rows) {
        const auto [low, high] = std::minmax_element(row.samples.begin(), row.samples.end());
        std::printf("%-36s %8u %8.2f   [%u, %u]\n", row.name.c_str(), row.median(),
                    double(row.median()) / double(rows[0].median()), *low, *high);
    }
    flows__destroy(bench);
    return 0;
}
