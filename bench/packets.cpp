// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Nanoseconds per packet of the established, new and refused paths of the tc programs, as ratios to an
// empty program in the same run. The programs are the live ones (no test mode): interface lookup,
// attribution and counters included. Medians of interleaved rounds, by the kernel's own measurement
// (BPF_PROG_TEST_RUN); one CPU, warm caches unless a row says otherwise.
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace {

using namespace sgbpf;        // NOLINT(google-build-using-namespace): a program, not a library
using namespace sgbpf::test;  // NOLINT(google-build-using-namespace): likewise

constexpr int kRepeat = 200'000;
constexpr int kRounds = 11;
constexpr std::uint32_t kLoopback = 1;  // ifindex that a test run shows to the program

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "bench: %s\n", what.c_str());
    std::exit(4);
}

int load_empty_program() {
    const bpf_insn code[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    };
    const int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", code, std::size(code), nullptr);
    if (fd < 0) {
        fail("cannot load the empty program; run as root");
    }
    return fd;
}

// A policy of `rules` CIDR rules in each direction, so that the trie has company.
State world(int rules) {
    StateBuilder builder;
    builder.vpc("v").group("v/g").list("L", {"203.0.113.0/24"});
    builder.allow("v/g", SG_IN, kTcp, 80, 80, "192.0.2.0/24").allow("v/g", SG_OUT, kUdp, 53, 53, "192.0.2.0/24");
    builder.allow("v/g", SG_IN, kTcp, 443, 443, "2001:db8:9::/48").allow("v/g", SG_IN, kTcp, 22, 22, "list:L");
    builder.allow("v/g", SG_IN, kTcp, 3306, 3306, "group:v/g");
    for (int i = 0; i < rules; ++i) {
        const std::string cidr = "100." + std::to_string(i / 256 % 256) + "." + std::to_string(i % 256) + ".0/24";
        builder.allow("v/g", SG_IN, kTcp, 1000 + i % 64, 1100 + i % 64, cidr);
    }
    builder.interface("a", {"v/g"}, {"10.0.1.10", "2001:db8:a:1::10"});
    return builder;
}

struct Case {
    std::string name;
    std::function<std::uint32_t()> measure;  // ns per packet
    std::vector<std::uint32_t> samples;
};

std::uint32_t median(std::vector<std::uint32_t> samples) {
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
}

class Bench {
public:
    explicit Bench(int rules) : empty_(load_empty_program()) {
        Capacities capacities = small_capacities();
        capacities.flows = 131072;
        capacities.classes = 65536;
        capacities.intervals = 65536;
        capacities.rules = 65536;
        capacities.rule_refs = 131072;
        capacities.prefixes = 131072;
        auto programs = LivePolicy::make(world(rules), capacities, TestPrograms::Mode::kLive);
        if (!programs) {
            fail(programs.error().message);
        }
        policy_ = std::move(*programs);
        const sg_binding binding{.interface_slot = policy_->slot("a")};
        if (bpf_map_update_elem(map("sg_ifindex"), &kLoopback, &binding, BPF_ANY) != 0) {
            fail("cannot bind the loopback ifindex");
        }
        in_ = policy_->programs().program_fd("sg_tc_in");
        out_ = policy_->programs().program_fd("sg_tc_out");
    }

    int map(const char* name) const { return policy_->programs().map_fd(name); }
    int in() const { return in_; }
    int out() const { return out_; }
    int empty() const { return empty_; }

    // Opens a TCP connection from 192.0.2.x:port.
    void establish(std::uint16_t port, int peer) const {
        run(in_, tcp_in(port, peer, kSyn));
        run(out_, tcp_out(port, peer, kSyn | kAck));
        run(in_, tcp_in(port, peer, kAck));
    }
    static Bytes tcp_in(std::uint16_t port, int peer, std::uint8_t flags) {
        return Ethernet{} / Ipv4{.source = "192.0.2." + std::to_string(peer), .destination = "10.0.1.10"} /
               Tcp{.from = port, .to = 80, .flags = flags};
    }
    static Bytes tcp_out(std::uint16_t port, int peer, std::uint8_t flags) {
        return Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2." + std::to_string(peer)} /
               Tcp{.from = 80, .to = port, .flags = flags};
    }
    std::uint32_t run(int program, const Bytes& frame, int repeat = 1) const {
        return policy_->programs().nanoseconds_per_run(program, frame, repeat);
    }
    // Runs every frame once and takes the median: for paths that a repeated frame would leave.
    std::uint32_t run_each(int program, const std::vector<Bytes>& frames) const {
        std::vector<std::uint32_t> samples;
        for (const Bytes& frame : frames) {
            samples.push_back(run(program, frame));
        }
        return median(samples);
    }
    void flush() const {
        if (!policy_->flush_all()) {
            fail("flush");
        }
    }

private:
    int empty_;
    int in_ = -1;
    int out_ = -1;
    std::unique_ptr<LivePolicy> policy_;
};

