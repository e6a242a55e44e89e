// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A packet as the bytes that a wire would carry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "frame/packet_spec.hpp"

namespace sgbpf {

// Of a TCP header; the second is written with flag ACK only.
struct TcpNumbers {
    std::uint32_t sequence = 1;
    std::uint32_t acknowledgement = 1;
};

// Ethernet frame without payload; lengths and checksums are right. Neighbour discovery asks for, or answers for,
// the destination. Frames may be shorter than the 60 bytes that Ethernet pads to.
std::vector<std::byte> build_frame(const PacketSpec& packet, const MacAddress& source_mac,
                                   const MacAddress& destination_mac, const TcpNumbers& numbers = {});

}  // namespace sgbpf
