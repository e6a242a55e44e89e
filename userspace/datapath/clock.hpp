// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The kernel's tick counter, in which flow records tell time. Its rate is a build option of the kernel
// (CONFIG_HZ) that nothing exports, so it is measured.
#pragma once

#include <cstdint>

#include <sgbpf/result.hpp>

#include "datapath/object.hpp"

namespace sgbpf {

struct ClockReading {
    std::uint64_t ticks = 0;  // bpf_jiffies64
    std::uint64_t nanoseconds = 0;
};

class TickClock {
public:
    static Result<TickClock> open();
    Result<ClockReading> read() const;

private:
    explicit TickClock(Object object) : object_(std::move(object)) {}
    Object object_;
};

// The CONFIG_HZ nearest to `ticks` in `nanoseconds`: 100, 250, 300 or 1000.
std::uint32_t nearest_tick_rate(std::uint64_t ticks, std::uint64_t nanoseconds);

// Takes 50 to 70 ms.
Result<std::uint32_t> measure_ticks_per_second();

}  // namespace sgbpf
