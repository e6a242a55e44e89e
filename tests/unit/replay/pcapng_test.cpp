// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/pcapng.hpp"

#include <gtest/gtest.h>

#include "support/capture_bytes.hpp"
#include "unit/base/temporary_directory.hpp"

namespace sgbpf::test {
namespace {

class PcapngTest : public testing::Test {
protected:
    std::optional<PcapngFlags> open(const std::string& bytes) {
        const std::string path = directory_.path() + "/capture";
        std::ofstream(path, std::ios::binary) << bytes;
        return PcapngFlags::open(path);
    }
    TemporaryDirectory directory_;
};

const Bytes kFrame = Bytes(61, 7);  // of a length that needs padding

TEST_F(PcapngTest, ReadsTheFlagsOfPacketBlocksInBothByteOrders) {
    for (const bool big_endian : {false, true}) {
        SCOPED_TRACE(big_endian);
        Pcapng file(big_endian);
        file.packet(1, kFrame, 1).packet(2, kFrame).block(5, std::string(12, '\0')).packet(3, kFrame, 2);
        file.packet(4, kFrame, 0).packet(5, kFrame, 0x1fd);  // other bits say other things; 1 = inbound
        // Simple packets have no flags; obsolete ones have.
        file.block(3, file.numbers().put(kFrame.size(), 4).put(kFrame).pad().text());
        Numbers old = file.numbers();
        old.put(0, 4).put(0, 8).put(kFrame.size(), 4).put(kFrame.size(), 4).put(kFrame).pad();
        file.block(2, old.put(2, 2).put(4, 2).put(2, 4).put(0, 4).text());
        auto flags = open(file.text());
        ASSERT_TRUE(flags);
        for (const Seen wanted : {Seen::kReceived, Seen::kUnknown, Seen::kSent, Seen::kUnknown, Seen::kReceived,
                                  Seen::kUnknown, Seen::kSent, Seen::kUnknown, Seen::kUnknown}) {
            EXPECT_EQ(flags->next(), wanted);
        }
    }
}

// A file may go on with a section of another byte order.
TEST_F(PcapngTest, FollowsTheByteOrderOfEachSection) {
    auto flags = open(Pcapng(false).packet(1, kFrame, 1).text() + Pcapng(true).packet(2, kFrame, 2).text());
    ASSERT_TRUE(flags);
    EXPECT_EQ(flags->next(), Seen::kReceived);
    EXPECT_EQ(flags->next(), Seen::kSent);
}

TEST_F(PcapngTest, IsNothingForOtherFiles) {
    EXPECT_FALSE(PcapngFlags::open(directory_.path() + "/missing"));
    EXPECT_FALSE(open(""));
    EXPECT_FALSE(open("abc"));
    EXPECT_FALSE(open(pcap_head(kLinkEthernet)));
}

// Whatever stands in the file: it ends, and nothing is read out of bounds.
TEST_F(PcapngTest, EndsOnBrokenFiles) {
    const std::string whole = Pcapng().packet(1, kFrame, 1).packet(2, kFrame, 2).text();
    for (std::size_t length = 4; length < whole.size(); length += 3) {
        auto flags = open(whole.substr(0, length));
        ASSERT_TRUE(flags);
        const Seen first = flags->next();
        EXPECT_TRUE(first == Seen::kReceived || first == Seen::kUnknown);
        const Seen second = flags->next();
        EXPECT_EQ(second, Seen::kUnknown);
    }
    for (std::size_t at = 4; at < whole.size(); at += 2) {
        for (const char value : {'\0', '\x10'}) {
            std::string broken = whole;
            broken[at] = value;
            auto flags = open(broken);
            ASSERT_TRUE(flags);
            for (int i = 0; i < 4; ++i) {
                flags->next();
            }
        }
    }
}

}  // namespace
}  // namespace sgbpf::test
