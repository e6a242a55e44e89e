// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Nanoseconds per packet of established TCP over IPv4, with one flow and with many, at XDP and tc, beside in the
// same run: an empty program; one that only rewrites the frame; the pipeline with tiers, epochs and accounting
// compiled out (.rodata `bare`); strict mode; a listener that gets events at full rate (sgbpf monitor --all). The
// programs are the live ones (no test mode): interface lookup, attribution and counters included.
// Interleaved rounds, by the kernel's own measurement (BPF_PROG_TEST_RUN); one CPU.
//   sgbpf_bench_flows [FLOWS [CAPACITY]]
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sgbpf/abi/config.h>
#include <sgbpf/abi/event.h>

#include "datapath/clock.hpp"
#include "flows.skel.h"
#include "flows_tc.skel.h"
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

State world(bool strict, std::uint32_t flows) {
    StateBuilder builder;
    builder.vpc("v").group("v/g");
    builder.allow("v/g", SG_IN, kTcp, 80, 80, "192.0.0.0/16");
    builder.interface("a", {"v/g"}, {"10.0.1.10"});
    TrackingOptions& tracking = builder.state().interfaces.at("a").tracking;
    tracking.strict = strict;
    tracking.max_flows = flows;
    return builder;
}

// The peer's SYN is number 1, the workload's too.
Bytes segment(bool in, int flow, std::uint8_t flags) {
    const std::string peer = "192.0." + std::to_string(2 + flow / 50000) + ".7";
    const auto port = static_cast<std::uint16_t>(1024 + flow % 50000);
    const std::uint32_t sequence = flags & kSyn ? 1 : 2;
    const std::uint32_t acknowledgement = flags & kAck ? 2 : 0;
    return in ? Bytes(Ethernet{} / Ipv4{.source = peer, .destination = "10.0.1.10"} /
                      Tcp{.from = port,
                          .to = 80,
                          .flags = flags,
                          .sequence = sequence,
                          .acknowledgement = acknowledgement})
              : Bytes(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = peer} /
                      Tcp{.from = 80,
                          .to = port,
                          .flags = flags,
                          .sequence = sequence,
                          .acknowledgement = acknowledgement});
}

// Programs of one load; they live as long as the process.
struct Programs {
    int empty;
    int rewrite;
    int pipeline;
};

template <typename Skeleton>
Programs load(Skeleton* bench, int (*load_skeleton)(Skeleton*), TestPrograms& programs, int flows, bool bare) {
    bench->rodata->bench_flows = static_cast<std::uint32_t>(flows);
    auto config = programs.sandbox().maps().config();
    if (!config) {
        fail(config.error().message);
    }
    config->bare = bare ? 1 : 0;
    std::memcpy(&bench->rodata->sg_config, &*config, sizeof(*config));
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, bench->obj) {
        const std::string name = bpf_map__name(map);
        if (name.find('.') == std::string::npos && bpf_map__reuse_fd(map, programs.map_fd(name)) != 0) {
            fail("cannot share map " + name);
        }
    }
    if (load_skeleton(bench) != 0) {
        fail("cannot load the benchmark; run as root");
    }
    return {bpf_program__fd(bench->progs.bench_empty), bpf_program__fd(bench->progs.bench_rewrite),
            bpf_program__fd(bench->progs.bench_pipeline)};
}

// One interface with its flows, and the programs that judge them.
class Host {
public:
    Host(bool xdp, bool strict, int flows, const Capacities& capacities) : xdp_(xdp) {
        auto made = LivePolicy::make(world(strict, capacities.flows), capacities,
                                     xdp ? TestPrograms::Mode::kLiveXdp : TestPrograms::Mode::kLive);
        if (!made) {
            fail(made.error().message);
        }
        policy_ = std::move(*made);
        const sg_binding binding{.interface_slot = policy_->slot("a")};
        if (bpf_map_update_elem(programs().map_fd("sg_ifindex"), &kLoopback, &binding, BPF_ANY) != 0) {
            fail("cannot bind the loopback ifindex");
        }
        for (int flow = 0; flow < flows; ++flow) {
            run(SG_IN, segment(true, flow, kSyn));
            run(SG_OUT, segment(false, flow, kSyn | kAck));
            run(SG_IN, segment(true, flow, kAck));
        }
        if (tracked() != 2ULL * static_cast<std::uint64_t>(flows)) {
            fail("the flows did not open");
        }
    }
    TestPrograms& programs() { return policy_->programs(); }
    Programs load_for(int flows, bool bare) {
        return xdp_ ? load(flows__open(), flows__load, programs(), flows, bare)
                    : load(flows_tc__open(), flows_tc__load, programs(), flows, bare);
    }
    std::uint64_t tracked() {
        const auto counters = programs().sandbox().read_counters(policy_->slot("a"));
        return counters ? counters->packets[SG_IN][SG_REASON_TRACKED] + counters->packets[SG_OUT][SG_REASON_TRACKED]
                        : 0;
    }
    // Until when, in ticks, a listener gets everything; 0 = there is none.
    void listen(std::uint32_t until) {
        auto control = programs().sandbox().maps().control();
        if (!control) {
            fail(control.error().message);
        }
        const std::uint64_t all = SG_MONITOR_DROPS | SG_MONITOR_PASSES | SG_MONITOR_TRACKED;
        (*control)->monitor = until != 0 ? all | std::uint64_t{until} << 32 : 0;
    }

private:
    void run(unsigned direction, const Bytes& frame) {
        const std::string kind = xdp_ ? "sg_xdp_" : "sg_tc_";
        const int fd = programs().program_fd(kind + (direction == SG_IN ? "in" : "out"));
        static_cast<void>(programs().nanoseconds_per_run(fd, frame, 1));
    }

