// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Bytes of capture files, as tests need them: both formats, both byte orders, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/packet.hpp"

namespace sgbpf::test {

// https://www.tcpdump.org/linktypes.html
inline constexpr std::uint32_t kLinkEthernet = 1;
inline constexpr std::uint32_t kLinkRaw = 101;
inline constexpr std::uint32_t kLinkWifi = 105;
inline constexpr std::uint32_t kLinkCooked = 113;
inline constexpr std::uint32_t kLinkCooked2 = 276;

class Numbers {
public:
    explicit Numbers(bool big_endian = false) : big_endian_(big_endian) {}
    Numbers& put(std::uint64_t value, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t shift = 8 * (big_endian_ ? count - 1 - i : i);
            bytes_ += static_cast<char>(static_cast<std::uint8_t>(value >> shift));
        }
        return *this;
    }
    Numbers& put(const Bytes& bytes) {
        bytes_.append(bytes.begin(), bytes.end());
        return *this;
    }
    Numbers& put(const std::string& bytes) {
        bytes_ += bytes;
        return *this;
    }
    Numbers& pad() {
        bytes_.resize((bytes_.size() + 3) / 4 * 4);
        return *this;
    }
    [[nodiscard]] const std::string& text() const { return bytes_; }

private:
    bool big_endian_;
    std::string bytes_;
};

// Classic pcap with nanoseconds.
inline std::string pcap_head(std::uint32_t link_type, std::uint32_t snaplen = 262144) {
    return Numbers().put(0xa1b23c4d, 4).put(2, 2).put(4, 2).put(0, 8).put(snaplen, 4).put(link_type, 4).text();
}
inline std::string pcap_packet(std::uint64_t time_ns, const Bytes& bytes, std::uint32_t wire_length = 0) {
    return Numbers()
        .put(time_ns / 1'000'000'000, 4)
        .put(time_ns % 1'000'000'000, 4)
        .put(bytes.size(), 4)
        .put(wire_length != 0 ? wire_length : bytes.size(), 4)
        .put(bytes)
        .text();
}

// pcapng: one section, one interface with time in nanoseconds.
class Pcapng {
public:
    explicit Pcapng(bool big_endian = false, std::uint16_t link_type = 1) : big_endian_(big_endian) {
        block(0x0a0d0d0a, numbers().put(0x1a2b3c4d, 4).put(1, 2).put(0, 2).put(~std::uint64_t{0}, 8).text());
        const std::string resolution = numbers().put(9, 2).put(1, 2).put(9, 1).pad().put(0, 4).text();
        block(1, numbers().put(link_type, 2).put(0, 2).put(262144, 4).put(resolution).text());
    }
    Pcapng& block(std::uint32_t type, const std::string& body) {
        const std::size_t length = body.size() + 12;
        text_ += numbers().put(type, 4).put(length, 4).put(body).put(length, 4).text();
        return *this;
    }
    // `flags`: epb_flags, after a comment that must be skipped; negative = no options at all.
    Pcapng& packet(std::uint64_t time_ns, const Bytes& bytes, int flags = -1) {
        Numbers body = numbers();
        body.put(0, 4).put(time_ns >> 32, 4).put(time_ns & 0xffffffff, 4).put(bytes.size(), 4).put(bytes.size(), 4);
        body.put(bytes).pad();
        if (flags >= 0) {
            body.put(1, 2).put(5, 2).put(std::string("hello")).pad();
            body.put(2, 2).put(4, 2).put(static_cast<std::uint64_t>(flags), 4).put(0, 4);
        }
        return block(6, body.text());
    }
    [[nodiscard]] Numbers numbers() const { return Numbers(big_endian_); }
    [[nodiscard]] const std::string& text() const { return text_; }

private:
    bool big_endian_;
    std::string text_;
};

}  // namespace sgbpf::test