std::vector<Bytes> distinct_syns(int round) {
    std::vector<Bytes> frames;
    for (int i = 0; i < 2000; ++i) {
        frames.push_back(Bench::tcp_in(static_cast<std::uint16_t>(1024 + i + round * 2000), 100, kSyn));
    }
    return frames;
}

}  // namespace

int main(int argc, char** argv) {
    const int rules = argc > 1 ? std::atoi(argv[1]) : 1000;
    cpu_set_t one_cpu;
    CPU_ZERO(&one_cpu);
    CPU_SET(0, &one_cpu);
    sched_setaffinity(0, sizeof(one_cpu), &one_cpu);

    const Bench bench(rules);
    bench.establish(40000, 1);
    const Bytes established6 = Ethernet{} / Ipv6{.source = "2001:db8:9::1", .destination = "2001:db8:a:1::10"} /
                               Tcp{.from = 40000, .to = 443, .flags = kSyn};
    bench.run(bench.in(), established6);
    const Bytes refused = Ethernet{} / Ipv4{.source = "198.18.0.1", .destination = "10.0.1.10"} / Tcp{.to = 81};
    const Bytes stateless = Bench::tcp_in(1, 2, kAck);  // mid-stream: the rules are asked, no entry made
    int round = 0;

    std::vector<Case> cases;
    cases.push_back({"empty program", [&] { return bench.run(bench.empty(), refused, kRepeat); }, {}});
    cases.push_back(
        {"established v4, in", [&] { return bench.run(bench.in(), Bench::tcp_in(40000, 1, kAck), kRepeat); }, {}});
    cases.push_back(
        {"established v4, out", [&] { return bench.run(bench.out(), Bench::tcp_out(40000, 1, kAck), kRepeat); }, {}});
    cases.push_back({"established v6, in", [&] { return bench.run(bench.in(), established6, kRepeat); }, {}});
    cases.push_back({"rules asked, no entry made", [&] { return bench.run(bench.in(), stateless, kRepeat); }, {}});
    cases.push_back({"refused, no rule", [&] { return bench.run(bench.in(), refused, kRepeat); }, {}});
    // One run per call costs clock reads of its own: these two rows have a baseline of their own.
    cases.push_back(
        {"empty program, one run a call", [&] { return bench.run_each(bench.empty(), distinct_syns(round)); }, {}});
    cases.push_back({"new flow, one run a call",
                     [&] {
                         bench.flush();
                         bench.establish(40000, 1);
                         bench.run(bench.in(), established6);
                         return bench.run_each(bench.in(), distinct_syns(round));
                     },
                     {}});
    for (round = 0; round < kRounds; ++round) {
        for (Case& one : cases) {
            one.samples.push_back(one.measure());
        }
    }

    std::printf("%d CIDR rules; median of %d interleaved rounds; lowest and highest in brackets\n", rules, kRounds);
    std::printf("%-32s %8s %8s %16s\n", "path", "ns", "x empty", "");
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const bool single = i >= cases.size() - 2;
        const std::uint32_t base = median(cases[single ? cases.size() - 2 : 0].samples);
        const std::uint32_t empty = median(cases[0].samples);
        const std::uint32_t ns = median(cases[i].samples);
        // Single runs: what is added to the single empty run, on top of a repeated empty run.
        const double ratio = single ? (double(ns) - double(base) + empty) / empty : double(ns) / empty;
        const auto [low, high] = std::minmax_element(cases[i].samples.begin(), cases[i].samples.end());
        std::printf("%-32s %8u %8.2f   [%u, %u]\n", cases[i].name.c_str(), ns, ratio, *low, *high);
    }
    return 0;
}
