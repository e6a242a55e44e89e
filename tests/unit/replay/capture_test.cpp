// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/capture.hpp"

#include <gtest/gtest.h>

#include "frame/describe.hpp"
#include "support/capture_bytes.hpp"
#include "unit/base/temporary_directory.hpp"

namespace sgbpf::test {
namespace {

class CaptureTest : public testing::Test {
protected:
    std::string write(const std::string& bytes) {
        const std::string path = directory_.path() + "/capture";
        std::ofstream(path, std::ios::binary) << bytes;
        return path;
    }
    // One line per packet.
    std::vector<std::string> read(const std::string& bytes) {
        std::vector<std::string> lines;
        auto capture = Capture::open(write(bytes));
        if (!capture) {
            return {capture.error().message};
        }
        CapturedPacket packet;
        for (;;) {
            const auto more = capture->next(packet);
            if (!more) {
                lines.push_back(more.error().message);
            }
            if (!more || !*more) {
                return lines;
            }
            const char* seen = packet.seen == Seen::kSent ? "sent" : packet.seen == Seen::kReceived ? "received" : "?";
            lines.push_back(std::to_string(packet.time_ns) + " " + describe(packet.frame, SG_IN, packet.wire_length) +
                            " " + std::to_string(packet.wire_length) + " " + seen);
        }
    }
    TemporaryDirectory directory_;
};

const Bytes kPing = Ethernet{} / Ipv4{} / Icmp{.id = 7};
const std::string kPingText = "icmp 192.0.2.1 > 198.51.100.1 echo-request id 7";

TEST_F(CaptureTest, ReadsPcapWithNanoseconds) {
    EXPECT_EQ(
        read(pcap_head(kLinkEthernet) + pcap_packet(1'700'000'000'123'456'789, kPing) + pcap_packet(2, kPing, 98)),
        (std::vector<std::string>{"1700000000123456789 " + kPingText + " 42 ?", "2 " + kPingText + " 98 ?"}));
}

TEST_F(CaptureTest, ReadsPcapngWithFlags) {
    EXPECT_EQ(read(Pcapng().packet(1'000, kPing, 1).packet(2'000, kPing, 2).packet(3'000, kPing).text()),
              (std::vector<std::string>{"1000 " + kPingText + " 42 received", "2000 " + kPingText + " 42 sent",
                                        "3000 " + kPingText + " 42 ?"}));
}

TEST_F(CaptureTest, TurnsCookedAndRawPacketsIntoFrames) {
    const Bytes ip(kPing.begin() + 14, kPing.end());
    const Bytes ip6 = [] {
        const Bytes frame = Ethernet{} / Ipv6{} / Udp{.from = 53, .to = 9};
        return Bytes(frame.begin() + 14, frame.end());
    }();
    const auto cooked = [&](std::uint16_t type) {
        Bytes bytes = {0, static_cast<std::uint8_t>(type), 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0};
        bytes.insert(bytes.end(), ip.begin(), ip.end());
        return bytes;
    };
    EXPECT_EQ(read(pcap_head(kLinkCooked) + pcap_packet(1, cooked(0)) + pcap_packet(2, cooked(4)) +
                   pcap_packet(3, Bytes(15))),
              (std::vector<std::string>{"1 " + kPingText + " 42 received", "2 " + kPingText + " 42 sent",
                                        "3 truncated 0 ?"}));
    Bytes cooked2 = {0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 9, 0, 0};
    cooked2.insert(cooked2.end(), ip6.begin(), ip6.end());
    const std::string udp = "udp [2001:db8::1]:53 > [2001:db8::2]:9";
    EXPECT_EQ(read(pcap_head(kLinkCooked2) + pcap_packet(1, cooked2)),
              (std::vector<std::string>{"1 " + udp + " 62 sent"}));
    EXPECT_EQ(read(pcap_head(kLinkRaw) + pcap_packet(1, ip) + pcap_packet(2, ip6)),
              (std::vector<std::string>{"1 " + kPingText + " 42 ?", "2 " + udp + " 62 ?"}));
}

TEST_F(CaptureTest, KeepsTheSenderOfACookedPacket) {
    Bytes bytes = {0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0, 0x45};
    auto capture = Capture::open(write(pcap_head(kLinkCooked) + pcap_packet(1, bytes)));
    ASSERT_TRUE(capture);
    CapturedPacket packet;
    ASSERT_TRUE(capture->next(packet));
    EXPECT_TRUE(packet.source_mac_known);
    EXPECT_FALSE(packet.destination_mac_known);
    EXPECT_EQ(packet.frame[11], std::byte{9});
}

TEST_F(CaptureTest, SaysWhatItCannotRead) {
    const auto first = [&](const std::string& bytes) { return read(bytes).front(); };
    const std::string path = directory_.path() + "/capture";
    EXPECT_EQ(first(pcap_head(kLinkWifi)), "capture " + path +
                                               " is of link type IEEE802_11; Ethernet, Linux cooked (tcpdump -i any) "
                                               "and raw IP can be replayed");
    EXPECT_EQ(first("schema: sgbpf/v1 and so on, long enough to be a header"),
              "cannot read capture " + path + ": unknown file format");
    const auto lines = read((pcap_head(kLinkEthernet) + pcap_packet(1, kPing) + pcap_packet(2, kPing)).substr(0, 110));
    ASSERT_EQ(lines.size(), 2u);
    EXPECT_TRUE(lines[1].starts_with("capture " + path + " is broken after packet 1: ")) << lines[1];
    const auto missing = Capture::open(directory_.path() + "/missing");
    ASSERT_FALSE(missing);
    EXPECT_NE(missing.error().message.find("/missing: No such file or directory"), std::string::npos)
        << missing.error().message;
}

}  // namespace
}  // namespace sgbpf::test
