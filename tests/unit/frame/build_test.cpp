// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Packets as text, as bytes, as the programs' parser reads them, and as text again.
#include "frame/build.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "bpf/parse.h"
#include "frame/describe.hpp"

namespace sgbpf::test {
namespace {

const MacAddress kSource{{2, 0, 0, 0, 0, 2}};
const MacAddress kDestination{{2, 0, 0, 0, 0, 1}};

std::vector<std::byte> frame_of(const char* text) {
    const auto packet = parse_packet(text);
    EXPECT_TRUE(packet) << packet.error().message;
    return packet ? build_frame(*packet, kSource, kDestination) : std::vector<std::byte>(14);
}

std::uint32_t sum(const std::vector<std::byte>& bytes, std::size_t first, std::size_t last, std::uint32_t from = 0) {
    for (std::size_t i = first; i < last; i += 2) {
        from += static_cast<std::uint32_t>(bytes[i]) << 8;
        from += i + 1 < last ? static_cast<std::uint32_t>(bytes[i + 1]) : 0;
    }
    while (from >> 16 != 0) {
        from = (from & 0xffff) + (from >> 16);
    }
    return from;
}

constexpr const char* kTexts[] = {
    "tcp 192.0.2.7:40000 -> 10.0.1.10:443 S",
    "tcp 192.0.2.7:40000 -> 10.0.1.10:443 SA",
    "tcp [2001:db8::1]:1 -> [2001:db8::2]:65535 none",
    "udp 192.0.2.7:0 -> 10.0.1.10:53",
    "udp [2001:db8::1]:53 -> [2001:db8::2]:9",
    "icmp 192.0.2.7 -> 10.0.1.10 echo-request id 7",
    "icmp 192.0.2.7 -> 10.0.1.10 fragmentation-needed",
    "icmp 192.0.2.7 -> 10.0.1.10 type 42 code 9",
    "icmpv6 2001:db8::1 -> 2001:db8::2 echo-reply id 65535",
    "icmpv6 fe80::1 -> fe80::2 neighbor-solicitation",
    "icmpv6 fe80::1 -> fe80::2 neighbor-advertisement",
    "icmpv6 fe80::1 -> fe80::2 router-advertisement",
    "icmpv6 fe80::1 -> fe80::2 redirect",
    "gre 192.0.2.7 -> 10.0.1.10",
    "ah 192.0.2.7 -> 10.0.1.10",
    "1 2001:db8::1 -> 2001:db8::2",
    "253 2001:db8::1 -> 2001:db8::2",
};

TEST(BuildFrame, IsReadBackByTheProgramsParser) {
    for (const char* text : kTexts) {
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            SCOPED_TRACE(text);
            const auto bytes = frame_of(text);
            const sg_frame frame = {.data = reinterpret_cast<const __u8*>(bytes.data()),
                                    .length = static_cast<__u32>(bytes.size()),
                                    .gso = 0,
                                    .tags = 0};
            sg_packet packet{};
            ASSERT_EQ(sg_parse_frame(&frame, &packet, direction), SG_REASON_NONE);
            EXPECT_TRUE(sg_addresses_sane(&packet, direction));
            EXPECT_EQ(std::memcmp(packet.source_mac, kSource.bytes.data(), 6), 0);
            std::string expected = text;
            expected.replace(expected.find("->"), 2, ">");
            EXPECT_EQ(describe(bytes, direction), expected);
            EXPECT_EQ(describe(PacketFields{.key = packet.key,
                                            .direction = direction,
                                            .tcp_flags = packet.tcp_flags,
                                            .icmp_type = packet.icmp_type,
                                            .icmp_code = packet.icmp_code,
                                            .flags = packet.flags}),
                      expected);
            const auto again = parse_packet(expected);
            ASSERT_TRUE(again) << again.error().message;
            EXPECT_EQ(*again, *parse_packet(text));
        }
    }
}

// Ones' complement sums over what a checksum covers, itself included, are 0xffff.
TEST(BuildFrame, HasRightChecksums) {
    for (const char* text : kTexts) {
        SCOPED_TRACE(text);
        const auto bytes = frame_of(text);
        const auto packet = *parse_packet(text);
        const bool ipv6 = packet.source.family == Family::kIpv6;
        const std::size_t upper = 14 + (ipv6 ? 40 : 20);
        if (!ipv6) {
            EXPECT_EQ(sum(bytes, 14, 34), 0xffffu);
            EXPECT_EQ(static_cast<std::size_t>(bytes[17]), bytes.size() - 14);
        } else {
            EXPECT_EQ(static_cast<std::size_t>(bytes[19]), bytes.size() - upper);
        }
        if (packet.protocol == kTcp || packet.protocol == kUdp || packet.has_icmp()) {
            const bool pseudo = packet.protocol != kIcmp;
            const auto length = static_cast<std::uint32_t>(bytes.size() - upper);
            std::uint32_t start = pseudo ? length + static_cast<std::uint32_t>(packet.protocol) : 0;
            if (pseudo) {
                start = ipv6 ? sum(bytes, 22, 54, start) : sum(bytes, 26, 34, start);
            }
            EXPECT_EQ(sum(bytes, upper, bytes.size(), start), 0xffffu);
        }
    }
}

TEST(BuildFrame, AsksForAndAnswersNeighbours) {
    const auto target = [](const std::vector<std::byte>& frame) { return frame[14 + 40 + 8 + 15]; };
    EXPECT_EQ(target(frame_of("icmpv6 fe80::1 -> fe80::2 neighbor-solicitation")), std::byte{2});
    EXPECT_EQ(target(frame_of("icmpv6 fe80::1 -> fe80::2 neighbor-advertisement")), std::byte{1});
    EXPECT_EQ(frame_of("icmpv6 fe80::1 -> fe80::2 neighbor-solicitation")[21], std::byte{255});

    const auto request = frame_of("arp 10.0.1.1 -> 10.0.1.10");
    ASSERT_EQ(request.size(), 42u);
    EXPECT_EQ(request[21], std::byte{1});
    EXPECT_EQ(request[37], std::byte{0});
    EXPECT_EQ(describe(request, SG_IN), "arp 10.0.1.1 > 10.0.1.10");
    const auto reply = frame_of("arp 10.0.1.10 -> 10.0.1.1 reply");
    EXPECT_EQ(reply[21], std::byte{2});
    EXPECT_EQ(reply[37], kDestination.bytes[5] == 1 ? std::byte{1} : std::byte{0xff});
    EXPECT_EQ(describe(reply, SG_OUT), "arp 10.0.1.10 > 10.0.1.1 reply");
}

}  // namespace
}  // namespace sgbpf::test
