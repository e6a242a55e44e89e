// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Listing and flushing flow records, and counters. Records are made by hand in the pinned maps.
#include <cstring>

#include <bpf/bpf.h>
#include <sys/mman.h>

#include "datapath/clock.hpp"
#include "support/kernel_fixture.hpp"

namespace sgbpf::test {
namespace {

class FlowTest : public KernelTest {
protected:
    void SetUp() override {
        KernelTest::SetUp();
        datapath_ = loaded();
        records_fd_ = Fd(bpf_obj_get((bpffs() + "/sgbpf/v3/maps/sg_flows").c_str()));
        index_fd_ = Fd(bpf_obj_get((bpffs() + "/sgbpf/v3/maps/sg_flow_index").c_str()));
        free_fd_ = Fd(bpf_obj_get((bpffs() + "/sgbpf/v3/maps/sg_flow_free").c_str()));
        bytes_ = small_capacities().flows * sizeof(sg_flow);
        records_ =
            static_cast<sg_flow*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, records_fd_.get(), 0));
        ASSERT_NE(static_cast<void*>(records_), MAP_FAILED);
        now_ = static_cast<std::uint32_t>(TickClock::open()->read()->ticks);
    }
    void TearDown() override {
        ::munmap(records_, bytes_);
        KernelTest::TearDown();
    }

    // A ping of 198.51.100.<host> (RFC 5737); its idle timer needs no interface.
    std::uint32_t add_flow(std::uint16_t interface_slot, std::uint8_t host, std::uint64_t replies = 0,
                           std::uint32_t rule = 1) {
        std::uint32_t slot = 0;
        EXPECT_EQ(bpf_map_lookup_and_delete_elem(free_fd_.get(), nullptr, &slot), 0);
        sg_flow flow{};
        flow.key.remote[0] = 198;
        flow.key.remote[1] = 51;
        flow.key.remote[2] = 100;
        flow.key.remote[3] = host;
        flow.key.interface_slot = interface_slot;
        flow.key.protocol = 1;
        flow.last_seen = now_;
        flow.rule = rule;
        flow.packets[1] = replies;
        flow.word = (1ULL << 32) | SG_FLOW_ICMP;
        records_[slot] = flow;
        EXPECT_EQ(bpf_map_update_elem(index_fd_.get(), &flow.key, &slot, BPF_NOEXIST), 0);
        return slot;
    }
    [[nodiscard]] std::uint64_t indexed() const {
        std::uint64_t rows = 0;
        sg_flow_key key{};
        sg_flow_key next{};
        for (bool first = true; bpf_map_get_next_key(index_fd_.get(), first ? nullptr : &key, &next) == 0;
             first = false, key = next) {
            ++rows;
        }
        return rows;
    }

    std::unique_ptr<Datapath> datapath_;
    Fd records_fd_;
    Fd index_fd_;
    Fd free_fd_;
    std::size_t bytes_ = 0;
    sg_flow* records_ = nullptr;
    std::uint32_t now_ = 0;
};

TEST_F(FlowTest, ListsWhatFitsAndCountsBeyondTheLimit) {
    for (std::uint8_t host = 1; host <= 9; ++host) {
        add_flow(host % 2 == 0 ? 2 : 1, host, host > 6 ? 1 : 0);
    }
    const auto all = datapath_->read_flows({});
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_EQ(all->flows.size(), 9U);
    EXPECT_EQ(all->live, 9U);
    EXPECT_EQ(all->ticks_per_second, datapath_->control()->ticks_per_second);
    EXPECT_GE(static_cast<std::uint32_t>(all->now), now_);
    EXPECT_LT(static_cast<std::uint32_t>(all->now) - now_, 60 * all->ticks_per_second);

    FlowFilter filter;
    filter.interface_slot = 2;
    filter.limit = 3;
    const auto some = datapath_->read_flows(filter);
    ASSERT_TRUE(some);
    EXPECT_EQ(some->flows.size(), 3U);
    EXPECT_EQ(some->live, 4U);

    FlowFilter answered;
    answered.established_only = true;
    EXPECT_EQ(datapath_->read_flows(answered)->live, 3U);
}

TEST_F(FlowTest, FiltersByStateAndRuleAndStopsWhenTheTimeIsOver) {
    for (std::uint8_t host = 1; host <= 9; ++host) {
        const std::uint32_t slot = add_flow(1, host, 0, host % 3);
        records_[slot].word = (1ULL << 32) | (host < 4 ? SG_FLOW_ESTABLISHED : SG_FLOW_ICMP);
    }
    FlowFilter filter;
    filter.state = SG_FLOW_ESTABLISHED;
    EXPECT_EQ(datapath_->read_flows(filter)->live, 3U);
    filter.rule = 2;
    EXPECT_EQ(datapath_->read_flows(filter)->live, 1U);
    FlowFilter hurried;
    hurried.time_limit = std::chrono::milliseconds(-1);  // over before the first look
    const auto none = datapath_->read_flows(hurried);
    ASSERT_TRUE(none);
    EXPECT_EQ(none->live, 0U);
    EXPECT_EQ(none->looked_at, 0U);
    EXPECT_EQ(datapath_->read_flows({})->looked_at, 100U);
}

