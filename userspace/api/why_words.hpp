// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The reasons behind a verdict in words, from the state in force. Pure; what is decided comes from the program.
#pragma once

#include <string>

#include <sgbpf/abi/verdict.h>
#include <sgbpf/state.hpp>

#include "api/nearest.hpp"

namespace sgbpf {

struct WhyContext {
    const State& state;
    const Interface& interface;
    PacketFields packet;
};

// "any-peer", "cidr", "prefix-list", "group"; empty for SG_STAGE_NONE.
std::string stage_name(unsigned stage);

// "tracked", "would-be-tracked", "not-tracked"; empty for SG_TRACKING_NONE.
std::string tracking_name(unsigned tracking);
// Why it is, or is not: "no 0/0 outbound rule", "only a SYN opens a TCP flow (SG-5.8)". Empty for SG_TRACKING_NONE and
// for SG_TRACKING_FLOW, of which the entry tells.
std::string tracking_words(const WhyContext& why, const sg_outcome& outcome);

// "outbound of web admits only tcp 1433, 3306"; "inbound of web admits tcp 22 only from 198.51.100.0/24"; "web has no
// inbound rule".
std::string admits_words(const WhyContext& why);
// What a drop that is not about rules has to do with this packet and this interface.
std::string drop_words(const WhyContext& why, std::uint32_t reason);

}  // namespace sgbpf
