// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/clock.hpp"

#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kEthernetHeader = 14;
constexpr std::uint64_t kMeasureNs = 50'000'000;  // at HZ=250 and 300 the counts are 12.5 and 15: far apart
// A tick is at most 10 ms; a clock that stands still for a second never moves.
constexpr std::uint64_t kGiveUpNs = 1'000'000'000;

}  // namespace

std::uint32_t nearest_tick_rate(std::uint64_t ticks, std::uint64_t nanoseconds) {
    const double rate = static_cast<double>(ticks) * 1e9 / static_cast<double>(nanoseconds);
    std::uint32_t nearest = 0;
    double distance = 1e18;
    for (const std::uint32_t candidate : std::array{100U, 250U, 300U, 1000U}) {
        const double off = std::fabs(std::log(std::max(rate, 1.0) / candidate));
        if (off < distance) {
            distance = off;
            nearest = candidate;
        }
    }
    return nearest;
}

Result<TickClock> TickClock::open() {
    Object::Request request;
    request.programs = {"sg_clock"};
    auto object = Object::load(request);
    if (!object) {
        return unexpected(object.error());
    }
    return TickClock(std::move(*object));
}

Result<ClockReading> TickClock::read() const {
    const std::vector<std::byte> frame(kEthernetHeader + sizeof(ClockReading));
    auto run = run_program(object_.program("sg_clock"), "sg_clock", frame);
    if (!run) {
        return unexpected(run.error());
    }
    ClockReading reading;
    static_assert(sizeof(reading) == 16);
    if (run->verdict != 0 || run->data.size() < frame.size()) {
        return unexpected(make_error(ErrorCode::kSystem, "read the kernel's tick counter: the program failed"));
    }
    std::memcpy(&reading, &run->data[kEthernetHeader], sizeof(reading));
    return reading;
}

Result<std::uint32_t> measure_ticks_per_second() {
    auto clock = TickClock::open();
    if (!clock) {
        return unexpected(clock.error());
    }
    // From one change of the counter to a later one: whole ticks, exact to one call (about 1 us).
    const auto next_change = [&clock](std::uint64_t not_before_ns) -> Result<ClockReading> {
        auto before = clock->read();
        if (!before) {
            return before;
        }
        const std::uint64_t start = before->nanoseconds;
        for (;;) {
            auto now = clock->read();
            if (!now) {
                return now;
            }
            if (now->ticks != before->ticks && now->nanoseconds >= not_before_ns) {
                return now;
            }
            if (now->nanoseconds - start > kGiveUpNs) {
                return unexpected(make_error(ErrorCode::kSystem, "the kernel's tick counter stands still"));
            }
            before = now;
        }
    };
    auto first = next_change(0);
    if (!first) {
        return unexpected(first.error());
    }
    auto last = next_change(first->nanoseconds + kMeasureNs);
    if (!last) {
        return unexpected(last.error());
    }
    return nearest_tick_rate(last->ticks - first->ticks, last->nanoseconds - first->nanoseconds);
}

}  // namespace sgbpf
