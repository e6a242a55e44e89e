// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Races of packets with packets, commits and everything; those with the sweeper: race_sweeper_test.cpp.
#include "race_fixture.hpp"

namespace sgbpf::test {
namespace {

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

// One place is left, and both CPUs open a flow: one gets it. By each of the limits: of unanswered flows, of the
// interface's, of the pool.
TEST_P(Race, TheLastPlaceIsTakenOnce) {
    constexpr std::uint32_t kTable = 33;  // slot 0 is never used
    constexpr std::uint32_t kLimit = 8;
    for (const char* limit : {"opening", "flows", "pool"}) {
        SCOPED_TRACE(limit);
        State state = inbound_web().interface("b", {"v/g"}, {"10.0.1.20"});
        TrackingOptions& tracking = state.interfaces.at("a").tracking;
        tracking = {.max_flows = kTable, .max_opening = kTable, .reserved = 0};
        if (limit == std::string("pool")) {
            state.interfaces.at("b").tracking = {.max_flows = 16, .reserved = 16};
        } else {
            state.interfaces.at("b").tracking.reserved = 0;
            (limit == std::string("opening") ? tracking.max_opening : tracking.max_flows) = kLimit;
        }
        const std::uint32_t places = limit == std::string("pool") ? kTable - 1 - 16 : kLimit;
        policy_.reset();
        make(state, kTable, false);
        std::string wrong;
        std::array<bool, 2> passed{};
        TwoCpus work;
        work.before = [&](std::uint64_t round) {
            for (std::uint64_t one = 0; one + 1 < places; ++one) {
                if (!tcp(SG_IN, round * 64 + one, kSyn)) {
                    wrong += "refused before the limit";
                }
            }
        };
        work.first = [&](std::uint64_t round) { passed[0] = tcp(SG_IN, round * 64 + 62, kSyn); };
        work.second = [&](std::uint64_t round) { passed[1] = tcp(SG_IN, round * 64 + 63, kSyn); };
        std::uint64_t neither = 0;
        work.after = [&](std::uint64_t /*round*/) {
            if (passed[0] && passed[1]) {
                wrong += "both got the last place";
            }
            neither += !passed[0] && !passed[1] ? 1 : 0;
            if (programs().live_flows().size() > places) {
                wrong += "more flows than places";
            }
            wrong += flow_table_faults(programs());
            start_again();
            return wrong.empty();
        };
        work.first_won = [&] { return passed[0]; };
        const auto rounds = run_rounds(work);
        EXPECT_EQ(wrong, "");
        EXPECT_EQ(neither, 0u) << "rounds in which nobody got the last place";
        report(limit, rounds);
    }
}

// `recheck` and `kill`, with the rule taken away and brought back, beside both directions of a flow. Once a commit
// without the rule has returned, no packet of the flow passes; with the rule, a new connection works.
TEST_P(Race, RevocationAgainstTraffic) {
    for (const Revocation how : {Revocation::kRecheck, Revocation::kKill}) {
        SCOPED_TRACE(how == Revocation::kRecheck ? "recheck" : "kill");
        const auto with_mode = [&](State state) {
            state.interfaces.at("a").tracking.revocation = how;
            return alone(std::move(state), 1024);
        };
        const State with = with_mode(inbound_web());
        const State without = with_mode(world());
        policy_.reset();
        make(with);
        std::string wrong;
        TwoCpus work;
        work.before = [&](std::uint64_t round) {
            if (!policy_->commit(with) || !tcp(SG_IN, round, kSyn) || !tcp(SG_OUT, round, kSyn | kAck) ||
                !tcp(SG_IN, round, kAck)) {
                wrong += "a new connection does not work";
            }
        };
        std::atomic<bool> revoked = false;
        work.first = [&](std::uint64_t /*round*/) {
            if (!policy_->commit(without)) {
                wrong += "commit";
            }
            revoked = true;
        };
        work.second = [&](std::uint64_t round) {
            while (!revoked) {
                tcp(SG_OUT, round, kAck | kPsh);
                tcp(SG_IN, round, kAck | kPsh);
            }
        };
        work.after = [&](std::uint64_t round) {
            revoked = false;
            if (tcp(SG_OUT, round, kAck | kPsh) || tcp(SG_IN, round, kAck | kPsh)) {
                wrong += "a packet of a revoked flow passed";
            }
            if (flow(round)) {
                wrong += "its record is still there";
            }
            wrong += flow_table_faults(programs());
            return wrong.empty();
        };
        const auto rounds = run_rounds(work);
        EXPECT_EQ(wrong, "");
        report("revocation", rounds);
    }
}

// Strict mode, two segments of one direction on two CPUs: what the later one sent is not forgotten, so that its
// acknowledgement passes; and acknowledgements at once with data of the other side.
TEST_P(Race, StrictSegmentsOfOneDirectionOnBothCpus) {
    State state = inbound_web();
    state.interfaces.at("a").tracking.strict = true;
    make(state);
    std::uint32_t client = 0xfffff000;  // wraps around soon
    std::uint32_t server = 5000;
    ASSERT_TRUE(tcp(SG_IN, 1, kSyn, client - 1) && tcp(SG_OUT, 1, kSyn | kAck, server - 1, client) &&
                tcp(SG_IN, 1, kAck, client, server) && tcp(SG_OUT, 1, kAck, server, client));
    std::atomic<bool> refused = false;
    TwoCpus work;
    work.first = [&](std::uint64_t round) {
        refused = refused || !tcp(SG_IN, 1, kAck, round % 2 == 0 ? client : client + 100, server, 100);
    };
    work.second = [&](std::uint64_t round) {
        refused = refused || !tcp(SG_IN, 1, kAck, round % 2 == 0 ? client + 100 : client, server, 100);
    };
    std::string wrong;
    work.after = [&](std::uint64_t round) {
        client += 200;
        if (!tcp(SG_OUT, 1, kAck, server, client, 50)) {
            wrong += "an acknowledgement of both was refused";
        }
        server += 50;
        if (round % kSeries == 0 && tcp(SG_IN, 1, kRst, client + 0x40000000)) {
            wrong += "a blind reset passed";
        }
        return wrong.empty() && !refused;
    };
    const auto rounds = run_rounds(work);
    EXPECT_EQ(wrong, "");
    EXPECT_FALSE(refused) << drops();
    report("strict segments", rounds);
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
                         race_case);

}  // namespace
}  // namespace sgbpf::test
