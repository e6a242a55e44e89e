// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Hints where a flow's record is: they may be wrong in every way, and are found again when a flow comes back.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint64_t kStart = 1'000'000;
constexpr int kFlows = 400;

State state() {
    StateBuilder builder;
    builder.vpc("v").group("v/g");
    builder.allow("v/g", SG_IN, kTcp, 80, 80, "192.0.2.0/24");
    builder.interface("a", {"v/g"}, {"10.0.1.10"});
    builder.state().interfaces.at("a").tracking.max_opening = small_capacities().flows;
    return builder;
}

class Hints : public testing::TestWithParam<TestPrograms::Mode> {
protected:
    void SetUp() override {
        auto policy = LivePolicy::make(state(), small_capacities(), GetParam());
        ASSERT_TRUE(policy) << policy.error().message;
        policy_ = std::move(*policy);
        fd_ = policy_->programs().map_fd("sg_flow_hints");
        elements_ = hint_elements(small_capacities().flows);
    }
    PacketResult in(int flow, std::uint8_t flags) {
        return policy_->judge(SG_IN, "a",
                              Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
                                  Tcp{.from = static_cast<std::uint16_t>(1024 + flow), .to = 80, .flags = flags},
                              kStart);
    }
    std::uint64_t get(std::uint32_t index) const {
        std::uint64_t word = 0;
        EXPECT_EQ(bpf_map_lookup_elem(fd_, &index, &word), 0);
        return word;
    }
    void set(std::uint32_t index, std::uint64_t word) const {
        EXPECT_EQ(bpf_map_update_elem(fd_, &index, &word, BPF_ANY), 0);
    }
    // Where a hint for a record stands; elements_ = nowhere.
    std::uint32_t place_of(std::uint32_t slot) const {
        for (std::uint32_t i = 0; i < elements_; ++i) {
            if (SG_HINT_SLOT(get(i)) == slot) {
                return i;
            }
        }
        return elements_;
    }
    std::unique_ptr<LivePolicy> policy_;
    int fd_ = -1;
    std::uint32_t elements_ = 0;
};

TEST_P(Hints, WrongOnesChangeNoVerdict) {
    std::vector<std::uint32_t> slots;
    for (int flow = 0; flow < kFlows; ++flow) {
        ASSERT_EQ(in(flow, kSyn).reason, SG_REASON_RULE);
        slots.push_back(in(flow, kSyn).flow_slot);
    }
    std::mt19937 random(1);
    for (int round = 0; round < 4; ++round) {
        std::size_t hinted = 0;
        for (std::uint32_t i = 0; i < elements_; ++i) {
            const std::uint64_t word = get(i);
            hinted += word != 0 ? 1 : 0;
            // The right tag with another record, a record beyond the table, or any word at all.
            const std::uint64_t wrong[] = {SG_HINT(SG_HINT_TAG(word), slots[random() % slots.size()]),
                                           SG_HINT(SG_HINT_TAG(word), 0xffffffff - random() % 3),
                                           std::uint64_t{random()} << 32 | random()};
            set(i, wrong[random() % 3]);
        }
        EXPECT_GT(hinted, 300u) << "nothing was hinted: the test shows nothing";
        for (int flow = 0; flow < kFlows; ++flow) {
            const PacketResult result = in(flow, kSyn);
            ASSERT_EQ(result.reason, SG_REASON_TRACKED) << flow;
            ASSERT_EQ(result.flow_slot, slots[static_cast<std::size_t>(flow)]);
        }
        EXPECT_EQ(in(kFlows, kAck).reason, SG_REASON_RULE) << "a segment of no flow finds none";
    }
}

TEST_P(Hints, AFlowThatComesBackIsHintedInItsFirstPlaceAgain) {
    static_cast<void>(in(0, kSyn));
    const std::uint32_t before = in(0, kSyn).flow_slot;
    const std::uint32_t place = place_of(before);
    ASSERT_LT(place, elements_);
    ASSERT_TRUE(policy_->flush_all());
    EXPECT_EQ(in(0, kAck).reason, SG_REASON_RULE);
    EXPECT_EQ(in(0, kAck).flow_slot, 0u) << "the old hint leads to a free record";
    static_cast<void>(in(0, kSyn));
    const std::uint32_t after = in(0, kSyn).flow_slot;
    ASSERT_NE(after, before);
    EXPECT_EQ(SG_HINT_SLOT(get(place)), after);
}

INSTANTIATE_TEST_SUITE_P(Programs, Hints, testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),
                         [](const auto& one) { return one.param == TestPrograms::Mode::kTest ? "tc" : "xdp"; });

}  // namespace
}  // namespace sgbpf::test
