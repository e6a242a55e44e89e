// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two CPUs at the same flow (issue 4): no wrong verdict, no duplicate, no leak. Each case runs for
// SGBPF_RACE_SECONDS, 2 when unset; tests/README.md names the longer runs. `tc`: both directions by the tc programs;
// `xdp`: inbound by XDP and outbound by tc, as for role host.
#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <array>
#include <atomic>
#include <optional>

#include "support/flow_invariants.hpp"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"
#include "support/two_cpus.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint64_t kSecond = 1000;  // ticks are milliseconds here
constexpr std::uint64_t kStart = 1'000'000;

class Race : public testing::TestWithParam<TestPrograms::Mode> {
protected:
    void make(const State& state, std::uint32_t flows = 1024) {
        Capacities capacities = small_capacities();
        capacities.flows = flows;
        auto policy = LivePolicy::make(alone(state, flows), capacities, GetParam());
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
    bool tcp(unsigned direction, std::uint64_t flow, int flags) {
        const auto port = static_cast<std::uint16_t>(1024 + flow % 50000);
        const auto bits = static_cast<std::uint8_t>(flags);
        return shoot(direction, direction == SG_IN
                                    ? Bytes(Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
                                            Tcp{.from = port, .to = 80, .flags = bits})
                                    : Bytes(Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.7"} /
                                            Tcp{.from = 80, .to = port, .flags = bits}));
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
        EXPECT_GT(rounds, 10u) << "too few to say anything";
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

TEST_P(Race, SynAndSynAckAtOnce) {
    make(inbound_web());
    std::string wrong;
    const auto rounds = run_rounds({
        .before = {},
        .first =
            [&](std::uint64_t round) {
                if (!tcp(SG_IN, round, kSyn)) {
                    wrong = "the SYN was refused";
                }
            },
        .second = [&](std::uint64_t round) { tcp(SG_OUT, round, kSyn | kAck); },  // too early: no rule admits it
        .after =
            [&](std::uint64_t round) {
                if (!tcp(SG_OUT, round, kSyn | kAck) || !tcp(SG_IN, round, kAck) || !tcp(SG_OUT, round, kAck | kPsh)) {
                    wrong = "the connection does not work";
                }
                if (round % kSeries == 0) {
                    wrong += flow_table_faults(programs());
                    const auto last = flow(round);
                    if (!last || SG_WORD_STATE(last->word) != SG_FLOW_ESTABLISHED) {
                        wrong += "not established";
                    }
                    start_again();
                }
                return wrong.empty();
            },
    });
    EXPECT_EQ(wrong, "");
    report("SYN and SYN-ACK", rounds);
}

TEST_P(Race, OneSynOnBothCpusMakesOneRecord) {
    make(inbound_web());
    std::atomic<bool> refused = false;
    std::string wrong;
    const auto syn = [&](std::uint64_t round) {
        if (!tcp(SG_IN, round, kSyn)) {
            refused = true;
        }
    };
    const auto rounds = run_rounds({.before = {}, .first = syn, .second = syn, .after = [&](std::uint64_t round) {
                                        if (round % kSeries == 0) {
                                            wrong += flow_table_faults(programs());
                                            wrong += programs().live_flows().size() == kSeries ? "" : "a lost SYN";
                                            start_again();
                                        }
                                        return wrong.empty() && !refused;
                                    }});
    EXPECT_EQ(wrong, "");
    EXPECT_FALSE(refused);
    report("one SYN twice", rounds);
}

TEST_P(Race, CrossingSynsMakeOneConnection) {
    make(inbound_web().allow("v/g", SG_OUT, kTcp, 1, 65535, "192.0.2.0/24"));
    std::atomic<bool> refused = false;
    std::string wrong;
    const auto rounds = run_rounds({.before = {},
                                    .first = [&](std::uint64_t r) { refused = refused || !tcp(SG_IN, r, kSyn); },
                                    .second = [&](std::uint64_t r) { refused = refused || !tcp(SG_OUT, r, kSyn); },
                                    .after =
                                        [&](std::uint64_t round) {
                                            if (!tcp(SG_OUT, round, kSyn | kAck) || !tcp(SG_IN, round, kSyn | kAck) ||
                                                !tcp(SG_OUT, round, kAck) || !tcp(SG_IN, round, kAck)) {
                                                wrong = "the connection does not work";
                                            }
                                            if (round % kSeries == 0) {
                                                wrong += flow_table_faults(programs());
                                                const auto last = flow(round);
                                                if (!last || SG_WORD_STATE(last->word) != SG_FLOW_ESTABLISHED) {
                                                    wrong += "not established";
                                                }
                                                start_again();
                                            }
                                            return wrong.empty() && !refused;
                                        }});
    EXPECT_EQ(wrong, "");
    EXPECT_FALSE(refused);
    report("crossing SYNs", rounds);
}

// With two clocks, which only XDP programs beside the sweeper have.
class SweeperRace : public Race {};

// The sweeper's clock is up to a second ahead of that of the CPU with the packet: a refresh always wins.
TEST_P(SweeperRace, ARefreshIsNeverSweptAway) {
    make(inbound_web());
    constexpr std::uint64_t kFlows = 8;
    constexpr std::uint64_t kIdle = 432000 * kSecond;
    std::string wrong;
    for (std::uint64_t one = 0; one < kFlows; ++one) {
        ASSERT_TRUE(tcp(SG_IN, one, kSyn) && tcp(SG_OUT, one, kSyn | kAck) && tcp(SG_IN, one, kAck));
    }
    const std::uint64_t tracked = counted(SG_REASON_TRACKED);
    const auto rounds = run_rounds({.before =
                                        [&](std::uint64_t /*round*/) {
                                            at(now_ + kIdle);  // each flow's last moment
                                            sweeper_at(now_ + kSecond);
                                        },
                                    .first = [&](std::uint64_t /*round*/) { sweep(); },
                                    .second =
                                        [&](std::uint64_t /*round*/) {
                                            for (std::uint64_t one = 0; one < kFlows; ++one) {
                                                tcp(SG_IN, one, kAck | kPsh);
                                            }
                                        },
                                    .after =
                                        [&](std::uint64_t /*round*/) {
                                            if (programs().live_flows().size() != kFlows) {
                                                wrong = "a refreshed flow was swept away";
                                            }
                                            return wrong.empty();
                                        }});
    EXPECT_EQ(wrong, "");
    EXPECT_EQ(counted(SG_REASON_TRACKED) - tracked, rounds * kFlows) << "each packet belonged to its flow";
    report("sweeper against refresh", rounds);
}

// A SYN on a tuple that has expired, while the sweeper takes the old record away.
TEST_P(Race, AnExpiredTupleIsUsedAgainWhileItIsSwept) {
    make(inbound_web());
    std::uint64_t refused = 0;
    std::string wrong;
    bool passed = false;
    const auto rounds =
        run_rounds({.before = [&](std::uint64_t /*round*/) { at(now_ + 200 * kSecond); },
                    .first = [&](std::uint64_t /*round*/) { sweep(); },
                    .second = [&](std::uint64_t /*round*/) { passed = tcp(SG_IN, 1, kSyn); },
                    .after =
                        [&](std::uint64_t /*round*/) {
                            refused += passed ? 0 : 1;
                            const auto last = flow(1);
                            if (passed && (!last || last->created != static_cast<std::uint32_t>(now_))) {
                                wrong = "a SYN that passed left no record";
                            }
                            return wrong.empty();
                        }});
    EXPECT_EQ(wrong, "");
    EXPECT_EQ(refused, counted(SG_REASON_FLOW_BUSY)) << drops();
    EXPECT_LE(refused, rounds / 100 + 1);
    report("reuse against sweeper", rounds);
}

// The last segment of a handshake while the sweeper takes the opening record away. One of them wins.
TEST_P(SweeperRace, PromotionAgainstReaping) {
    make(inbound_web(), 4);
    std::string wrong;
    std::uint64_t reaped = 0;
    bool swept = false;
    TwoCpus work;
    work.before = [&](std::uint64_t round) {
        if (!tcp(SG_IN, round, kSyn) || !tcp(SG_OUT, round, kSyn | kAck)) {
            wrong = "the flow does not open";
        }
        at(now_ + 60 * kSecond);  // its last moment
        sweeper_at(now_ + kSecond + 1);
    };
    work.first = [&](std::uint64_t /*round*/) { sweep(); };
    work.second = [&](std::uint64_t round) { tcp(SG_IN, round, kAck); };
    work.after = [&](std::uint64_t round) {
        const auto left = flow(round);
        if (left && SG_WORD_STATE(left->word) != SG_FLOW_ESTABLISHED) {
            wrong += "neither promoted nor reaped";
        }
        swept = !left;
        reaped += swept ? 1 : 0;
        wrong += flow_table_faults(programs());
        start_again();
        return wrong.empty();
    };
    work.first_won = [&] { return swept; };
    const auto rounds = run_rounds(work);
    EXPECT_EQ(wrong, "");
    report("promotion against reaping", rounds, reaped);
}

// A table of one record, which changes hands while the other CPU holds it: what is meant for the old flow must
// not touch the new one.
TEST_P(SweeperRace, ARecordGivenToAnotherFlowIsNotTouchedByPacketsOfTheFirst) {
    make(inbound_web(), 2);  // slot 0 is never used
    std::string wrong;
    std::uint64_t handed_over = 0;
    bool swept = false;
    TwoCpus work;
    work.before = [&](std::uint64_t round) {
        if (!tcp(SG_IN, 2 * round, kSyn)) {
            wrong = "the first flow does not open";
        }
        at(now_ + 120 * kSecond);  // its last moment
        sweeper_at(now_ + kSecond + 1);
    };
    work.first = [&](std::uint64_t round) {
        sweep();
        tcp(SG_IN, 2 * round + 1, kSyn);
    };
    work.second = [&](std::uint64_t round) { tcp(SG_IN, 2 * round, kRst); };
    work.after = [&](std::uint64_t round) {
        const auto first = flow(2 * round);
        const auto second = flow(2 * round + 1);
        if (first && SG_WORD_STATE(first->word) != SG_FLOW_RESET) {
            wrong += "the first flow was neither closed nor swept";
        }
        if (second && (SG_WORD_STATE(second->word) != SG_FLOW_SYN_SENT || second->packets[0] != 1)) {
            wrong += "the second flow is not as it was opened";
        }
        if (first.has_value() == second.has_value()) {
            wrong += "one record, but not one flow";
        }
        swept = second.has_value();
        handed_over += swept ? 1 : 0;
        wrong += flow_table_faults(programs());
        start_again();
        return wrong.empty();
    };
    work.first_won = [&] { return swept; };
    const auto rounds = run_rounds(work);
    EXPECT_EQ(wrong, "");
    report("a record changes hands", rounds, handed_over);
}

// The same with the flow's own tuple: deleted and inserted again between the other CPU's lookup and its write.
TEST_P(SweeperRace, AFlowOpenedAgainStartsAtTheBeginning) {
    make(inbound_web(), 2);
    std::string wrong;
    std::uint64_t before = 0;
    std::uint64_t reopened = 0;
    bool swept = false;
    TwoCpus work;
    work.before = [&](std::uint64_t round) {
        if (!tcp(SG_IN, round, kSyn) || !tcp(SG_OUT, round, kSyn | kAck)) {
            wrong = "the flow does not open";
        }
        before = flow(round).value_or(sg_flow{}).word;
        at(now_ + 60 * kSecond);  // its last moment
        sweeper_at(now_ + kSecond + 1);
    };
    work.first = [&](std::uint64_t round) {
        sweep();
        if (!tcp(SG_IN, round, kSyn)) {
            wrong = "it does not open again";
        }
    };
    work.second = [&](std::uint64_t round) { tcp(SG_IN, round, kAck); };
    work.after = [&](std::uint64_t round) {
        const auto left = flow(round);
        if (!left) {
            wrong += "no flow";
            return false;
        }
        swept = SG_WORD_INCARNATION(left->word) != SG_WORD_INCARNATION(before);
        if (SG_WORD_STATE(left->word) != (swept ? SG_FLOW_SYN_SENT : SG_FLOW_ESTABLISHED)) {
            wrong += "state " + std::to_string(SG_WORD_STATE(left->word)) + (swept ? " of a new flow" : " of the old");
        }
        reopened += swept ? 1 : 0;
        wrong += flow_table_faults(programs());
        start_again();
        return wrong.empty();
    };
    work.first_won = [&] { return swept; };
    const auto rounds = run_rounds(work);
    EXPECT_EQ(wrong, "");
    report("a flow opened again", rounds, reopened);
}

// Commits that take its rule away and bring it back, beside the traffic of a tracked flow and of one that no
// rule ever admits.
TEST_P(Race, CommitsNeitherStopATrackedFlowNorAdmitAnother) {
    const State with = alone(inbound_web(), 1024);
    const State without = alone(world(), 1024);
    make(with);
    ASSERT_TRUE(tcp(SG_IN, 1, kSyn) && tcp(SG_OUT, 1, kSyn | kAck) && tcp(SG_IN, 1, kAck));
    std::atomic<std::uint64_t> stopped = 0;
    std::atomic<std::uint64_t> admitted = 0;
    std::uint64_t packets = 0;
    std::uint64_t commits = 0;
    std::string failed;
    run_freely(
        [&](std::uint64_t step) {
            if (const auto done = policy_->commit(step % 2 == 0 ? without : with); !done) {
                failed = done.error().message;
            }
            ++commits;
        },
        [&](std::uint64_t step) {
            stopped += tcp(SG_IN, 1, kAck | kPsh) ? 0 : 1;
            stopped += tcp(SG_OUT, 1, kAck | kPsh) ? 0 : 1;
            admitted += tcp(SG_OUT, 2 + step % 100, kSyn) ? 1 : 0;  // there is no outbound rule
            ++packets;
        });
    EXPECT_EQ(failed, "");
    EXPECT_EQ(stopped, 0u);
    EXPECT_EQ(admitted, 0u);
    std::printf("%llu commits\n", static_cast<unsigned long long>(commits));
    report("commits against traffic", packets);
}

// Everything at once on few tuples and a small table, which is often full. Some flows are protected: they are
// refreshed and never closed, so they must always pass. What no rule admits must never pass.
TEST_P(Race, AnythingAtOnce) {
    StateBuilder state = inbound_web();
    state.allow("v/g", SG_IN, kUdp, 53, 53, "192.0.2.0/24").allow("v/g", SG_IN, kIcmp, -1, -1, "192.0.2.0/24");
    make(state, 64);
    constexpr std::uint64_t kProtected = 8;
    for (std::uint64_t one = 0; one < kProtected; ++one) {
        ASSERT_TRUE(tcp(SG_IN, one, kSyn) && tcp(SG_OUT, one, kSyn | kAck) && tcp(SG_IN, one, kAck));
    }
    const std::array kFlags = {+kSyn, kSyn | kAck, +kAck, kAck | kPsh, kFin | kAck, +kRst, kRst | kAck, +kSyn};
    std::atomic<std::uint64_t> lost = 0;
    std::atomic<std::uint64_t> admitted = 0;
    std::array<std::uint64_t, 2> steps{};
    const auto anything = [&](unsigned who, std::uint64_t step) {
        std::uint64_t random = (step + 1) * (who == 0 ? 0x9e3779b97f4a7c15 : 0xd6e8feb86659fd93);
        random ^= random >> 29;
        const unsigned direction = random & 1 ? SG_IN : SG_OUT;
        const std::uint64_t tuple = 100 + (random >> 8) % 90;  // more than the table holds
        switch ((random >> 1) % 16) {
            case 0:
            case 1:
                lost += tcp(direction, (random >> 8) % kProtected, kAck | kPsh) ? 0 : 1;
                break;
            case 2:
                admitted += shoot(SG_OUT, Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "203.0.113.9"} /
                                              Tcp{.from = 80, .to = 9})
                                ? 1
                                : 0;
                break;
            case 3:
                shoot(SG_IN, Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
                                 Udp{.from = static_cast<std::uint16_t>(tuple), .to = 53});
                break;
            case 4:
                shoot(SG_OUT, Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "192.0.2.7"} /
                                  Udp{.from = 53, .to = static_cast<std::uint16_t>(tuple)});
                break;
            case 5:
                if (who == 0) {
                    sweep();
                }
                break;
            default:
                tcp(direction, tuple, kFlags[(random >> 32) % kFlags.size()]);
        }
        if (who == 0 && step % 64 == 0) {
            at(now_ + 5 * kSecond);
        }
        steps[who]++;
    };
    run_freely([&](std::uint64_t step) { anything(0, step); }, [&](std::uint64_t step) { anything(1, step); });
    EXPECT_EQ(lost, 0u) << "packets of established flows";
    EXPECT_EQ(admitted, 0u) << "packets that no rule admits";
    for (std::uint64_t one = 0; one < kProtected; ++one) {
        const auto left = flow(one);
        ASSERT_TRUE(left) << "flow " << one << " is gone";
        EXPECT_EQ(SG_WORD_STATE(left->word), SG_FLOW_ESTABLISHED);
    }
    EXPECT_GT(counted(SG_REASON_NO_CAPACITY), 0u) << "the table was never full";
    report("anything at once", steps[0] + steps[1]);
}

INSTANTIATE_TEST_SUITE_P(Programs, Race, testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),
                         [](const auto& one) { return one.param == TestPrograms::Mode::kTest ? "tc" : "xdp"; });

INSTANTIATE_TEST_SUITE_P(Programs, SweeperRace, testing::Values(TestPrograms::Mode::kTestXdp),
                         [](const auto& /*one*/) { return "xdp"; });

}  // namespace
}  // namespace sgbpf::test
