// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/packet_spec.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace sgbpf::test {
namespace {

// What is written, and what the parser makes of it: equal texts where the first is canonical.
TEST(PacketSpec, ReadsTheGrammar) {
    struct Row {
        const char* written;
        const char* canonical;
    };
    const Row rows[] = {
        {"tcp 192.0.2.7:40000 -> 10.0.1.10:443", "tcp 192.0.2.7:40000 -> 10.0.1.10:443 S"},
        {"tcp 192.0.2.7:40000 > 10.0.1.10:443 SA", "tcp 192.0.2.7:40000 -> 10.0.1.10:443 SA"},
        {"TCP 192.0.2.7:40000->10.0.1.10:443 AF", "tcp 192.0.2.7:40000 -> 10.0.1.10:443 FA"},
        {"6 192.0.2.7 > 10.0.1.10:0 none", "tcp 192.0.2.7:49152 -> 10.0.1.10:0 none"},
        {"tcp 1.2.3.4:1>5.6.7.8:2 FSRPAUEC", "tcp 1.2.3.4:1 -> 5.6.7.8:2 FSRPAUEC"},
        {"udp [2001:db8::1]:53 -> [2001:db8::2]:9", "udp [2001:db8::1]:53 -> [2001:db8::2]:9"},
        {"udp 2001:db8::1 -> [2001:db8::2]:9", "udp [2001:db8::1]:49152 -> [2001:db8::2]:9"},
        {"icmp 192.0.2.7 -> 10.0.1.10", "icmp 192.0.2.7 -> 10.0.1.10 echo-request id 1"},
        {"icmp 192.0.2.7 -> 10.0.1.10 id 7", "icmp 192.0.2.7 -> 10.0.1.10 echo-request id 7"},
        {"icmp 192.0.2.7 -> 10.0.1.10 echo-reply id 65535", "icmp 192.0.2.7 -> 10.0.1.10 echo-reply id 65535"},
        {"icmp 192.0.2.7 -> 10.0.1.10 type 8 code 1", "icmp 192.0.2.7 -> 10.0.1.10 echo-request code 1 id 1"},
        {"icmp 192.0.2.7 -> 10.0.1.10 type 3 code 4", "icmp 192.0.2.7 -> 10.0.1.10 fragmentation-needed"},
        {"icmp 192.0.2.7 -> 10.0.1.10 destination-unreachable code 1",
         "icmp 192.0.2.7 -> 10.0.1.10 destination-unreachable code 1"},
        {"icmp 192.0.2.7 -> 10.0.1.10 type 42", "icmp 192.0.2.7 -> 10.0.1.10 type 42 code 0"},
        {"icmpv6 2001:db8::1 -> 2001:db8::2", "icmpv6 2001:db8::1 -> 2001:db8::2 echo-request id 1"},
        {"58 2001:db8::1 -> 2001:db8::2 packet-too-big", "icmpv6 2001:db8::1 -> 2001:db8::2 packet-too-big"},
        {"icmpv6 [2001:db8::1] -> ff02::1 neighbor-solicitation",
         "icmpv6 2001:db8::1 -> ff02::1 neighbor-solicitation"},
        {"47 192.0.2.7 -> 10.0.1.10", "gre 192.0.2.7 -> 10.0.1.10"},
        {"gre 192.0.2.7 -> 10.0.1.10", "gre 192.0.2.7 -> 10.0.1.10"},
        {"253 2001:db8::1 -> 2001:db8::2", "253 2001:db8::1 -> 2001:db8::2"},
        {"1 2001:db8::1 -> 2001:db8::2", "1 2001:db8::1 -> 2001:db8::2"},
        {"58 192.0.2.7 -> 10.0.1.10", "58 192.0.2.7 -> 10.0.1.10"},
        {"arp 10.0.1.1 -> 10.0.1.10", "arp 10.0.1.1 -> 10.0.1.10"},
        {"arp 10.0.1.10 > 10.0.1.1 reply", "arp 10.0.1.10 -> 10.0.1.1 reply"},
        {"arp 10.0.1.10 > 10.0.1.1 request", "arp 10.0.1.10 -> 10.0.1.1"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.written);
        const auto packet = parse_packet(row.written);
        ASSERT_TRUE(packet) << packet.error().message;
        EXPECT_EQ(to_text(*packet), row.canonical);
        const auto again = parse_packet(to_text(*packet));
        ASSERT_TRUE(again) << again.error().message;
        EXPECT_EQ(*again, *packet);
    }
}

TEST(PacketSpec, TakesWordsOfACommandLine) {
    const std::vector<std::string> words = {"tcp", "192.0.2.7:40000", "->", "10.0.1.10:443", "A"};
    const auto packet = parse_packet(words);
    ASSERT_TRUE(packet) << packet.error().message;
    EXPECT_EQ(to_text(*packet), "tcp 192.0.2.7:40000 -> 10.0.1.10:443 A");
    const std::vector<std::string> one = {"tcp 192.0.2.7:40000 -> 10.0.1.10:443 A"};
    EXPECT_EQ(*parse_packet(one), *packet);
}

TEST(PacketSpec, ExplainsEveryMistake) {
    struct Row {
        const char* written;
        const char* message;
    };
    const Row rows[] = {
        {" ", "no packet is given; write for instance \"tcp 192.0.2.7:40000 -> 10.0.1.10:443\""},
        {"tpc 1.2.3.4 -> 5.6.7.8", "\"tpc\" is no protocol; did you mean tcp?"},
        {"xyzzy 1.2.3.4 -> 5.6.7.8",
         "\"xyzzy\" is no protocol; write for instance \"tcp 192.0.2.7:40000 -> 10.0.1.10:443\""},
        {"256 1.2.3.4 -> 5.6.7.8", "256 exceeds 255, the highest protocol number"},
        {"all 1.2.3.4 -> 5.6.7.8", "\"all\": a packet has one protocol; write tcp, udp, icmp ..."},
        {"tcp", "after tcp comes the source address"},
        {"tcp -> 5.6.7.8", "after tcp comes the source address"},
        {"tcp 1.2.3.4", "after 1.2.3.4 comes \"->\" and a destination"},
        {"tcp 1.2.3.4 5.6.7.8:443", "after 1.2.3.4 comes \"->\", not \"5.6.7.8:443\""},
        {"tcp 1.2.3.4 ->", "after -> comes the destination address"},
        {"tcp 1.2.3.4 -> 5.6.7.8", "5.6.7.8 lacks the port; write 5.6.7.8:443"},
        {"udp 2001:db8::1 -> 2001:db8::2", "2001:db8::2 lacks the port; write [2001:db8::2]:443"},
        {"tcp 1.2.3.4:70000 -> 5.6.7.8:1", "\"70000\" in 1.2.3.4:70000 is no port; write a number from 0 to 65535"},
        {"tcp 1.2.3.4:x -> 5.6.7.8:1", "\"x\" in 1.2.3.4:x is no port; write a number from 0 to 65535"},
        {"tcp 1.2.3.4: -> 5.6.7.8:1", "\"\" in 1.2.3.4: is no port; write a number from 0 to 65535"},
        {"tcp 1.2.3 -> 5.6.7.8:1", "\"1.2.3\" is not an IPv4 address: it needs four numbers"},
        {"tcp web0 -> 5.6.7.8:1", "\"web0\" is not an IP address"},
        {"tcp [2001:db8::1 -> 5.6.7.8:1", "\"[2001:db8::1\" is no address; IPv6 with a port is [2001:db8::1]:443"},
        {"tcp [2001:db8::1]x -> 5.6.7.8:1", "\"[2001:db8::1]x\" is no address; IPv6 with a port is [2001:db8::1]:443"},
        {"tcp [1.2.3.4]:1 -> 5.6.7.8:1", "\"[1.2.3.4]:1\": brackets are for IPv6 addresses"},
        {"tcp 1.2.3.4:1 -> [2001:db8::1]:1", "1.2.3.4 is IPv4 and 2001:db8::1 is IPv6; a packet has one family"},
        {"icmp 1.2.3.4 -> 5.6.7.8:1", "5.6.7.8:1: icmp has no ports"},
        {"47 1.2.3.4:9 -> 5.6.7.8", "1.2.3.4:9: 47 has no ports"},
        {"arp 1.2.3.4:9 -> 5.6.7.8", "1.2.3.4:9: arp has no ports"},
        {"icmp 2001:db8::1 -> 2001:db8::2", "2001:db8::1 is IPv6; write icmpv6"},
        {"icmpv6 1.2.3.4 -> 5.6.7.8", "1.2.3.4 is IPv4; write icmp"},
        {"arp 2001:db8::1 -> 2001:db8::2",
         "arp: 2001:db8::1 is IPv6, which has no ARP; write \"icmpv6 ... neighbor-solicitation\""},
        {"44 2001:db8::1 -> 2001:db8::2", "44 is an extension header in IPv6; write the protocol after it"},
        {"tcp 1.2.3.4:1 -> 5.6.7.8:1 X",
         "\"X\" is no TCP flags; write letters of FSRPAUEC, for instance S or SA, or none"},
        {"tcp 1.2.3.4:1 -> 5.6.7.8:1 S A", "\"A\" is too much after \"tcp 1.2.3.4:1 -> 5.6.7.8:1 S\""},
        {"udp 1.2.3.4:1 -> 5.6.7.8:1 S", "\"S\" is too much after \"udp 1.2.3.4:1 -> 5.6.7.8:1\""},
        {"icmp 1.2.3.4 -> 5.6.7.8 echo-requst", "\"echo-requst\" is no icmp type; did you mean echo-request?"},
        {"icmp 1.2.3.4 -> 5.6.7.8 %%", "\"%%\" is no icmp type; write its name or \"type NUMBER\""},
        {"icmp 1.2.3.4 -> 5.6.7.8 type", "after \"type\" comes a number from 0 to 255"},
        {"icmp 1.2.3.4 -> 5.6.7.8 type 300", "\"300\" is no type; write a number from 0 to 255"},
        {"icmp 1.2.3.4 -> 5.6.7.8 id x", "\"x\" is no id; write a number from 0 to 65535"},
        {"icmp 1.2.3.4 -> 5.6.7.8 redirect id 1", "\"id\" is too much after \"icmp 1.2.3.4 -> 5.6.7.8 redirect\""},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.written);
        const auto packet = parse_packet(row.written);
        ASSERT_FALSE(packet);
        EXPECT_EQ(packet.error().code, ErrorCode::kInvalid);
        EXPECT_EQ(packet.error().message, row.message);
    }
}

}  // namespace
}  // namespace sgbpf::test
