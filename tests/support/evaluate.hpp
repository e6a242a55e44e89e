// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The oracle: decides a new flow by scanning the rules of a State, as the specification reads. Slow and
// obvious; shares no code with the compiler and is linked into tests alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/state.hpp>

namespace sgbpf::test {

// The first packet of a flow at one interface.
struct NewFlow {
    std::string interface;
    std::uint32_t direction = SG_IN;
    Address local;
    Address peer;
    int protocol = kTcp;
    // Destination port, or ICMP type<<8|code. Empty: a fragment without ports, or a protocol that has none.
    std::optional<std::uint16_t> value;
};

struct Evaluation {
    bool accept = false;
    bool wrong_address = false;         // dropped by the source/dest check
    bool tracked = false;               // of an accepted flow
    std::vector<std::string> matching;  // ids of all rules that match, sorted
    std::string attributed;             // the documented choice: stage order, then lowest id
};

Evaluation evaluate(const State& state, const NewFlow& flow);

}  // namespace sgbpf::test