TEST_F(FlowTest, FlushesByInterfaceByAddressAndAll) {
    for (std::uint8_t host = 1; host <= 9; ++host) {
        add_flow(host % 2 == 0 ? 2 : 1, host);
    }
    FlowFilter what;
    what.interface_slot = 2;
    const auto by_interface = datapath_->flush_flows(what);
    ASSERT_TRUE(by_interface) << by_interface.error().message;
    EXPECT_EQ(*by_interface, 4U);
    EXPECT_EQ(datapath_->read_flows({})->live, 5U);
    EXPECT_EQ(indexed(), 5U);

    what = {};
    what.peer = Prefix{{Family::kIpv4, {198, 51, 100, 4}}, 30};  // .4 to .7: of these 5 and 7 are left
    EXPECT_EQ(datapath_->flush_flows(what).value(), 2U);

    what = {};
    what.protocol = kTcp;
    EXPECT_EQ(datapath_->flush_flows(what).value(), 0U);

    EXPECT_EQ(datapath_->flush_flows({}).value(), 3U);
    EXPECT_EQ(indexed(), 0U);
    EXPECT_EQ(datapath_->read_flows({})->live, 0U);
    // Every slot is on the free list again.
    std::uint32_t slot = 0;
    std::uint32_t free_slots = 0;
    while (bpf_map_lookup_and_delete_elem(free_fd_.get(), nullptr, &slot) == 0) {
        ++free_slots;
    }
    EXPECT_EQ(free_slots, small_capacities().flows - 1);
}

// What was read may have ended, and its record be another flow's, before it is ended.
TEST_F(FlowTest, EndsOnlyTheFlowThatWasRead) {
    const std::uint32_t slot = add_flow(1, 1);
    const std::uint32_t incarnation = SG_WORD_INCARNATION(records_[slot].word);
    EXPECT_EQ(datapath_->reap_flows({{slot, incarnation + 1}, {0, 0}, {0xffffffffU, 1}}).value(), 0U);
    EXPECT_EQ(datapath_->read_flows({})->live, 1U);
    const auto read = datapath_->read_flows({});
    EXPECT_EQ(datapath_->reap_flows(read->refs).value(), 1U);
    EXPECT_EQ(datapath_->reap_flows(read->refs).value(), 0U) << "it is gone";
    EXPECT_EQ(datapath_->read_flows({})->live, 0U);
}

TEST_F(FlowTest, FlushesARulesFlows) {
    add_flow(1, 1, 0, 7);
    add_flow(1, 2, 0, 8);
    FlowFilter what;
    what.rule = 8;
    EXPECT_EQ(datapath_->flush_flows(what).value(), 1U);
    EXPECT_EQ(datapath_->read_flows({})->flows[0].rule, 7U);
}

TEST_F(FlowTest, AddsCountersOfAllCpus) {
    const Fd counters(bpf_obj_get((bpffs() + "/sgbpf/v3/maps/sg_counters").c_str()));
    const Fd rules(bpf_obj_get((bpffs() + "/sgbpf/v3/maps/sg_rule_counts").c_str()));
    constexpr std::size_t kMostCpus = 512;
    std::vector<sg_counters> per_cpu(kMostCpus);
    std::vector<sg_rule_counters> rule_per_cpu(kMostCpus);
    const std::uint32_t slot = 5;
    ASSERT_EQ(bpf_map_lookup_elem(counters.get(), &slot, per_cpu.data()), 0);
    per_cpu[0].packets[SG_IN][SG_REASON_RULE] = 10;
    per_cpu[0].bytes[SG_OUT][SG_DROP] = 500;
    per_cpu[1].packets[SG_IN][SG_REASON_RULE] = 3;
    rule_per_cpu[0] = {7, 700};
    rule_per_cpu[1] = {1, 40};
    ASSERT_EQ(bpf_map_update_elem(counters.get(), &slot, per_cpu.data(), BPF_ANY), 0);
    ASSERT_EQ(bpf_map_update_elem(rules.get(), &slot, rule_per_cpu.data(), BPF_ANY), 0);
    const auto sums = datapath_->read_counters(slot);
    ASSERT_TRUE(sums);
    // One CPU at least; the second's share where there is one.
    const std::uint64_t second = ::sysconf(_SC_NPROCESSORS_CONF) > 1 ? 1 : 0;
    EXPECT_EQ(sums->packets[SG_IN][SG_REASON_RULE], 10 + 3 * second);
    EXPECT_EQ(sums->bytes[SG_OUT][SG_DROP], 500U);
    const auto rule_sums = datapath_->read_rule_counters({4, slot});
    ASSERT_TRUE(rule_sums);
    EXPECT_EQ((*rule_sums)[0].packets, 0U);
    EXPECT_EQ((*rule_sums)[1].packets, 7 + second);
    EXPECT_EQ((*rule_sums)[1].bytes, 700 + 40 * second);
    EXPECT_EQ(datapath_->read_counters(small_capacities().interfaces).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace sgbpf::test
