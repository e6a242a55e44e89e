// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Two functions at once, each on a CPU of its own, round after round; between rounds nobody runs. They start within
// some tens of nanoseconds of each other, one of them with a random head start; where it can be told who won, the
// head starts settle where both win about as often.
#pragma once

#include <cstdint>
#include <functional>

namespace sgbpf::test {

struct TwoCpus {
    std::function<void(std::uint64_t)> before;  // alone; optional
    std::function<void(std::uint64_t)> first;   // on one CPU
    std::function<void(std::uint64_t)> second;  // on the other, at the same time
    std::function<bool(std::uint64_t)> after;   // alone; false ends the rounds. Optional
    std::function<bool()> first_won = {};       // asked after `after`
};

// Runs rounds for SGBPF_RACE_SECONDS (2 when unset). Returns how many.
std::uint64_t run_rounds(const TwoCpus& work);

// Both functions over and over, without rounds, until the time is over.
void run_freely(const std::function<void(std::uint64_t)>& first, const std::function<void(std::uint64_t)>& second);

}  // namespace sgbpf::test
