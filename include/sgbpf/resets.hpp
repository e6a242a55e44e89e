// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// RST to both ends of TCP flows that a command ends.
#pragma once

#include <cstdint>
#include <string>

namespace sgbpf {

struct ResetsSent {
    std::uint64_t sent = 0;     // flows, to both ends
    std::uint64_t unknown = 0;  // no sequence number was seen: nothing was sent
    std::uint64_t unsent = 0;   // at least one end was not told
    std::string why;            // the first of those: a reason

    // "reset sent for 2, 1 without known sequence numbers, 1 not to both ends (to the remote end: Network is
    // unreachable)".
    [[nodiscard]] std::string to_string() const {
        std::string words = "reset sent for " + std::to_string(sent);
        words += unknown == 0 ? "" : ", " + std::to_string(unknown) + " without known sequence numbers";
        words += unsent == 0 ? "" : ", " + std::to_string(unsent) + " not to both ends (" + why + ")";
        return words;
    }
    void add(const ResetsSent& more) {
        sent += more.sent;
        unknown += more.unknown;
        unsent += more.unsent;
        why = why.empty() ? more.why : why;
    }
    void not_sent(std::uint64_t flows, const std::string& reason) { add({0, 0, flows, reason}); }
};

}  // namespace sgbpf
