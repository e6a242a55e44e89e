// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Decides a new flow from map contents at one generation, lookup by lookup as the packet path does. What
// it says about a map image, the BPF program must say about the maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/support/fake_datapath.hpp"

namespace sgbpf::test {

struct Question {
    std::uint32_t interface_slot = 0;
    std::uint32_t direction = SG_IN;
    Address local;
    Address peer;
    int protocol = kTcp;
    std::optional<std::uint16_t> value;  // as NewFlow::value
};

struct Decision {
    bool accept = false;
    bool ready = false;
    bool wrong_address = false;
    bool tracked = false;
    std::uint32_t rule = 0;  // slot
    std::string rule_id;
};

Decision decide(const FakeDatapath& maps, const Question& question, std::uint64_t generation);

}  // namespace sgbpf::test
