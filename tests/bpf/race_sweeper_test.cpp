// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Races of packets with the sweeper, whose clock is ahead of that of the CPU with the packet.
#include "race_fixture.hpp"

namespace sgbpf::test {
namespace {

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

INSTANTIATE_TEST_SUITE_P(Programs, SweeperRace, testing::Values(TestPrograms::Mode::kTestXdp), race_case);

}  // namespace
}  // namespace sgbpf::test
