// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// monitor: names that keep up with what is in force, and an end that accounts for every event.
#include <gtest/gtest.h>

#include <thread>

#include "api/host_state.hpp"
#include "tests/unit/api/host.hpp"

namespace sgbpf::test {
namespace {

constexpr const char* kDb = "  db0: {vpc: prod, role: workload, match: {device: tap-db0}, addresses: [10.0.1.20], "
                            "groups: [web]}\n";

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

TEST(Monitor, AfterARollbackTheNamesAreThoseOfTheEarlierGeneration) {
    Host host;
    host.kernel.device_list = {tap("tap-web0", 12), tap("tap-db0", 13)};
    ASSERT_TRUE(host.apply(state_text() + kDb));
    const std::uint64_t earlier = host.kernel.generation();
    const auto slots = interface_slots(image_from_maps(*host.kernel.read_maps(), earlier));
    const auto slot = static_cast<std::uint16_t>(slots.at(host.engine->applied_state()->interfaces.at("db0").id));
    ApplyOptions unconfirmed;
    unconfirmed.confirm_seconds = 60;
    unconfirmed.allow_leaving = true;
    ASSERT_TRUE(host.apply(state_text(), unconfirmed));
    ASSERT_GT(host.kernel.generation(), earlier);
    host.kernel.events = {dropped(slot, host.kernel.generation())};
    std::vector<std::string> seen;
    const auto report = host.engine->monitor({.count = 2}, [&](const EventRow* row, std::uint64_t) {
        if (row != nullptr) {
            seen.push_back(row->interface);
        }
        if (seen.size() == 1 && row != nullptr) {
            host.kernel.roll_back();
            host.kernel.events = {dropped(slot, earlier)};
        }
        return true;
    });
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(seen, (std::vector<std::string>{"slot " + std::to_string(slot), "db0"}));
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
