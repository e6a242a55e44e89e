// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A statement of the specification as a test: one interface `a` of one VPC (and `b` beside it), its peers, and a
// clock, through the tc and the XDP programs, in IPv4 and in IPv6. Names of tests hold the numbers
// (tools/lint/lint.py statements).
#pragma once

#include <gtest/gtest.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <memory>
#include <string>
#include <tuple>

#include "support/flow_invariants.hpp"
#include "support/live_policy.hpp"
#include "support/packet.hpp"
#include "support/state_builder.hpp"

namespace sgbpf::test {

constexpr std::uint64_t kSecond = 1000;  // ticks are milliseconds here

// The two ends of a flow, whoever sends.
struct Ends {
    std::uint16_t peer_port = 40000;
    std::uint16_t own_port = 80;
    int peer = 1;  // last number of its address
};

// What a TCP segment carries besides flags.
struct Segment {
    std::uint32_t sequence = 1;
    std::uint32_t acknowledgement = 0;
    std::uint16_t window = 64240;
    std::size_t payload = 0;
    Bytes options = {};
};

class Statement : public testing::TestWithParam<std::tuple<TestPrograms::Mode, int>> {
protected:
    [[nodiscard]] bool v6() const { return std::get<int>(GetParam()) == 6; }
    [[nodiscard]] std::string pick(const char* v4, const char* v6_text) const { return v6() ? v6_text : v4; }
    // Of the family under test.
    [[nodiscard]] std::string own(const std::string& interface = "a") const {
        return interface == "a" ? pick("10.0.1.10", "2001:db8:a:1::10") : pick("10.0.1.20", "2001:db8:a:1::20");
    }
    [[nodiscard]] std::string peer(int number) const {
        return pick("192.0.2.", "2001:db8:c::") + std::to_string(number);
    }
    [[nodiscard]] std::string net() const { return pick("192.0.2.0/24", "2001:db8:c::/48"); }
    [[nodiscard]] std::string host(int number) const { return peer(number) + (v6() ? "/128" : "/32"); }
    [[nodiscard]] std::string anyone() const { return pick("0.0.0.0/0", "::/0"); }
    [[nodiscard]] std::string other_anyone() const { return pick("::/0", "0.0.0.0/0"); }
    [[nodiscard]] Protocol icmp() const { return v6() ? kIcmpv6 : kIcmp; }

    // VPC v with group v/g of no rules; interfaces a and b in it.
    static StateBuilder world() {
        StateBuilder builder;
        builder.vpc("v").group("v/g").group("v/h");
        builder.interface("a", {"v/g"}, {"10.0.1.10", "2001:db8:a:1::10"});
        builder.interface("b", {"v/g"}, {"10.0.1.20", "2001:db8:a:1::20"});
        return builder;
    }
    static TrackingOptions& tracking(StateBuilder& state, const char* interface = "a") {
        return state.state().interfaces.at(interface).tracking;
    }
    // Puts a state in force, the first or the next one.
    void use(const State& state, const Capacities& capacities = small_capacities()) {
        if (policy_) {
            auto committed = policy_->commit(state);
            ASSERT_TRUE(committed) << committed.error().message;
            return;
        }
        auto policy = LivePolicy::make(state, capacities, std::get<TestPrograms::Mode>(GetParam()));
        ASSERT_TRUE(policy) << policy.error().message << policy.error().detail;
        policy_ = std::move(*policy);
    }
    [[nodiscard]] sg_account account(const std::string& interface) const {
        return account_at(policy_->slot(interface));
    }
    [[nodiscard]] sg_account account_at(std::uint32_t slot) const {
        sg_account account{};
        EXPECT_EQ(bpf_map_lookup_elem(policy_->programs().map_fd("sg_accounts"), &slot, &account), 0);
        return account;
    }
    void set_account(std::uint32_t slot, const sg_account& account) {
        EXPECT_EQ(bpf_map_update_elem(policy_->programs().map_fd("sg_accounts"), &slot, &account, BPF_ANY), 0);
    }
    std::uint64_t counted(const std::string& interface, sg_reason reason) {
        const auto counters = policy_->programs().sandbox().read_counters(policy_->slot(interface));
        return counters ? counters->packets[SG_IN][reason] + counters->packets[SG_OUT][reason] : 0;
    }
    void wait(std::uint64_t milliseconds) { now_ += milliseconds; }

