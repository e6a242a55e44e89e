// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/direction.hpp"

#include <gtest/gtest.h>

#include "support/packet.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kOwnMac = "52:54:00:12:34:56";

Interface web0() {
    Interface interface;
    interface.name = "web0";
    interface.mac = *MacAddress::parse(kOwnMac);
    interface.addresses = {Prefix::host(*Address::parse("10.0.1.10")), Prefix::host(*Address::parse("2001:db8:a::10"))};
    interface.allowed_addresses = {Prefix::parse("10.0.3.0/24")->prefix};
    return interface;
}

std::string direction_of(Bytes frame, bool macs_known = true) {
    CapturedPacket packet;
    packet.frame = std::as_writable_bytes(std::span(frame));
    packet.source_mac_known = packet.destination_mac_known = macs_known;
    const auto direction = direction_by_ends(packet, web0());
    return !direction ? "?" : *direction == SG_IN ? "in" : "out";
}

TEST(Direction, IsToldByTheEnds) {
    const Ethernet from_us{.source = kOwnMac};
    const Ethernet to_us{.destination = kOwnMac};
    const Ethernet to_all{.destination = "ff:ff:ff:ff:ff:ff"};
    struct Row {
        const char* name;
        Bytes frame;
        const char* direction;
        bool macs_known = true;
    };
    const Row rows[] = {
        {"to the address", Ethernet{} / Ipv4{.destination = "10.0.1.10"} / Udp{}, "in"},
        {"from the address", Ethernet{} / Ipv4{.source = "10.0.1.10"} / Udp{}, "out"},
        {"tagged", Ethernet{.tags = {7}} / Ipv4{.source = "10.0.1.10"} / Udp{}, "out"},
        {"IPv6", Ethernet{} / Ipv6{.destination = "2001:db8:a::10"} / Udp{}, "in"},
        {"from an allowed address", Ethernet{} / Ipv4{.source = "10.0.3.9"} / Udp{}, "out"},
        {"from an allowed address to the own one",
         Ethernet{} / Ipv4{.source = "10.0.3.9", .destination = "10.0.1.10"} / Udp{}, "in"},
        {"from the own link-local address", Ethernet{} / Ipv6{.source = "fe80::5054:ff:fe12:3456"} / Udp{}, "out"},
        {"ARP for the address", to_all / Arp{.sender = "10.0.1.1", .target = "10.0.1.10"}, "in"},
        {"ARP from the address", to_all / Arp{.sender = "10.0.1.10", .target = "10.0.1.1"}, "out"},
        {"spoofed, by MAC", from_us / Ipv4{} / Udp{}, "out"},
        {"by destination MAC", to_us / Ipv4{} / Udp{}, "in"},
        {"MACs that were made up say nothing", to_us / Ipv4{} / Udp{}, "?", false},
        {"DHCP discovery",
         Ethernet{.source = kOwnMac, .destination = "ff:ff:ff:ff:ff:ff"} /
             Ipv4{.source = "0.0.0.0", .destination = "255.255.255.255"} / Udp{},
         "out"},
        {"somebody's broadcast", to_all / Ipv4{.destination = "255.255.255.255"} / Udp{}, "in"},
        {"somebody's multicast, raw", Ethernet{} / Ipv4{.destination = "224.0.0.251"} / Udp{}, "in", false},
        {"not IP, to all", Ethernet{.destination = "01:80:c2:00:00:00", .type = 0x88cc} / Raw{Bytes(46)}, "in"},
        {"between others", Ethernet{} / Ipv4{} / Udp{}, "?"},
        {"to itself", Ethernet{} / Ipv4{.source = "10.0.1.10", .destination = "10.0.1.10"} / Udp{}, "?"},
        {"cut before the addresses", Bytes(20), "?"},
        {"cut before the MACs", Bytes(11), "?"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        EXPECT_EQ(direction_of(row.frame, row.macs_known), row.direction);
    }
}

TEST(Direction, OfFlagsDependsOnWhereTheCaptureWasTaken) {
    EXPECT_EQ(direction_by_flags(Seen::kReceived, CapturedAt::kGuest), SG_IN);
    EXPECT_EQ(direction_by_flags(Seen::kSent, CapturedAt::kGuest), SG_OUT);
    EXPECT_EQ(direction_by_flags(Seen::kReceived, CapturedAt::kTap), SG_OUT);
    EXPECT_EQ(direction_by_flags(Seen::kSent, CapturedAt::kTap), SG_IN);
    EXPECT_FALSE(direction_by_flags(Seen::kUnknown, CapturedAt::kTap));
}

}  // namespace
}  // namespace sgbpf::test
