// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two CPUs at the same flow (issue 4): no wrong verdict, no duplicate, no leak. Each case runs for
// SGBPF_RACE_SECONDS, 2 when unset; tests/README.md names the longer runs. `tc`: both directions by the tc programs;
// `xdp`: inbound by XDP and outbound by tc, as for role host.
#pragma once

#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>
#include <atomic>
#include <optional>
#include <string>

#include "support/flow_invariants.hpp"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"
#include "support/two_cpus.hpp"

namespace sgbpf::test {

constexpr std::uint64_t kSecond = 1000;  // ticks are milliseconds here
constexpr std::uint64_t kStart = 1'000'000;

class Race : public testing::TestWithParam<TestPrograms::Mode> {
protected:
    void make(const State& state, std::uint32_t flows = 1024, bool whole_table = true) {
        Capacities capacities = small_capacities();
        capacities.flows = flows;
        auto policy = LivePolicy::make(whole_table ? alone(state, flows) : state, capacities, GetParam());
        ASSERT_TRUE(policy) << policy.error().message << policy.error().detail;
        policy_ = std::move(*policy);
        policy_->programs().sandbox().share();
        at(kStart);
    }
    // The whole table is interface a's.
    static State alone(State state, std::uint32_t flows) {
        state.interfaces.at("a").tracking.max_flows = flows;
        state.interfaces.at("a").tracking.max_opening = flows;
        return state;
    }
    static StateBuilder world() {
        StateBuilder builder;
        builder.vpc("v").group("v/g").interface("a", {"v/g"}, {"10.0.1.10", "2001:db8:a:1::10"});
        return builder;
    }
    static StateBuilder inbound_web() { return world().allow("v/g", SG_IN, kTcp, 80, 80, "192.0.2.0/24"); }

    [[nodiscard]] bool xdp() const { return GetParam() == TestPrograms::Mode::kTestXdp; }
    TestPrograms& programs() { return policy_->programs(); }
    // The clock of every program.
    void at(std::uint64_t now) {
        now_ = now;
        programs().prepare(policy_->slot("a"), now);
    }
    // That of the sweeper alone, with XDP: as on a CPU that read its clock later.
    void sweeper_at(std::uint64_t now) { programs().sandbox().tc().test().now = now; }
    void sweep() {
        static const Bytes kNothing(64);
        bpf_test_run_opts options{};
        options.sz = sizeof(options);
        options.data_in = kNothing.data();
        options.data_size_in = static_cast<std::uint32_t>(kNothing.size());
        options.repeat = 1;
        ASSERT_EQ(bpf_prog_test_run_opts(programs().program_fd("sg_sweep_once"), &options), 0);
    }
    // Whatever is in the table is long over.
    void start_again() {
        at(now_ + 1'000'000 * kSecond);
        sweep();  // looks at every record: there are few
    }
    [[nodiscard]] int program(unsigned direction) {
        return programs().program_fd(direction == SG_IN ? (xdp() ? "sg_xdp_in" : "sg_tc_in") : "sg_tc_out");
    }
    bool tcp(unsigned direction, std::uint64_t flow, int flags, std::uint32_t sequence = 1,
             std::uint32_t acknowledgement = 0, std::size_t payload = 0) {
        const auto port = static_cast<std::uint16_t>(1024 + flow % 50000);
        const bool in = direction == SG_IN;
        return shoot(direction,
                     Ethernet{} /
                         Ipv4{.source = in ? "192.0.2.7" : "10.0.1.10", .destination = in ? "10.0.1.10" : "192.0.2.7"} /
                         Tcp{.from = in ? port : std::uint16_t{80},
                             .to = in ? std::uint16_t{80} : port,
                             .flags = static_cast<std::uint8_t>(flags),
                             .sequence = sequence,
                             .acknowledgement = acknowledgement} /
                         Raw{Bytes(payload)});
    }
    bool shoot(unsigned direction, const Bytes& frame) {
        bpf_test_run_opts options{};
        options.sz = sizeof(options);
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        options.repeat = 1;
        if (bpf_prog_test_run_opts(program(direction), &options) != 0) {
            ADD_FAILURE() << "test run";
        }
        const bool by_xdp = xdp() && direction == SG_IN;
        return options.retval == (by_xdp ? std::uint32_t{XDP_PASS} : static_cast<std::uint32_t>(-1));
    }
    // The flow of a port, if there is one record of it; fails if there are more.
    std::optional<sg_flow> flow(std::uint64_t number) {
        const auto port = static_cast<std::uint16_t>(1024 + number % 50000);
        std::optional<sg_flow> found;
        for (const sg_flow& one : programs().live_flows()) {
            if (one.key.remote_port == static_cast<__be16>(port << 8 | port >> 8)) {
                EXPECT_FALSE(found) << "two records of one key";
                found = one;
            }
        }
        return found;
    }
    std::uint64_t counted(sg_reason reason) {
        const auto counters = programs().sandbox().read_counters(policy_->slot("a"));
        return counters ? counters->packets[SG_IN][reason] + counters->packets[SG_OUT][reason] : 0;
    }
    // "reason: packets" of everything that was dropped, for messages.
    std::string drops() {
        const auto counters = programs().sandbox().read_counters(policy_->slot("a"));
        std::string text;
        for (unsigned reason = SG_REASON_NO_RULE; counters && reason < SG_REASON_MAX; ++reason) {
            const std::uint64_t packets = counters->packets[SG_IN][reason] + counters->packets[SG_OUT][reason];
            text += packets == 0 ? "" : " " + std::to_string(reason) + ": " + std::to_string(packets);
        }
        return "dropped, by reason:" + text;
    }
    void report(const char* what, std::uint64_t rounds, std::uint64_t first_won = 0) {
        std::printf("%s: %llu rounds, %llu won by the first CPU, %llu flow-busy\n", what,
                    static_cast<unsigned long long>(rounds), static_cast<unsigned long long>(first_won),
                    static_cast<unsigned long long>(counted(SG_REASON_FLOW_BUSY)));
        EXPECT_GT(rounds, 0u) << "too few to say anything";
    }
    // How often a recount of the sweeper found another number than the counter's: never, unless a count is lost.
    std::uint64_t corrections() {
        std::uint64_t corrected = 0;
        for (const std::uint32_t slot : {std::uint32_t{0}, policy_->slot("a")}) {
            sg_account account{};
            bpf_map_lookup_elem(programs().map_fd("sg_accounts"), &slot, &account);
            corrected += account.corrected;
        }
        return corrected;
    }
    void TearDown() override {
        if (policy_) {
            EXPECT_EQ(corrections(), 0u);
            EXPECT_EQ(flow_table_faults(programs()), "");
            start_again();
            EXPECT_EQ(programs().live_flows().size(), 0u);
            EXPECT_EQ(flow_table_faults(programs()), "");
        }
    }

    std::unique_ptr<LivePolicy> policy_;
    std::uint64_t now_ = 0;
};

// Every this many rounds the table is emptied by the clock and held against the invariants.
constexpr std::uint64_t kSeries = 500;

inline std::string race_case(const testing::TestParamInfo<TestPrograms::Mode>& one) {
    return one.param == TestPrograms::Mode::kTest ? "tc" : "xdp";
}

}  // namespace sgbpf::test