    // Frames of the family under test, between interface and peer.
    [[nodiscard]] Frame ip(unsigned direction, int peer_number, const std::string& interface = "a") const {
        const std::string from = direction == SG_IN ? peer(peer_number) : own(interface);
        const std::string to = direction == SG_IN ? own(interface) : peer(peer_number);
        return between(from, to);
    }
    [[nodiscard]] Frame between(const std::string& from, const std::string& to, std::uint8_t hop_limit = 64) const {
        return v6() ? Ethernet{} / Ipv6{.source = from, .destination = to, .hop_limit = hop_limit}
                    : Ethernet{} / Ipv4{.source = from, .destination = to, .ttl = hop_limit};
    }
    PacketResult judge(unsigned direction, const Bytes& frame, const std::string& interface = "a") {
        return policy_->judge(direction, interface, frame, now_);
    }
    [[nodiscard]] Bytes tcp_frame(unsigned direction, int flags, const Ends& ends = {}, const Segment& segment = {},
                                  const std::string& interface = "a") const {
        return ip(direction, ends.peer, interface) /
               Tcp{.from = direction == SG_IN ? ends.peer_port : ends.own_port,
                   .to = direction == SG_IN ? ends.own_port : ends.peer_port,
                   .flags = static_cast<std::uint8_t>(flags),
                   .sequence = segment.sequence,
                   .acknowledgement = segment.acknowledgement,
                   .window = segment.window,
                   .options = segment.options} /
               Raw{Bytes(segment.payload)};
    }
    sg_reason tcp(unsigned direction, int flags, const Ends& ends = {}, const std::string& interface = "a") {
        return judge(direction, tcp_frame(direction, flags, ends, {}, interface), interface).reason;
    }
    sg_reason udp(unsigned direction, const Ends& ends = {}, const std::string& interface = "a") {
        return judge(direction,
                     ip(direction, ends.peer, interface) /
                         Udp{.from = direction == SG_IN ? ends.peer_port : ends.own_port,
                             .to = direction == SG_IN ? ends.own_port : ends.peer_port},
                     interface)
            .reason;
    }
    sg_reason icmp_packet(unsigned direction, std::uint8_t type, std::uint16_t id, int peer_number = 1) {
        return judge(direction, ip(direction, peer_number) / Icmp{.type = type, .id = id}).reason;
    }
    [[nodiscard]] std::uint8_t echo_request() const { return v6() ? 128 : 8; }
    [[nodiscard]] std::uint8_t echo_reply() const { return v6() ? 129 : 0; }
    sg_reason other(unsigned direction, std::uint8_t protocol, int peer_number = 1) {
        return judge(direction, ip(direction, peer_number) / Raw{Bytes(32), protocol}).reason;
    }

    // A handshake opened by whoever sends in `opener`.
    void handshake(unsigned opener, const Ends& ends = {}, const std::string& interface = "a") {
        const unsigned answerer = opener == SG_IN ? SG_OUT : SG_IN;
        ASSERT_EQ(tcp(opener, kSyn, ends, interface), SG_REASON_RULE);
        ASSERT_EQ(tcp(answerer, kSyn | kAck, ends, interface), SG_REASON_TRACKED);
        ASSERT_EQ(tcp(opener, kAck, ends, interface), SG_REASON_TRACKED);
    }
    [[nodiscard]] std::vector<sg_flow> flows() const { return policy_->programs().live_flows(); }
    [[nodiscard]] std::size_t entries() const { return flows().size(); }
    [[nodiscard]] sg_flow only_flow() const {
        const auto all = flows();
        EXPECT_EQ(all.size(), 1u);
        return all.empty() ? sg_flow{} : all.front();
    }
    [[nodiscard]] unsigned state_of_only_flow() const { return SG_WORD_STATE(only_flow().word); }

    void TearDown() override {
        if (policy_) {
            EXPECT_EQ(flow_table_faults(policy_->programs()), "");
        }
    }

    std::unique_ptr<LivePolicy> policy_;
    std::uint64_t now_ = 1'000'000;
};

inline std::string statement_case(const testing::TestParamInfo<Statement::ParamType>& one) {
    const auto mode = std::get<TestPrograms::Mode>(one.param);
    return std::string(mode == TestPrograms::Mode::kTest ? "tc" : "xdp") + "_v" +
           std::to_string(std::get<int>(one.param));
}

#define SG_STATEMENTS(fixture)                                                                                         \
    INSTANTIATE_TEST_SUITE_P(                                                                                          \
        Spec, fixture,                                                                                                 \
        testing::Combine(testing::Values(TestPrograms::Mode::kTest, TestPrograms::Mode::kTestXdp),                     \
                         testing::Values(4, 6)),                                                                       \
        statement_case)

}  // namespace sgbpf::test
