// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/features.hpp"

#include <gtest/gtest.h>

namespace sgbpf::test {
namespace {

TEST(KernelFloor, RefusesWhatIsOlderThanSixOne) {
    for (const char* release : {"5.10.0-28-amd64", "5.15.167", "6.0.9", "4.19.0"}) {
        const auto judged = require_kernel(release);
        ASSERT_FALSE(judged) << release;
        EXPECT_EQ(judged.error().code, ErrorCode::kUnsupported);
        EXPECT_NE(judged.error().message.find(release), std::string::npos);
        EXPECT_NE(judged.error().message.find("older than 6.1"), std::string::npos);
    }
    for (const char* release : {"6.1.0-18-amd64", "6.1", "6.12.9+bpo-amd64", "6.18.44", "7.0.0", "mainline"}) {
        EXPECT_TRUE(require_kernel(release)) << release;
    }
}

}  // namespace
}  // namespace sgbpf::test
