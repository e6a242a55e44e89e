// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SG-5.53 to SG-5.61, SG-13.20: fragments.
#include <algorithm>
#include <numeric>

#include "statement_fixture.hpp"

namespace sgbpf::test {
namespace {

constexpr std::size_t kPiece = 64;  // bytes of data in a fragment that is not the last

class FragmentStatement : public Statement {
protected:
    struct Datagram {
        unsigned direction = SG_IN;
        std::uint32_t id = 7;
        std::uint16_t port = 53;
        std::uint8_t protocol = 17;
        int count = 4;
        std::uint8_t reserved = 0;
    };
    // Fragment `index` of a datagram of `count`; the first holds a UDP header.
    [[nodiscard]] Bytes piece(const Datagram& d, int index) const {
        return at(d, static_cast<std::uint16_t>(static_cast<std::size_t>(index) * kPiece / 8), index + 1 < d.count,
                  index + 1 < d.count ? kPiece : 40, index == 0);
    }
    [[nodiscard]] Bytes at(const Datagram& d, std::uint16_t offset, bool more, std::size_t bytes,
                           bool with_ports) const {
        const std::string from = d.direction == SG_IN ? peer(1) : own();
        const std::string to = d.direction == SG_IN ? own() : peer(1);
        Bytes data(bytes, 0x61);
        if (with_ports && bytes >= 8) {
            const Bytes ports = {
                0x9c, 0x40, static_cast<std::uint8_t>(d.port >> 8), static_cast<std::uint8_t>(d.port), 0x01, 0x00,
                0x00, 0x00};
            std::copy(ports.begin(), ports.end(), data.begin());
            if (d.protocol == 6) {
                data[12] = 0x50;
                data[13] = kSyn;
            }
        }
        if (v6()) {
            return Ethernet{} / Ipv6{.source = from, .destination = to} /
                   Fragment6{.offset = offset, .more = more, .id = d.id, .reserved = d.reserved} /
                   Raw{data, d.protocol};
        }
        return Ethernet{} /
               Ipv4{.source = from,
                    .destination = to,
                    .protocol = d.protocol,
                    .id = static_cast<std::uint16_t>(d.id),
                    .fragment_offset = offset,
                    .more = more} /
               Raw{data, d.protocol};
    }
    sg_reason send(const Datagram& d, int index) { return judge(d.direction, piece(d, index)).reason; }
    void allow_dns() { use(StateBuilder(world()).allow("v/g", SG_IN, kUdp, 53, 53, net())); }
    [[nodiscard]] std::size_t contexts() const {
        const auto all = flows();
        return static_cast<std::size_t>(std::count_if(
            all.begin(), all.end(), [](const sg_flow& flow) { return SG_WORD_STATE(flow.word) == SG_FLOW_FRAGMENT; }));
    }
};

TEST_P(FragmentStatement, SG_5_53_ALaterFragmentPassesByNoPortRule) {
    use(StateBuilder(world()).allow("v/g", SG_IN, kUdp, 0, 65535, anyone()));
    EXPECT_EQ(send({}, 1), SG_REASON_FRAGMENT_ALONE);
    EXPECT_EQ(send({}, 3), SG_REASON_FRAGMENT_ALONE);
}

TEST_P(FragmentStatement, SG_5_54_LaterFragmentsInheritTheFirstOnesVerdict) {
    allow_dns();
    EXPECT_EQ(send({}, 0), SG_REASON_RULE);
    for (int i = 1; i < 4; ++i) {
        EXPECT_EQ(send({}, i), SG_REASON_FRAGMENT) << i;
    }
    EXPECT_EQ(contexts(), 0u) << "complete: nothing more can come";
    EXPECT_EQ(send({.id = 8, .port = 54}, 0), SG_REASON_NO_RULE);
    EXPECT_EQ(send({.id = 8, .port = 54}, 1), SG_REASON_FRAGMENT_ALONE);
    EXPECT_EQ(send({.id = 9}, 0), SG_REASON_TRACKED);
    EXPECT_EQ(send({.id = 10}, 1), SG_REASON_FRAGMENT_ALONE) << "another datagram";
    EXPECT_EQ(send({.direction = SG_OUT, .id = 9}, 1), SG_REASON_FRAGMENT_ALONE) << "another direction";
}

TEST_P(FragmentStatement, SG_5_55_EveryOrderAfterTheFirstPasses) {
    allow_dns();
    std::vector<int> order = {1, 2, 3, 4};
    std::uint32_t id = 100;
    do {
        const Datagram d{.id = ++id, .count = 5};
        EXPECT_EQ(send(d, order[0]), SG_REASON_FRAGMENT_ALONE) << "before the first: dropped";
        ASSERT_TRUE(send(d, 0) == SG_REASON_RULE || id > 101);
        for (const int index : order) {
            EXPECT_EQ(send(d, index), SG_REASON_FRAGMENT) << id << " " << index;
        }
        EXPECT_EQ(contexts(), 0u);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(FragmentStatement, SG_5_56_ContextsEndByAgeAndAreBounded) {
    allow_dns();
    ASSERT_EQ(send({}, 0), SG_REASON_RULE);
    wait(SG_SECONDS_FRAGMENT * kSecond);
    EXPECT_EQ(send({}, 1), SG_REASON_FRAGMENT);
    wait(1);
    EXPECT_EQ(send({}, 2), SG_REASON_FRAGMENT_ALONE) << "not refreshed by what passed";
    Capacities room = small_capacities();
    policy_.reset();
    room.flows = 1024;
    use(StateBuilder(world()).allow("v/g", SG_IN, kUdp, 53, 53, net()), room);
    for (std::uint32_t i = 0; i < SG_MAX_FRAGMENTS; ++i) {
        const auto reason = send({.id = 1000 + i}, 0);
        ASSERT_TRUE(reason == SG_REASON_RULE || reason == SG_REASON_TRACKED) << i;
    }
    EXPECT_EQ(contexts(), std::size_t{SG_MAX_FRAGMENTS});
    EXPECT_EQ(send({.id = 5000}, 0), SG_REASON_FRAGMENT_LIMIT) << "overflow = drop and count";
    EXPECT_EQ(send({.id = 1000}, 1), SG_REASON_FRAGMENT) << "what is there goes on";
    wait((SG_SECONDS_FRAGMENT + 2) * kSecond);
    for (int i = 0; i < 3; ++i) {
        policy_->programs().sweep_once(now_);
    }
    EXPECT_EQ(contexts(), 0u);
}

TEST_P(FragmentStatement, SG_5_57_TinyFirstFragmentsAreDropped) {
    use(StateBuilder(world()).allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()));
    EXPECT_EQ(judge(SG_IN, at({.protocol = 6}, 0, true, 16, true)).reason, SG_REASON_FRAGMENT_TINY);
    EXPECT_EQ(judge(SG_IN, at({.protocol = 6}, 0, true, 24, true)).reason, SG_REASON_RULE);
    if (!v6()) {
        EXPECT_EQ(judge(SG_IN, at({.protocol = 6}, 1, true, 24, false)).reason, SG_REASON_FRAGMENT_TINY) << "RFC 3128";
    }
}

TEST_P(FragmentStatement, SG_5_58_OverlappingFragmentsSpoilTheDatagram) {
    allow_dns();
    ASSERT_EQ(send({}, 0), SG_REASON_RULE);
    ASSERT_EQ(send({}, 2), SG_REASON_FRAGMENT);
    EXPECT_EQ(judge(SG_IN, at({}, 9, true, kPiece, false)).reason, SG_REASON_FRAGMENT_OVERLAP);
    EXPECT_EQ(send({}, 1), SG_REASON_FRAGMENT_OVERLAP) << "the whole datagram";
    EXPECT_EQ(send({}, 3), SG_REASON_FRAGMENT_OVERLAP);
    EXPECT_EQ(send({}, 0), SG_REASON_FRAGMENT_OVERLAP);
    EXPECT_EQ(send({.id = 8}, 0), SG_REASON_TRACKED) << "and no other";
    EXPECT_EQ(judge(SG_IN, at({.id = 8, .port = 22}, 0, true, kPiece, true)).reason, SG_REASON_NO_RULE);
    EXPECT_EQ(send({.id = 8}, 1), SG_REASON_FRAGMENT);
}

TEST_P(FragmentStatement, SG_5_59_AtomicFragmentsAreWholeAndHeaderChainsMustBeComplete) {
    allow_dns();
    if (!v6()) {
        EXPECT_EQ(judge(SG_IN, at({.count = 1}, 0, false, 40, true)).reason, SG_REASON_RULE);
        EXPECT_EQ(contexts(), 0u);
        return;
    }
    EXPECT_EQ(judge(SG_IN, at({}, 0, false, 40, true)).reason, SG_REASON_RULE) << "RFC 6946";
    EXPECT_EQ(contexts(), 0u);
    const Bytes cut = Ethernet{} / Ipv6{.source = peer(1), .destination = own()} / Fragment6{.more = true, .id = 3} /
                      Extension{.type = 60, .body = Bytes(6), .length = 3};
    EXPECT_EQ(judge(SG_IN, cut).reason, SG_REASON_FRAGMENT_TINY) << "RFC 7112";
    const Datagram reserved{.id = 4, .reserved = 0xff};
    EXPECT_EQ(send(reserved, 0), SG_REASON_TRACKED);
    EXPECT_EQ(send({.id = 4}, 1), SG_REASON_FRAGMENT) << "the reserved byte says nothing";
    const auto behind = [this](std::uint16_t offset, bool more, const Bytes& data) -> Bytes {
        return Ethernet{} / Ipv6{.source = peer(1), .destination = own()} / Extension{.type = 0, .body = Bytes(6)} /
               Fragment6{.offset = offset, .more = more, .id = 5} / Raw{data, 17};
    };
    Bytes first(64);
    first[2] = 0;
    first[3] = 53;
    EXPECT_EQ(judge(SG_IN, behind(0, true, first)).reason, SG_REASON_RULE) << "another source port, behind hop-by-hop";
    EXPECT_EQ(judge(SG_IN, behind(8, false, Bytes(30))).reason, SG_REASON_FRAGMENT);
}

TEST_P(FragmentStatement, SG_5_60_RulesWithoutPortsNeedNoContext) {
    use(StateBuilder(world()).allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()));
    EXPECT_EQ(send({}, 2), SG_REASON_RULE) << "SG-13.20: without a context the rules are asked";
    policy_.reset();
    use(StateBuilder(world()).allow("v/g", SG_IN, icmp(), -1, -1, anyone()));
    EXPECT_EQ(judge(SG_IN, at({.protocol = static_cast<std::uint8_t>(icmp())}, 8, false, 40, false)).reason,
              SG_REASON_FRAGMENT_ALONE)
        << "ICMP has types";
    policy_.reset();
    use(StateBuilder(world()).allow("v/g", SG_IN, 50, 0, 0, anyone()));
    EXPECT_EQ(judge(SG_IN, at({.protocol = 50}, 8, false, 40, false)).reason, SG_REASON_RULE) << "ESP has none";
}

TEST_P(FragmentStatement, SG_5_61_FragmentsOfATrackedFlowPassThroughItsEntry) {
    use(StateBuilder(world()).allow("v/g", SG_OUT, kUdp, 40000, 40000, net()));
    ASSERT_EQ(udp(SG_OUT, {.peer_port = 40000, .own_port = 53}), SG_REASON_RULE);
    EXPECT_EQ(send({}, 0), SG_REASON_TRACKED);
    EXPECT_EQ(send({}, 1), SG_REASON_FRAGMENT);
    EXPECT_NE(policy_->rule_id(judge(SG_IN, piece({}, 2))), "") << "counts for the rule of the flow";
}

TEST_P(FragmentStatement, SG_13_15_ImpossibleFragmentsAreMalformed) {
    use(StateBuilder(world()).allow("v/g", SG_IN, kAllProtocols, 0, 0, anyone()));
    EXPECT_EQ(judge(SG_IN, at({}, 8, true, 60, false)).reason, SG_REASON_BAD_HEADER) << "not a multiple of 8";
    EXPECT_EQ(judge(SG_IN, at({}, 8190, true, 64, false)).reason, SG_REASON_BAD_HEADER) << "beyond 65,535";
    EXPECT_EQ(judge(SG_IN, at({}, 8, true, 0, false)).reason, SG_REASON_BAD_HEADER) << "empty";
}

TEST_P(FragmentStatement, SG_13_12_ContextsAreCountedAndGivenBack) {
    allow_dns();
    ASSERT_EQ(send({}, 0), SG_REASON_RULE);
    ASSERT_EQ(send({.id = 8}, 0), SG_REASON_TRACKED);
    ASSERT_EQ(contexts(), 2u);
    EXPECT_EQ(flow_table_faults(policy_->programs()), "");
    for (int i = 1; i < 4; ++i) {
        send({}, i);
    }
    EXPECT_EQ(contexts(), 1u);
}

SG_STATEMENTS(FragmentStatement);

}  // namespace
}  // namespace sgbpf::test