    bool xdp_;
    std::unique_ptr<LivePolicy> policy_;
};

struct Row {
    const char* name;
    Host* host;
    int program;
    bool listening;
    std::vector<std::uint32_t> samples;
    [[nodiscard]] std::uint32_t median() const {
        std::vector<std::uint32_t> sorted = samples;
        std::sort(sorted.begin(), sorted.end());
        return sorted[sorted.size() / 2];
    }
    [[nodiscard]] std::uint32_t lowest() const { return *std::min_element(samples.begin(), samples.end()); }
    [[nodiscard]] std::uint32_t highest() const { return *std::max_element(samples.begin(), samples.end()); }
};

void measure(std::vector<Row>& rows) {
    auto clock = TickClock::open();
    if (!clock) {
        fail(clock.error().message);
    }
    const Bytes frame = segment(true, 0, kAck);
    for (int round = 0; round < kRounds; ++round) {
        for (Row& row : rows) {
            const auto now = clock->read();
            auto config = row.host->programs().sandbox().maps().config();
            if (!now || !config) {
                fail("cannot read the clock");
            }
            row.host->listen(row.listening ? static_cast<std::uint32_t>(now->ticks + 30ULL * config->ticks_per_second)
                                           : 0);
            row.samples.push_back(row.host->programs().nanoseconds_per_run(row.program, frame, kRepeat));
            row.host->listen(0);
        }
    }
}

void compare(const char* hook, Host& normal, Host& strict, int flows) {
    const Programs full = normal.load_for(flows, false);
    const Programs bare = normal.load_for(flows, true);
    const Programs checked = strict.load_for(flows, false);
    enum { kEmpty, kRewrite, kBare, kEstablished, kStrict, kEvents };
    std::vector<Row> rows = {
        {"empty program", &normal, full.empty, false, {}},
        {"rewriting the frame only", &normal, full.rewrite, false, {}},
        {"bare: no tiers, epochs, accounting", &normal, bare.pipeline, false, {}},
        {"established", &normal, full.pipeline, false, {}},
        {"established, strict", &strict, checked.pipeline, false, {}},
        {"established, events at full rate", &normal, full.pipeline, true, {}},
    };
    const std::uint64_t before = normal.tracked() + strict.tracked();
    measure(rows);
    if (normal.tracked() + strict.tracked() - before != 4ULL * kRounds * kRepeat) {
        fail("not every packet took the established path");
    }
    std::printf("\n%-36s %8s %8s   %s\n", (std::string(hook) + ", " + std::to_string(flows) + " flows").c_str(), "ns",
                "x empty", "[lowest, highest]");
    for (const Row& row : rows) {
        std::printf("%-36s %8u %8.2f   [%u, %u]\n", row.name, row.median(),
                    double(row.median()) / double(rows[kEmpty].median()), row.lowest(), row.highest());
    }
    const auto ratio = [](std::uint32_t of, std::uint32_t to) { return double(of) / double(to); };
    std::printf("established / bare                   x %.2f by medians, x %.2f by lowest\n",
                ratio(rows[kEstablished].median(), rows[kBare].median()),
                ratio(rows[kEstablished].lowest(), rows[kBare].lowest()));
    std::printf("strict - established                 %+d ns by medians, %+d ns by lowest\n",
                int(rows[kStrict].median()) - int(rows[kEstablished].median()),
                int(rows[kStrict].lowest()) - int(rows[kEstablished].lowest()));
}

}  // namespace

int main(int argc, char** argv) {
    const int count = argc > 1 ? std::atoi(argv[1]) : 10'000;
    cpu_set_t one_cpu;
    CPU_ZERO(&one_cpu);
    CPU_SET(0, &one_cpu);
    sched_setaffinity(0, sizeof(one_cpu), &one_cpu);

    Capacities capacities = small_capacities();
    capacities.flows = argc > 2 ? static_cast<std::uint32_t>(std::atoi(argv[2])) : 262'144;
    std::printf("TCP over IPv4, table of %u; %d interleaved rounds of %d packets\n", capacities.flows, kRounds,
                kRepeat);
    for (const bool xdp : {true, false}) {
        Host normal(xdp, false, count, capacities);
        Host strict(xdp, true, count, capacities);
        for (const int flows : {1, count}) {
            compare(xdp ? "XDP" : "tc", normal, strict, flows);
        }
    }
    return 0;
}
