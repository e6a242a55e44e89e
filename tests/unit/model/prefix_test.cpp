// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <sgbpf/prefix.hpp>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

TEST(Address, PrintsWhatRfc5952Says) {  // SG-2.28
    const std::pair<const char*, const char*> rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"2001:0db8::0001", "2001:db8::1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one zero group is not shortened
        {"2001:db8::1:0:0:1", "2001:db8::1:0:0:1"},        // the first of two equal runs
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest run
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},  // SG-2.29: stays IPv6
        {"::ffff:c000:201", "::ffff:192.0.2.1"},
        {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
        {"fe80::", "fe80::"},
    };
    for (const auto& [text, canonical] : rows) {
        SCOPED_TRACE(text);
        const auto address = Address::parse(text);
        ASSERT_TRUE(address) << address.error().message;
        EXPECT_EQ(address->to_string(), canonical);
        EXPECT_EQ(*Address::parse(address->to_string()), *address);
    }
}

TEST(Address, RefusesEverythingElse) {
    for (const char* text : {"",
                             " ",
                             "1",
                             "1.2.3",
                             "1.2.3.4.5",
                             "1.2.3.",
                             ".1.2.3",
                             "1..2.3",
                             "256.0.0.1",
                             "010.0.0.1",
                             "00.0.0.0",
                             "1.2.3.04",
                             "0x7f.0.0.1",
                             "1.2.3.4 ",
                             " 1.2.3.4",
                             "1.2.3.4/8",
                             "2130706433",
                             "1.2.3.1e1",
                             "+1.2.3.4",
                             ":",
                             ":::",
                             "1:",
                             ":1",
                             "1::2::3",
                             "1:2:3:4:5:6:7",
                             "1:2:3:4:5:6:7:8:9",
                             "1:2:3:4:5:6:7:8::",
                             "12345::",
                             "g::",
                             "fe80::1%eth0",
                             "::1.2.3",
                             "::1.2.3.4.5",
                             "::1.2.3.4:1",
                             "1:2:3:4:5:6:7:1.2.3.4",
                             "::01.2.3.4",
                             "[::1]",
                             "::/0",
                             "localhost",
                             "1:2:3:4:5:6:7::8::"}) {
        SCOPED_TRACE(text);
        EXPECT_FALSE(Address::parse(text));
    }
}

TEST(Prefix, ClearsHostBitsAndSaysSo) {  // SG-2.27
    const auto cleared = Prefix::parse("100.68.0.18/18");
    ASSERT_TRUE(cleared);
    EXPECT_TRUE(cleared->host_bits_cleared);
    EXPECT_EQ(cleared->prefix.to_string(), "100.68.0.0/18");
    const auto clean = Prefix::parse("100.68.0.0/18");
    ASSERT_TRUE(clean);
    EXPECT_FALSE(clean->host_bits_cleared);
    EXPECT_EQ(clean->prefix, cleared->prefix);
    EXPECT_EQ(Prefix::parse("2001:DB8:0::9/33")->prefix.to_string(), "2001:db8::/33");
    EXPECT_EQ(Prefix::parse("255.255.255.255/0")->prefix.to_string(), "0.0.0.0/0");
    EXPECT_EQ(Prefix::parse("ffff::ffff/127")->prefix.to_string(), "ffff::fffe/127");
}

TEST(Prefix, RefusesABareAddressWithTheCure) {  // SG-2.26
    EXPECT_EQ(Prefix::parse("1.2.3.4").error().message,
              "\"1.2.3.4\" has no prefix length; write 1.2.3.4/32 for this one address");
    EXPECT_EQ(Prefix::parse("::1").error().message, "\"::1\" has no prefix length; write ::1/128 for this one address");
}

TEST(Prefix, RefusesOtherLengths) {
    for (const char* text : {"10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8",
                             "10.0.0.0/ 8", "10.0.0.0/0x8", "::/129", "::/", "/8", "10.0.0.0/255.0.0.0"}) {
        SCOPED_TRACE(text);
        EXPECT_FALSE(Prefix::parse(text));
    }
}

TEST(Prefix, ContainsOnlyItsOwnFamily) {  // SG-2.29, SG-2.30
    const Prefix any6 = Prefix::parse("::/0")->prefix;
    const Prefix mapped = Prefix::parse("::ffff:192.0.2.0/120")->prefix;
    EXPECT_TRUE(any6.is_any());
    EXPECT_TRUE(any6.contains(mapped));
    EXPECT_FALSE(any6.contains(*Address::parse("192.0.2.1")));
    EXPECT_FALSE(mapped.contains(*Address::parse("192.0.2.1")));
    EXPECT_EQ(mapped.family(), Family::kIpv6);
    const Prefix net = Prefix::parse("192.0.2.0/25")->prefix;
    EXPECT_TRUE(net.contains(*Address::parse("192.0.2.127")));
    EXPECT_FALSE(net.contains(*Address::parse("192.0.2.128")));
    EXPECT_FALSE(net.contains(Prefix::parse("192.0.2.0/24")->prefix));
    EXPECT_TRUE(net.contains(net));
    EXPECT_EQ(Prefix::host(*Address::parse("192.0.2.1")).to_string(), "192.0.2.1/32");
    EXPECT_EQ(Prefix::host(*Address::parse("::1")).to_string(), "::1/128");
}

TEST(MacAddress, HasOneSpelling) {
    EXPECT_EQ(MacAddress::parse("52:54:00:AB:cd:0f")->to_string(), "52:54:00:ab:cd:0f");
    for (const char* text : {"", "52:54:00:12:34", "52:54:00:12:34:56:78", "5254.0012.3456", "52-54-00-12-34-56",
                             "52:54:00:12:34:5g", "52:54:0:12:34:56", "525400123456", "52:54:00:12:34:56 "}) {
        SCOPED_TRACE(text);
        EXPECT_FALSE(MacAddress::parse(text));
    }
}

}  // namespace
}  // namespace sgbpf
