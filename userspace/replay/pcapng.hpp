// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Whether the packets of a pcapng file were received or sent. libpcap reads everything else; this one
// option of a packet block (epb_flags, RFC draft-ietf-opsawg-pcapng section 4.3.1) it does not pass on. So this
// walks over the blocks beside it and looks at nothing but that option.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace sgbpf {

// As the capturing machine saw the packet.
enum class Seen : std::uint8_t { kUnknown, kReceived, kSent };

class PcapngFlags {
public:
    // Empty: the file cannot be read, or is not pcapng.
    static std::optional<PcapngFlags> open(const std::string& path);

    // Of the next packet block; kUnknown also where the file ends or stops making sense: libpcap says so.
    Seen next();

private:
    PcapngFlags(std::ifstream file, std::uint64_t bytes) : file_(std::move(file)), bytes_left_(bytes) {}
    bool read_block(std::uint32_t& type);
    [[nodiscard]] std::uint32_t number(std::size_t at, std::size_t bytes) const;
    [[nodiscard]] Seen flags_after(std::size_t at) const;

    std::ifstream file_;
    std::uint64_t bytes_left_;
    bool big_endian_ = false;         // of the section
    std::vector<std::uint8_t> body_;  // of the block, without type and lengths
};

}  // namespace sgbpf
