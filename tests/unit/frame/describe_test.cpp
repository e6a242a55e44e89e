// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/describe.hpp"

#include <gtest/gtest.h>

#include "support/packet.hpp"

namespace sgbpf::test {
namespace {

std::string text_of(const Bytes& frame, std::uint32_t wire_length = 0) {
    const std::string in = describe(std::as_bytes(std::span(frame)), SG_IN, wire_length);
    EXPECT_EQ(describe(std::as_bytes(std::span(frame)), SG_OUT, wire_length), in);
    return in;
}

Bytes cut(Bytes frame, std::size_t length) {
    frame.resize(length);
    return frame;
}

TEST(Describe, SaysWhatAFrameIs) {
    const Bytes tcp = Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} /
                      Tcp{.from = 4444, .to = 22, .flags = kSyn} / Raw{Bytes(400)};
    struct Row {
        const char* text;
        Bytes frame;
        std::uint32_t wire_length = 0;
    };
    const Row rows[] = {
        {"tcp 192.0.2.7:4444 > 10.0.1.10:22 S", tcp},
        {"tcp 192.0.2.7:4444 > 10.0.1.10:22 S", cut(tcp, 54), static_cast<std::uint32_t>(tcp.size())},
        {"tcp 192.0.2.7 > 10.0.1.10 truncated", cut(tcp, 40), static_cast<std::uint32_t>(tcp.size())},
        {"tcp 192.0.2.7:4444 > 10.0.1.10:22 S truncated", cut(tcp, 100)},
        {"icmp 192.0.2.1 > 198.51.100.1 truncated", cut(Ethernet{} / Ipv4{} / Icmp{}, 40), 100},
        {"truncated", cut(tcp, 20)},
        {"truncated", cut(tcp, 13)},
        {"truncated", {}},
        {"udp 192.0.2.1:40000 > 198.51.100.1:53", Ethernet{.tags = {7}} / Ipv4{} / Udp{}},
        {"udp 192.0.2.1 > 198.51.100.1 fragment",
         Ethernet{} / Ipv4{.protocol = 17, .fragment_offset = 185} / Raw{Bytes(64)}},
        {"udp 192.0.2.1:40000 > 198.51.100.1:53 first fragment",
         Ethernet{} / Ipv4{.more = true} / Udp{} / Raw{Bytes(64)}},
        {"tcp 192.0.2.1 > 198.51.100.1 first fragment", Ethernet{} / Ipv4{.protocol = 6, .more = true} / Raw{Bytes(8)}},
        {"icmpv6 2001:db8::1 > 2001:db8::2 packet-too-big", Ethernet{} / Ipv6{} / Icmp{.type = 2}},
        {"icmp 192.0.2.1 > 198.51.100.1 destination-unreachable code 3",
         Ethernet{} / Ipv4{} / Icmp{.type = 3, .code = 3}},
        {"icmp 192.0.2.1 > 198.51.100.1 timestamp-reply id 5", Ethernet{} / Ipv4{} / Icmp{.type = 14, .id = 5}},
        {"253 192.0.2.1 > 198.51.100.1", Ethernet{} / Ipv4{} / Raw{Bytes(8)}},
        {"arp 192.0.2.1 > 192.0.2.2", Ethernet{} / Arp{}},
        {"arp 192.0.2.1 > 192.0.2.2 reply", Ethernet{} / Arp{.operation = 2}},
        {"arp 192.0.2.1 > 192.0.2.2 operation 9", Ethernet{} / Arp{.operation = 9}},
        {"arp", cut(Ethernet{} / Arp{}, 30)},
        {"ethertype 0x88cc 02:00:00:00:00:02 > 02:00:00:00:00:01", Ethernet{.type = 0x88cc} / Raw{Bytes(46)}},
        {"vlan tags", Ethernet{.tags = {7, 8, 9}} / Ipv4{} / Udp{}},
        {"bad header", Ethernet{} / Ipv4{.version_ihl = 0x41} / Udp{}},
        {"extension-headers 2001:db8::1 > 2001:db8::2", Ethernet{} / Ipv6{.next_header = 60} / Raw{Bytes(2)}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.text);
        EXPECT_EQ(text_of(row.frame, row.wire_length), row.text);
    }
}

// Events of frames without addresses carry a zero key; the reason says what they were.
TEST(Describe, NamesEventsWithoutAddresses) {
    EXPECT_EQ(describe(PacketFields{.flags = 1}), "arp");
    EXPECT_EQ(describe(PacketFields{.reason = SG_REASON_NOT_IP}), "not ip");
    EXPECT_EQ(describe(PacketFields{.reason = SG_REASON_VLAN}), "vlan tags");
    EXPECT_EQ(describe(PacketFields{.reason = SG_REASON_TRUNCATED}), "truncated");
}

}  // namespace
}  // namespace sgbpf::test
