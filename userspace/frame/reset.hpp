// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The segments that end a TCP flow at its ends, made of the sequence numbers that its record remembers.
#pragma once

#include <cstddef>
#include <vector>

#include <sgbpf/abi/flow.h>
#include <sgbpf/prefix.hpp>

namespace sgbpf {

struct ResetFrames {
    std::vector<std::vector<std::byte>> to_local;
    std::vector<std::vector<std::byte>> to_remote;  // without MAC addresses
};

// At most two a side: an end takes only the number that it expects (RFC 5961 3.2), which is what it acknowledged last
// or, while it holds its acknowledgement back, where the other's data ends. Empty: no number was seen.
ResetFrames reset_frames(const sg_flow& flow, const MacAddress& device, const MacAddress& guest);

}  // namespace sgbpf
