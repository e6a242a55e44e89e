// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "frame/reset.hpp"

#include <arpa/inet.h>

#include "frame/build.hpp"
#include "frame/describe.hpp"

namespace sgbpf {

namespace {

constexpr std::uint8_t kResetAck = 0x14;

// A side acknowledges only what it has seen: under SG_FLOW_WINDOWS a flag says so, else both halves are stored at once.
bool has_acknowledged(const sg_flow& flow, unsigned side) {
    return flow.sequence[side] != 0 &&
           ((SG_WORD_FLAGS(flow.word) & SG_FLOW_WINDOWS) == 0 || (flow.scale[side] & SG_SCALE_ACKNOWLEDGED) != 0);
}

// For side `to` (0 = the opener), as from the other.
std::vector<TcpNumbers> numbers_for(const sg_flow& flow, unsigned to) {
    const unsigned from = 1 - to;
    TcpNumbers numbers{0, 0};
    if (flow.sequence[to] != 0) {
        numbers.acknowledgement = SG_SEQUENCE_END(flow.sequence[to]);
    } else if (has_acknowledged(flow, from)) {
        numbers.acknowledgement = SG_SEQUENCE_ACKNOWLEDGED(flow.sequence[from]);
    }
    std::vector<TcpNumbers> all;
    if (has_acknowledged(flow, to)) {
        numbers.sequence = SG_SEQUENCE_ACKNOWLEDGED(flow.sequence[to]);
        all.push_back(numbers);
    }
    if (flow.sequence[from] != 0 && (all.empty() || numbers.sequence != SG_SEQUENCE_END(flow.sequence[from]))) {
        numbers.sequence = SG_SEQUENCE_END(flow.sequence[from]);
        all.push_back(numbers);
    }
    if (all.empty() && flow.sequence[to] != 0) {
        all.push_back(numbers);  // a SYN nobody answered: its sender looks at the acknowledgement (RFC 9293 3.10.7.3)
    }
    return all;
}

}  // namespace

ResetFrames reset_frames(const sg_flow& flow, const MacAddress& device, const MacAddress& guest) {
    const unsigned local = (SG_WORD_FLAGS(flow.word) & SG_FLOW_OPENED_OUT) != 0 ? 0 : 1;
    PacketSpec packet;
    packet.protocol = kTcp;
    packet.tcp_flags = kResetAck;
    packet.source = key_address(flow.key.remote, flow.key.family);
    packet.destination = key_address(flow.key.local, flow.key.family);
    packet.source_port = ntohs(flow.key.remote_port);
    packet.destination_port = ntohs(flow.key.local_port);
    ResetFrames frames;
    for (const TcpNumbers& numbers : numbers_for(flow, local)) {
        frames.to_local.push_back(build_frame(packet, device, guest, numbers));
    }
    std::swap(packet.source, packet.destination);
    std::swap(packet.source_port, packet.destination_port);
    for (const TcpNumbers& numbers : numbers_for(flow, 1 - local)) {
        frames.to_remote.push_back(build_frame(packet, {}, {}, numbers));
    }
    return frames;
}

}  // namespace sgbpf
