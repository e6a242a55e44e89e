// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The difference of two states in words, for `diff`, the plan of `apply` and the journal.
#pragma once

#include <string>
#include <vector>

#include <sgbpf/state.hpp>

namespace sgbpf {

struct Change {
    char sign = '~';   // '+' added, '-' removed, '~' changed
    std::string text;  // "rule web in tcp 443 from ::/0", "entry office 198.51.100.0/24"

    [[nodiscard]] std::string to_string() const { return std::string(1, sign) + ' ' + text; }
    bool operator==(const Change&) const = default;
};

// By kind of object (VPC, peering, prefix list, group, interface), then by name; each object followed
// by its parts. Ids are not compared. Linear, plus sorting rules. An empty result: the states say the same.
std::vector<Change> changes(const State& from, const State& to);

}  // namespace sgbpf
