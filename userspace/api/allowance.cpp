// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What an interface has of the flow table, and may still have (SG-5.48).
#include <algorithm>
#include <limits>

#include "api/engine_parts.hpp"

namespace sgbpf {

namespace {

std::uint64_t left_of(std::uint64_t limit, std::uint64_t used) {
    return limit > used ? limit - used : 0;
}

}  // namespace

AllowanceReport allowance_of(const AccountsSnapshot& accounts, const sg_counters& counters,
                             const sg_interface_config& config, std::uint32_t slot) {
    AllowanceReport report;
    const auto dropped = [&](unsigned reason) {
        return counters.packets[SG_IN][reason] + counters.packets[SG_OUT][reason];
    };
    report.exceeded = dropped(SG_REASON_NO_CAPACITY) + dropped(SG_REASON_OPENING_LIMIT);
    report.linklocal_exceeded = dropped(SG_REASON_EXEMPT_RATE);
    report.max_flows = config.max_flows;
    report.max_opening = config.max_opening;
    report.reserved = config.reserved;
    if (slot >= accounts.accounts.size()) {
        return report;
    }
    const sg_account& own = accounts.accounts[slot];
    const sg_account& pool = accounts.accounts[0];
    report.flows = own.flows;
    report.opening = own.opening;
    report.recycled = own.recycled;
    report.adopted = own.adopted;
    report.corrected = own.corrected;
    // 0 = no cap of its own: then the table is the cap.
    const std::uint64_t own_left =
        config.max_flows == 0 ? std::numeric_limits<std::uint64_t>::max() : left_of(config.max_flows, own.flows);
    const std::uint64_t opening_left =
        config.max_opening == 0 ? std::numeric_limits<std::uint64_t>::max() : left_of(config.max_opening, own.opening);
    report.available =
        std::min({own_left, opening_left, left_of(config.reserved, own.reserved) + left_of(pool.limit, pool.flows)});
    if (own.adopt_until > accounts.now) {
        const std::uint64_t ticks = std::max(accounts.ticks_per_second, 1U);
        report.adopting_s = (own.adopt_until - accounts.now + ticks - 1) / ticks;
    }
    return report;
}

}  // namespace sgbpf
