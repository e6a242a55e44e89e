// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which segments end a flow, by what its record remembers.
#include "frame/reset.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

#include "frame/describe.hpp"

namespace sgbpf::test {
namespace {

const MacAddress kDevice{{2, 0, 0, 0, 0, 1}};
const MacAddress kGuest{{2, 0, 0, 0, 0, 2}};
constexpr std::size_t kEthernet = 14;

// 192.0.2.7:40000 opened it to 10.0.1.10:443, or with SG_FLOW_OPENED_OUT the other way round.
sg_flow flow_with(std::uint64_t opener, std::uint64_t other, unsigned flags = 0, Family family = Family::kIpv4) {
    sg_flow flow{};
    const bool v4 = family == Family::kIpv4;
    const auto put = [](__u8(&to)[16], const char* text) {
        std::memcpy(to, Address::parse(text)->bytes.data(), sizeof(to));
    };
    put(flow.key.local, v4 ? "10.0.1.10" : "2001:db8:a::10");
    put(flow.key.remote, v4 ? "192.0.2.7" : "2001:db8:f::7");
    flow.key.local_port = htons(443);
    flow.key.remote_port = htons(40000);
    flow.key.protocol = kTcp;
    flow.key.family = v4 ? SG_IPV4 : SG_IPV6;
    flow.word = (std::uint64_t{flags} << 24) | SG_FLOW_ESTABLISHED;
    flow.sequence[0] = opener;
    flow.sequence[1] = other;
    return flow;
}

struct Segment {
    std::uint32_t sequence;
    std::uint32_t acknowledgement;
    bool operator==(const Segment&) const = default;
};

std::uint32_t word_at(const std::vector<std::byte>& frame, std::size_t at) {
    std::uint32_t word = 0;
    std::memcpy(&word, &frame[at], sizeof(word));
    return ntohl(word);
}

std::vector<Segment> segments(const std::vector<std::vector<std::byte>>& frames, std::size_t ip_header = 20) {
    std::vector<Segment> all;
    for (const auto& frame : frames) {
        const std::size_t tcp = kEthernet + ip_header;
        EXPECT_EQ(frame[tcp + 13], std::byte{0x14}) << "RST and ACK";
        all.push_back({word_at(frame, tcp + 4), word_at(frame, tcp + 8)});
    }
    return all;
}

// RFC 1071, over what a checksum covers, itself included: 0xffff when it is right.
std::uint32_t sum(const std::vector<std::byte>& bytes, std::size_t first, std::size_t last, std::uint32_t from = 0) {
    for (std::size_t i = first; i < last; i += 2) {
        from += static_cast<std::uint32_t>(bytes[i]) << 8 | static_cast<std::uint32_t>(bytes[i + 1]);
    }
    while (from >> 16 != 0) {
        from = (from & 0xffff) + (from >> 16);
    }
    return from;
}

TEST(ResetFrames, AreWhatEachSideAcknowledgedLast) {
    const auto frames = reset_frames(flow_with(SG_SEQUENCE(1000, 5000), SG_SEQUENCE(5000, 1000)), kDevice, kGuest);
    EXPECT_EQ(segments(frames.to_local), (std::vector<Segment>{{1000, 5000}}));
    EXPECT_EQ(segments(frames.to_remote), (std::vector<Segment>{{5000, 1000}}));
    EXPECT_EQ(describe(frames.to_local[0], SG_IN), "tcp 192.0.2.7:40000 > 10.0.1.10:443 RA");
    EXPECT_EQ(describe(frames.to_remote[0], SG_OUT), "tcp 10.0.1.10:443 > 192.0.2.7:40000 RA");
    EXPECT_EQ(std::memcmp(frames.to_local[0].data(), kGuest.bytes.data(), 6), 0);
    EXPECT_EQ(std::memcmp(&frames.to_local[0][6], kDevice.bytes.data(), 6), 0);
}

TEST(ResetFrames, KnowWhoOpened) {
    const auto frames =
        reset_frames(flow_with(SG_SEQUENCE(1000, 5000), SG_SEQUENCE(5000, 1000), SG_FLOW_OPENED_OUT), kDevice, kGuest);
    EXPECT_EQ(segments(frames.to_local), (std::vector<Segment>{{5000, 1000}}));
    EXPECT_EQ(segments(frames.to_remote), (std::vector<Segment>{{1000, 5000}}));
}

// The workload has not acknowledged 200 bytes yet, or the acknowledgement is on its way.
TEST(ResetFrames, TryBothNumbersThatAnEndMayExpect) {
    const auto frames = reset_frames(flow_with(SG_SEQUENCE(1200, 5000), SG_SEQUENCE(5000, 1000)), kDevice, kGuest);
    EXPECT_EQ(segments(frames.to_local), (std::vector<Segment>{{1000, 5000}, {1200, 5000}}));
    EXPECT_EQ(segments(frames.to_remote), (std::vector<Segment>{{5000, 1200}}));
}

TEST(ResetFrames, OneSideSeenIsEnoughNoneIsNot) {
    const auto one = reset_frames(flow_with(SG_SEQUENCE(1000, 5000), 0), kDevice, kGuest);
    EXPECT_EQ(segments(one.to_local), (std::vector<Segment>{{1000, 5000}}));
    EXPECT_EQ(segments(one.to_remote), (std::vector<Segment>{{5000, 1000}}));
    const auto none = reset_frames(flow_with(0, 0), kDevice, kGuest);
    EXPECT_TRUE(none.to_local.empty());
    EXPECT_TRUE(none.to_remote.empty());
}

TEST(ResetFrames, ASynThatNobodyAnsweredIsAcknowledged) {
    sg_flow flow = flow_with(SG_SEQUENCE(1001, 0), 0, SG_FLOW_WINDOWS);  // mode strict: it acknowledged nothing
    const auto frames = reset_frames(flow, kDevice, kGuest);
    EXPECT_EQ(segments(frames.to_local), (std::vector<Segment>{{1001, 0}}));
    EXPECT_EQ(segments(frames.to_remote), (std::vector<Segment>{{0, 1001}}));
}

TEST(ResetFrames, HaveRightChecksums) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        const bool v4 = family == Family::kIpv4;
        const sg_flow flow =
            flow_with(SG_SEQUENCE(0xfffffff0, 0x80000001), SG_SEQUENCE(0x80000002, 0xffffffe0), 0, family);
        const auto frames = reset_frames(flow, kDevice, kGuest);
        ASSERT_EQ(frames.to_local.size() + frames.to_remote.size(), 4U);
        for (const auto& list : {frames.to_local, frames.to_remote}) {
            for (const auto& frame : list) {
                const std::size_t upper = kEthernet + (v4 ? 20 : 40);
                ASSERT_EQ(frame.size(), upper + 20);
                if (v4) {
                    EXPECT_EQ(sum(frame, kEthernet, upper), 0xffffU);
                }
                const std::uint32_t pseudo = sum(frame, upper - (v4 ? 8 : 32), upper, 20 + kTcp);
                EXPECT_EQ(sum(frame, upper, frame.size(), pseudo), 0xffffU);
            }
        }
    }
}

}  // namespace
}  // namespace sgbpf::test
