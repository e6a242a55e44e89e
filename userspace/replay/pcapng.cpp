// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/pcapng.hpp"

#include <algorithm>
#include <array>

namespace sgbpf {

namespace {

// Section 4: types of blocks. 2 is obsolete, and still in old files.
constexpr std::uint32_t kSection = 0x0a0d0d0a;  // a palindrome: the same in both byte orders
constexpr std::uint32_t kOldPacket = 2;
constexpr std::uint32_t kSimplePacket = 3;
constexpr std::uint32_t kEnhancedPacket = 6;

constexpr std::size_t kFrameBytes = 12;                     // type and two lengths around a body
constexpr std::uint32_t kMaxBlockBytes = 16 * 1024 * 1024;  // what libpcap takes
constexpr std::size_t kPacketHeaderBytes = 20;              // of both packet blocks with options
constexpr std::size_t kCapturedLengthAt = 12;

constexpr std::uint32_t kEndOfOptions = 0;
constexpr std::uint32_t kFlagsOption = 2;

std::uint32_t number_of(const std::uint8_t* bytes, std::size_t count, bool big_endian) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        value = (value << 8) | bytes[big_endian ? i : count - 1 - i];
    }
    return value;
}

constexpr std::size_t padded(std::size_t bytes) {
    return (bytes + 3) / 4 * 4;
}

}  // namespace

std::optional<PcapngFlags> PcapngFlags::open(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::array<char, 4> first{};
    if (!file.read(first.data(), first.size()) ||
        number_of(reinterpret_cast<const std::uint8_t*>(first.data()), 4, false) != kSection) {
        return std::nullopt;
    }
    file.seekg(0, std::ios::end);
    const auto bytes = static_cast<std::uint64_t>(file.tellg());
    file.seekg(0);
    return PcapngFlags(std::move(file), bytes);
}

std::uint32_t PcapngFlags::number(std::size_t at, std::size_t bytes) const {
    return at + bytes <= body_.size() ? number_of(&body_[at], bytes, big_endian_) : 0;
}

// False at the end, or where what follows is no block.
bool PcapngFlags::read_block(std::uint32_t& type) {
    std::array<std::uint8_t, 12> head{};
    if (!file_.read(reinterpret_cast<char*>(head.data()), 8)) {
        return false;
    }
    type = number_of(head.data(), 4, big_endian_);
    if (type == kSection) {
        // The byte order of a section is in its body; its length is read by it.
        if (!file_.read(reinterpret_cast<char*>(&head[8]), 4)) {
            return false;
        }
        file_.seekg(-4, std::ios::cur);
        big_endian_ = number_of(&head[8], 4, true) == 0x1a2b3c4d;
        if (!big_endian_ && number_of(&head[8], 4, false) != 0x1a2b3c4d) {
            return false;
        }
    }
    const std::uint32_t length = number_of(&head[4], 4, big_endian_);
    if (length < kFrameBytes || length > kMaxBlockBytes || length % 4 != 0 || length > bytes_left_) {
        return false;
    }
    bytes_left_ -= length;
    body_.resize(length - kFrameBytes);
    std::array<char, 4> again{};
    return static_cast<bool>(
               file_.read(reinterpret_cast<char*>(body_.data()), static_cast<std::streamsize>(body_.size()))) &&
           file_.read(again.data(), again.size());
}

Seen PcapngFlags::flags_after(std::size_t at) const {
    while (at + 4 <= body_.size()) {
        const std::uint32_t code = number(at, 2);
        const std::uint32_t length = number(at + 2, 2);
        if (code == kEndOfOptions) {
            break;
        }
        if (code == kFlagsOption && length == 4) {
            switch (number(at + 4, 4) & 3) {  // 4.3.1: bits 0-1, inbound or outbound
                case 1:
                    return Seen::kReceived;
                case 2:
                    return Seen::kSent;
                default:
                    return Seen::kUnknown;
            }
        }
        at += 4 + padded(length);
    }
    return Seen::kUnknown;
}

Seen PcapngFlags::next() {
    std::uint32_t type = 0;
    while (read_block(type)) {
        if (type == kSimplePacket) {
            return Seen::kUnknown;  // has no options
        }
        if (type == kEnhancedPacket || type == kOldPacket) {
            return flags_after(kPacketHeaderBytes + padded(number(kCapturedLengthAt, 4)));
        }
    }
    return Seen::kUnknown;
}

}  // namespace sgbpf
