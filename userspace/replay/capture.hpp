// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Packets of a pcap or pcapng file as Ethernet frames, in the order of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <sgbpf/prefix.hpp>
#include <sgbpf/result.hpp>

#include "replay/pcapng.hpp"

struct pcap;

namespace sgbpf {

struct CapturedPacket {
    std::uint64_t time_ns = 0;      // since 1970
    std::span<std::byte> frame;     // from the Ethernet header on; valid until the next one is read
    std::uint32_t wire_length = 0;  // of the frame; more than it holds if the capture cut it
    Seen seen = Seen::kUnknown;     // pcapng flags, or the packet type of a cooked capture
    bool source_mac_known = true;   // false where the link type has none: it is zero
    bool destination_mac_known = true;
};

class Capture {
public:
    // Link types: Ethernet, Linux cooked (v1 and v2: `tcpdump -i any`) and raw IP. Errors name the file.
    static Result<Capture> open(const std::string& path);

    // Whether packets may say if they were received or sent.
    [[nodiscard]] bool has_flags() const;

    // False: the file is at its end. Error: it is broken here; the packets before were read.
    Result<bool> next(CapturedPacket& packet);

private:
    struct Close {
        void operator()(pcap* handle) const;
    };
    using Handle = std::unique_ptr<pcap, Close>;
    Capture(std::string path, Handle handle, int link_type, std::optional<PcapngFlags> flags)
        : path_(std::move(path)), handle_(std::move(handle)), link_type_(link_type), flags_(std::move(flags)) {}
    void to_ethernet(std::span<const std::uint8_t> bytes, std::uint32_t wire_length, CapturedPacket& packet);

    std::string path_;
    Handle handle_;
    int link_type_;  // DLT_*
    std::optional<PcapngFlags> flags_;
    std::uint64_t packets_ = 0;
    std::vector<std::byte> frame_;
};

}  // namespace sgbpf
