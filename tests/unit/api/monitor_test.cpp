// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// monitor: names that keep up with what is in force, and an end that accounts for every event.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

std::string more_interfaces(const std::string& name) {
    return "  " + name + ": {vpc: prod, role: workload, match: {device: tap-" + name +
           "}, addresses: [10.0.1.20], groups: [web]}\n";
}

sg_event dropped(std::uint16_t slot, std::uint64_t generation) {
    sg_event event{};
    event.version = SG_EVENT_VERSION;
    event.generation = generation;
    event.reason = SG_REASON_NO_RULE;
    event.key.interface_slot = slot;
    event.key.family = SG_IPV4;
    event.key.protocol = kTcp;
    return event;
}

TEST(Monitor, ANumberGivenAgainAfterARollbackHasItsNewNames) {
    Host host;
    host.kernel.device_list = {tap("tap-web0", 12), tap("tap-db0", 13), tap("tap-cache0", 14)};
    ASSERT_TRUE(host.apply(state_text()));
    ApplyOptions unconfirmed;
    unconfirmed.confirm_seconds = 60;
    ASSERT_TRUE(host.apply(state_text() + more_interfaces("db0"), unconfirmed));
    const std::uint64_t generation = host.kernel.generation();
    host.kernel.events = {dropped(2, generation)};
    std::vector<std::string> seen;
    const auto report = host.engine->monitor({.count = 2}, [&](const EventRow* row, std::uint64_t) {
        if (row == nullptr) {
            return true;
        }
        seen.push_back(row->interface);
        if (seen.size() == 1) {
            host.kernel.roll_back();
            const auto applied = host.apply(state_text() + more_interfaces("cache0"));
            EXPECT_TRUE(applied) << applied.error().message;
            EXPECT_EQ(host.kernel.generation(), generation);
            std::this_thread::sleep_for(std::chrono::milliseconds(250));
            host.kernel.events = {dropped(2, generation)};
        }
        return true;
    });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(seen, (std::vector<std::string>{"db0", "cache0"}));
}

TEST(Monitor, WhatIsNotShownInTimeAtTheEndIsLost) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.events.assign(10, dropped(1, 1));
    const auto report = host.engine->monitor({}, [](const EventRow*, std::uint64_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(150));
        return false;
    });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_GT(report->shown, 1u);
    EXPECT_LT(report->shown, 8u);
    EXPECT_EQ(report->shown + report->lost, 10u);
}

TEST(Monitor, TheCountEndsIt) {
    Host host;
    ASSERT_TRUE(host.apply(state_text()));
    host.kernel.events.assign(5, dropped(1, 1));
    const auto report = host.engine->monitor({.count = 2}, [](const EventRow*, std::uint64_t) { return true; });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->shown, 2u);
    EXPECT_EQ(host.kernel.events.size(), 3u) << "not even looked at";
}

}  // namespace
}  // namespace sgbpf::test
