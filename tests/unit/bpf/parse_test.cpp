// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// bpf/parse.h on the host: the same code that the programs run.
#include "bpf/parse.h"

#include <gtest/gtest.h>

#include "support/packet.hpp"

namespace sgbpf::test {
namespace {

struct Parsed {
    sg_reason reason;
    sg_packet packet;
};

Parsed parse(const Bytes& bytes, unsigned direction = SG_IN, bool gso = false, unsigned tags = 0) {
    // A buffer of exactly the frame's size, so that AddressSanitizer sees every byte too far.
    const std::unique_ptr<__u8[]> exact(new __u8[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    const sg_frame frame = {.data = exact.get(),
                            .length = static_cast<__u32>(bytes.size()),
                            .gso = static_cast<__u8>(gso ? 1 : 0),
                            .tags = static_cast<__u8>(tags)};
    Parsed parsed{SG_REASON_NONE, {}};
    parsed.reason = sg_parse_frame(&frame, &parsed.packet, direction);
    return parsed;
}

TEST(Parse, NormalisesSidesByDirection) {
    const Bytes frame =
        Ethernet{} / Ipv4{.source = "192.0.2.7", .destination = "10.0.1.10"} / Tcp{.from = 4000, .to = 443};
    const Parsed in = parse(frame, SG_IN);
    const Parsed out = parse(frame, SG_OUT);
    ASSERT_EQ(in.reason, SG_REASON_NONE);
    ASSERT_EQ(out.reason, SG_REASON_NONE);
    EXPECT_EQ(in.packet.key.local[0], 10);
    EXPECT_EQ(in.packet.key.remote[0], 192);
    EXPECT_EQ(ntohs(in.packet.key.local_port), 443);
    EXPECT_EQ(ntohs(in.packet.key.remote_port), 4000);
    EXPECT_EQ(memcmp(in.packet.key.local, out.packet.key.remote, 16), 0);
    EXPECT_EQ(in.packet.key.local_port, out.packet.key.remote_port);
    EXPECT_EQ(in.packet.destination_port, 443);
    EXPECT_EQ(in.packet.key.family, SG_IPV4);
    EXPECT_EQ(in.packet.key.protocol, 6);
}

// Every prefix of a valid frame is either refused with a reason or parses the same addresses; none reads
// beyond its end (SG-13.21).
TEST(Parse, RefusesEveryTruncation) {
    const Bytes frames[] = {
        Ethernet{} / Ipv4{.options = Bytes(12)} / Tcp{.offset_words = 8},
        Ethernet{} / Ipv6{} / Extension{.type = 0} / Extension{.type = 60} / Udp{},
        Ethernet{.tags = {7}} / Ipv4{} / Icmp{},
        Ethernet{} / Ipv6{} / Extension{.type = 51, .body = Bytes(22)} / Icmp{.type = 128},
    };
    for (const Bytes& frame : frames) {
        ASSERT_EQ(parse(frame).reason, SG_REASON_NONE);
        for (std::size_t length = 0; length < frame.size(); ++length) {
            SCOPED_TRACE(length);
            const Bytes cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_NE(parse(cut).reason, SG_REASON_NONE);
        }
    }
}

struct Row {
    const char* name;
    Bytes frame;
    sg_reason reason;
};

TEST(Parse, NamesWhatIsWrong) {
    const Bytes jumbo = {0xc2, 4, 0, 1, 0, 0};
    const Row rows[] = {
        {"IHL below 5 (SG-13.15)", Ethernet{} / Ipv4{.version_ihl = 0x44} / Udp{}, SG_REASON_BAD_HEADER},
        {"version 6 in an IPv4 frame", Ethernet{} / Ipv4{.version_ihl = 0x65} / Udp{}, SG_REASON_BAD_HEADER},
        {"total length below the header", Ethernet{} / Ipv4{.total_length = 19} / Udp{}, SG_REASON_BAD_HEADER},
        {"total length beyond the frame (SG-13.21)", Ethernet{} / Ipv4{.total_length = 29} / Udp{},
         SG_REASON_TRUNCATED},
        {"UDP header cut by total length", Ethernet{} / Ipv4{.total_length = 27} / Udp{}, SG_REASON_TRUNCATED},
        {"TCP offset below 5", Ethernet{} / Ipv4{} / Tcp{.offset_words = 4}, SG_REASON_BAD_HEADER},
        {"v6 payload beyond the frame", Ethernet{} / Ipv6{.payload_length = 9} / Udp{}, SG_REASON_TRUNCATED},
        {"v6 jumbo payload (SG-13.15)", Ethernet{} / Ipv6{} / Extension{.type = 0, .body = jumbo} / Udp{},
         SG_REASON_BAD_HEADER},
        {"hop-by-hop not first", Ethernet{} / Ipv6{} / Extension{.type = 60} / Extension{.type = 0} / Udp{},
         SG_REASON_EXT_HEADERS},
        {"extension longer than the packet", Ethernet{} / Ipv6{} / Extension{.type = 60, .length = 9} / Udp{},
         SG_REASON_TRUNCATED},
        {"two tags (SG-13.17)", Ethernet{.tags = {1, 2}} / Ipv4{} / Udp{}, SG_REASON_VLAN},
        {"neither IP nor ARP (SG-6.8)", Ethernet{.type = 0x88cc} / Raw{Bytes(46)}, SG_REASON_NOT_IP},
        {"tiny first fragment (RFC 1858)", Ethernet{} / Ipv4{.protocol = 6, .more = true} / Raw{Bytes(16)},
         SG_REASON_FRAGMENT_TINY},
        {"TCP fragment at offset 1 (RFC 3128)", Ethernet{} / Ipv4{.protocol = 6, .fragment_offset = 1} / Raw{Bytes(32)},
         SG_REASON_FRAGMENT_TINY},
        {"v6 first fragment without its transport header (RFC 7112)",
         Ethernet{} / Ipv6{} / Fragment6{.more = true, .next_header = 6} / Raw{Bytes(16)}, SG_REASON_FRAGMENT_TINY},
        {"fragment that is no multiple of 8 bytes (RFC 8200 4.5)",
         Ethernet{} / Ipv4{.more = true} / Udp{} / Raw{Bytes(3)}, SG_REASON_BAD_HEADER},
        {"v6 protocol behind an extension header that is cut (SG-13.21)",
         Ethernet{} / Ipv6{} / Extension{.type = 60, .body = Bytes(6), .length = 3}, SG_REASON_TRUNCATED},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        EXPECT_EQ(parse(row.frame).reason, row.reason);
    }
}

TEST(Parse, BoundsExtensionHeaders) {
    Frame most = Ethernet{} / Ipv6{};
    for (int i = 0; i < SG_MAX_EXT_HEADERS; ++i) {
        most = std::move(most) / Extension{.type = 60};
    }
    Frame more = most / Extension{.type = 60} / Udp{.to = 53};
    most = std::move(most) / Udp{.to = 53};
    const Parsed parsed = parse(most.bytes());
    ASSERT_EQ(parsed.reason, SG_REASON_NONE);
    EXPECT_EQ(parsed.packet.destination_port, 53);
    EXPECT_EQ(parsed.packet.key.protocol, 17);
    EXPECT_EQ(parse(more.bytes()).reason, SG_REASON_EXT_HEADERS);
}

// SG-2.12: the upper layer counts, whichever of the listed headers come before it.
TEST(Parse, WalksEveryListedExtensionHeader) {
    for (const int type : {0, 43, 60, 135, 139, 140, 51}) {
        SCOPED_TRACE(type);
        const Bytes body = type == 51 ? Bytes(14) : Bytes(6);
        const Parsed parsed = parse(Ethernet{} / Ipv6{} /
                                    Extension{.type = static_cast<std::uint8_t>(type), .body = body} / Udp{.to = 7});
        ASSERT_EQ(parsed.reason, SG_REASON_NONE);
        EXPECT_EQ(parsed.packet.key.protocol, 17);
        EXPECT_EQ(parsed.packet.destination_port, 7);
        EXPECT_EQ((parsed.packet.flags & SG_PACKET_AH) != 0, type == 51);
    }
    const Parsed nothing = parse(Ethernet{} / Ipv6{.next_header = 59} / Raw{Bytes(8)});
    EXPECT_EQ(nothing.reason, SG_REASON_NONE);
    EXPECT_EQ(nothing.packet.key.protocol, 59);
}

TEST(Parse, TellsFragmentsApart) {
    const Parsed later = parse(Ethernet{} / Ipv4{.protocol = 17, .fragment_offset = 185} / Raw{Bytes(64)});
    EXPECT_EQ(later.reason, SG_REASON_NONE);
    EXPECT_TRUE(later.packet.flags & SG_PACKET_FRAGMENT_LATER);
    EXPECT_EQ(later.packet.destination_port, 0);

    const Parsed first = parse(Ethernet{} / Ipv4{.more = true} / Udp{.to = 53} / Raw{Bytes(64)});
    EXPECT_TRUE(first.packet.flags & SG_PACKET_FRAGMENT_FIRST);
    EXPECT_EQ(first.packet.destination_port, 53);

    // RFC 6946: an atomic fragment is no fragment. The reserved byte says nothing.
    const Parsed atomic = parse(Ethernet{} / Ipv6{} / Fragment6{.reserved = 0xff} / Udp{.to = 53});
    EXPECT_EQ(atomic.reason, SG_REASON_NONE);
    EXPECT_EQ(atomic.packet.flags & (SG_PACKET_FRAGMENT_FIRST | SG_PACKET_FRAGMENT_LATER), 0);
    EXPECT_EQ(atomic.packet.destination_port, 53);

    const Parsed later6 =
        parse(Ethernet{} / Ipv6{} / Fragment6{.offset = 1, .reserved = 6, .next_header = 17} / Raw{Bytes(64)});
    EXPECT_TRUE(later6.packet.flags & SG_PACKET_FRAGMENT_LATER);
    EXPECT_EQ(later6.packet.key.protocol, 17);
    EXPECT_EQ(later6.packet.destination_port, 0);
}

// SG-5.5: a reply has the key of its request, and nobody else's.
TEST(Parse, GivesIcmpQueriesOneKeyPerAsker) {
    const auto key = [](unsigned direction, bool ipv6, std::uint8_t type, std::uint16_t id) {
        const std::string remote = ipv6 ? "2001:db8::9" : "192.0.2.9";
        const std::string local = ipv6 ? "2001:db8::1" : "10.0.4.15";
        const std::string from = direction == SG_IN ? remote : local;
        const std::string to = direction == SG_IN ? local : remote;
        const Bytes frame =
            ipv6 ? Bytes(Ethernet{} / Ipv6{.source = from, .destination = to} / Icmp{.type = type, .id = id})
                 : Bytes(Ethernet{} / Ipv4{.source = from, .destination = to} / Icmp{.type = type, .id = id});
        const Parsed parsed = parse(frame, direction);
        EXPECT_EQ(parsed.reason, SG_REASON_NONE);
        EXPECT_TRUE(parsed.packet.flags & SG_PACKET_QUERY);
        return std::string(reinterpret_cast<const char*>(&parsed.packet.key), sizeof(sg_flow_key));
    };
    EXPECT_EQ(key(SG_OUT, false, 8, 77), key(SG_IN, false, 0, 77));
    EXPECT_EQ(key(SG_IN, false, 13, 5), key(SG_OUT, false, 14, 5));
    EXPECT_EQ(key(SG_OUT, true, 128, 77), key(SG_IN, true, 129, 77));
    EXPECT_NE(key(SG_OUT, false, 8, 77), key(SG_IN, false, 0, 78));
    EXPECT_NE(key(SG_OUT, false, 8, 77), key(SG_IN, false, 8, 77));
    EXPECT_NE(key(SG_OUT, false, 8, 77), key(SG_IN, false, 14, 77));
    EXPECT_EQ(parse(Ethernet{} / Ipv4{} / Icmp{.type = 3, .code = 4}).packet.flags & SG_PACKET_QUERY, 0);
    EXPECT_EQ(parse(Ethernet{} / Ipv4{} / Icmp{.type = 5}).packet.flags & SG_PACKET_QUERY, 0);
}

// SG-2.13: protocol 58 inside IPv4 is not ICMPv6, nor 1 inside IPv6 ICMP.
TEST(Parse, IcmpBelongsToItsFamily) {
    const Parsed wrong4 = parse(Ethernet{} / Ipv4{.protocol = 58} / Raw{Bytes(8, 128)});
    EXPECT_EQ(wrong4.packet.icmp_type, 0);
    const Parsed wrong6 = parse(Ethernet{} / Ipv6{.next_header = 1} / Raw{Bytes(8, 8)});
    EXPECT_EQ(wrong6.packet.icmp_type, 0);
}

// Aggregates: BIG TCP leaves the IP length 0 (regression list 20).
TEST(Parse, UsesTheFrameLengthOfAggregates) {
    const Bytes big4 = Ethernet{} / Ipv4{.total_length = 0} / Tcp{} / Raw{Bytes(3000)};
    EXPECT_EQ(parse(big4).reason, SG_REASON_BAD_HEADER);
    EXPECT_EQ(parse(big4, SG_IN, true).reason, SG_REASON_NONE);
    const Bytes big6 = Ethernet{} / Ipv6{.payload_length = 0} / Tcp{} / Raw{Bytes(3000)};
    EXPECT_NE(parse(big6).reason, SG_REASON_NONE);
    EXPECT_EQ(parse(big6, SG_IN, true).reason, SG_REASON_NONE);
}

TEST(Parse, CountsTheTagInTheMetadata) {
    const Bytes tagged = Ethernet{.tags = {7}} / Ipv4{} / Udp{};
    EXPECT_EQ(parse(tagged).reason, SG_REASON_NONE);
    EXPECT_EQ(parse(tagged, SG_IN, false, 1).reason, SG_REASON_VLAN);
    EXPECT_EQ(parse(Ethernet{} / Ipv4{} / Udp{}, SG_IN, false, 1).reason, SG_REASON_NONE);
    EXPECT_EQ(parse(Ethernet{.tags = {7}, .tag_type = 0x88a8} / Ipv4{} / Udp{}).reason, SG_REASON_NONE);
}

TEST(Parse, RefusesImpossibleAddresses) {  // SG-13.15
    const auto sane = [](const std::string& source, const std::string& destination, unsigned direction) {
        const bool ipv6 = source.find(':') != std::string::npos;
        const Bytes frame = ipv6 ? Bytes(Ethernet{} / Ipv6{.source = source, .destination = destination} / Udp{})
                                 : Bytes(Ethernet{} / Ipv4{.source = source, .destination = destination} / Udp{});
        const Parsed parsed = parse(frame, direction);
        EXPECT_EQ(parsed.reason, SG_REASON_NONE);
        return sg_addresses_sane(&parsed.packet, direction) != 0;
    };
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        EXPECT_TRUE(sane("192.0.2.1", "198.51.100.1", direction));
        EXPECT_TRUE(sane("192.0.2.1", "224.0.0.5", direction));
        EXPECT_FALSE(sane("224.0.0.5", "192.0.2.1", direction));
        EXPECT_FALSE(sane("127.0.0.1", "192.0.2.1", direction));
        EXPECT_FALSE(sane("192.0.2.1", "127.0.0.1", direction));
        EXPECT_FALSE(sane("0.0.0.0", "192.0.2.1", direction));
        EXPECT_FALSE(sane("255.255.255.255", "192.0.2.1", direction));
        EXPECT_TRUE(sane("2001:db8::1", "ff02::1", direction));
        EXPECT_FALSE(sane("ff02::1", "2001:db8::1", direction));
        EXPECT_FALSE(sane("::1", "2001:db8::1", direction));
        EXPECT_FALSE(sane("2001:db8::1", "::", direction));
    }
}

}  // namespace
}  // namespace sgbpf::test
