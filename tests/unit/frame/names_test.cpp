// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/names.hpp"

#include <gtest/gtest.h>

#include <sgbpf/abi/flow.h>

namespace sgbpf::test {
namespace {

TEST(Names, OfReasonsGoBothWays) {
    EXPECT_EQ(reason_words(SG_REASON_NONE).name, "unknown");
    EXPECT_EQ(reason_words(SG_REASON_MAX).name, "unknown");
    EXPECT_EQ(reason_words(SG_REASON_NO_RULE).name, "no-rule");
    EXPECT_EQ(reason_words(SG_REASON_NO_RULE).verdict, static_cast<unsigned>(SG_DROP));
    EXPECT_EQ(reason_words(SG_REASON_TRACKED).verdict, static_cast<unsigned>(SG_PASS));
    for (const std::string& name : reason_names()) {
        EXPECT_EQ(reason_words(reason_by_name(name).value_or(0)).name, name);
    }
    EXPECT_FALSE(reason_by_name(""));
    EXPECT_FALSE(reason_by_name("no rule"));
}

TEST(Names, OfFlowStatesAreComplete) {
    for (unsigned state = 0; state < SG_FLOW_STATES; ++state) {
        EXPECT_FALSE(flow_state_name(state).empty()) << state;
    }
    EXPECT_EQ(flow_state_name(SG_FLOW_STATES), "");
    EXPECT_EQ(flow_state_name(SG_FLOW_OTHER), "other");
    EXPECT_EQ(flow_state_by_name("udp-stream"), SG_FLOW_UDP_STREAM);
    EXPECT_FALSE(flow_state_by_name("free"));
    EXPECT_EQ(flow_state_names().size(), std::size_t{SG_FLOW_STATES - SG_FLOW_SYN_SENT});
}

}  // namespace
}  // namespace sgbpf::test
