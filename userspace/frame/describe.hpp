// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Packets in one line: "tcp 192.0.2.7:4444 > 10.0.1.10:22 S". Source first, whatever the direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/verdict.h>

#include "frame/packet_spec.hpp"

namespace sgbpf {

// What the programs keep of a packet, and what an event carries (sgbpf/abi/event.h).
struct PacketFields {
    sg_flow_key key{};
    unsigned direction = SG_IN;
    std::uint8_t tcp_flags = 0;
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
    std::uint8_t flags = 0;                 // enum sg_packet_flags
    std::uint32_t reason = SG_REASON_NONE;  // of the verdict: says what a frame without addresses is
};

// "tcp A:1 > B:2 S", "udp [2001:db8::1]:53 > [2001:db8::2]:9", "icmp A > B echo-request id 7", "gre A > B",
// "udp A > B fragment", "udp A:1 > B:2 first fragment", "arp", "not ip", "truncated". What is a whole packet,
// parse_packet reads back.
std::string describe(const PacketFields& packet);

// What the programs read in a frame. `wire_length`: of the frame before the capture cut it; 0 = whole.
PacketFields fields_of(std::span<const std::byte> frame, unsigned direction, std::uint32_t wire_length = 0);

// The same from the bytes, which also tell "arp A > B", "ethertype 0x88cc MAC > MAC".
std::string describe(std::span<const std::byte> frame, unsigned direction, std::uint32_t wire_length = 0);

// Address of one side of a flow key; `family` is enum sg_family.
Address key_address(const __u8 (&bytes)[16], __u8 family);

}  // namespace sgbpf
