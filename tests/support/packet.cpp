// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/packet.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace sgbpf::test {

namespace {

void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

void put32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    put16(bytes, at, value >> 16);
    put16(bytes, at + 2, value & 0xffff);
}

void put_address(Bytes& bytes, std::size_t at, int family, const std::string& text) {
    if (inet_pton(family, text.c_str(), bytes.data() + at) != 1) {
        std::fprintf(stderr, "packet: bad address %s\n", text.c_str());
        std::abort();
    }
}

void put_mac(Bytes& bytes, std::size_t at, const std::string& text) {
    unsigned part[6] = {};
    if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]) !=
        6) {
        std::fprintf(stderr, "packet: bad MAC %s\n", text.c_str());
        std::abort();
    }
    for (std::size_t i = 0; i < 6; ++i) {
        bytes[at + i] = static_cast<std::uint8_t>(part[i]);
    }
}

std::uint32_t sum16(const Bytes& bytes, std::size_t from, std::uint32_t sum) {
    for (std::size_t i = from; i + 1 < bytes.size(); i += 2) {
        sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    }
    if ((bytes.size() - from) % 2 != 0) {
        sum += static_cast<std::uint32_t>(bytes.back() << 8);
    }
    return sum;
}

std::uint16_t fold(std::uint32_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

void Frame::add(const Ethernet& layer) {
    Bytes bytes(14 + layer.tags.size() * 4);
    put_mac(bytes, 0, layer.destination);
    put_mac(bytes, 6, layer.source);
    std::size_t at = 12;
    for (const std::uint16_t tag : layer.tags) {
        put16(bytes, at, layer.tag_type);
        put16(bytes, at + 2, tag);
        at += 4;
    }
    put16(bytes, at, layer.type.value_or(0));
    parts_.push_back({Kind::kEthernet, 0, bytes, layer.type.has_value(), false});
}

void Frame::add(const Ipv4& layer) {
    Bytes options = layer.options;
    options.resize((options.size() + 3) / 4 * 4);
    Bytes bytes(20);
    bytes.insert(bytes.end(), options.begin(), options.end());
    bytes[0] = layer.version_ihl.value_or(static_cast<std::uint8_t>(0x40 | (5 + options.size() / 4)));
    put16(bytes, 2, layer.total_length.value_or(0));
    put16(bytes, 4, layer.id);
    put16(bytes, 6, static_cast<std::uint32_t>((layer.more ? 0x2000 : 0) | layer.fragment_offset));
    bytes[8] = layer.ttl;
    bytes[9] = layer.protocol.value_or(0);
    put_address(bytes, 12, AF_INET, layer.source);
    put_address(bytes, 16, AF_INET, layer.destination);
    parts_.push_back({Kind::kIpv4, 4, bytes, layer.protocol.has_value(), layer.total_length.has_value()});
}

void Frame::add(const Ipv6& layer) {
    Bytes bytes(40);
    bytes[0] = 0x60;
    put16(bytes, 4, layer.payload_length.value_or(0));
    bytes[6] = layer.next_header.value_or(0);
    bytes[7] = layer.hop_limit;
    put_address(bytes, 8, AF_INET6, layer.source);
    put_address(bytes, 24, AF_INET6, layer.destination);
    parts_.push_back({Kind::kIpv6, 41, bytes, layer.next_header.has_value(), layer.payload_length.has_value()});
}

void Frame::add(const Extension& layer) {
    Bytes bytes(2);
    bytes.insert(bytes.end(), layer.body.begin(), layer.body.end());
    bytes.resize((bytes.size() + 7) / 8 * 8);
    const std::size_t units = layer.type == 51 ? bytes.size() / 4 - 2 : bytes.size() / 8 - 1;
    bytes[1] = layer.length.value_or(static_cast<std::uint8_t>(units));
    parts_.push_back({Kind::kExtension, layer.type, bytes, false, false});
}

void Frame::add(const Fragment6& layer) {
    Bytes bytes(8);
    bytes[0] = layer.next_header.value_or(0);
    bytes[1] = layer.reserved;
    put16(bytes, 2, static_cast<std::uint32_t>(layer.offset << 3 | (layer.more ? 1 : 0)));
    put32(bytes, 4, layer.id);
    parts_.push_back({Kind::kFragment, 44, bytes, layer.next_header.has_value(), false});
}

void Frame::add(const Tcp& layer) {
    const std::size_t options = (layer.options.size() + 3) / 4 * 4;
    Bytes bytes(std::max<std::size_t>(20 + options, layer.offset_words * std::size_t{4}));
    std::copy(layer.options.begin(), layer.options.end(), bytes.begin() + 20);
    put16(bytes, 0, layer.from);
    put16(bytes, 2, layer.to);
    put32(bytes, 4, layer.sequence);
    put32(bytes, 8, layer.acknowledgement);
    bytes[12] = static_cast<std::uint8_t>((layer.offset_words + options / 4) << 4);
    bytes[13] = layer.flags;
    put16(bytes, 14, layer.window);
    parts_.push_back({Kind::kTcp, 6, bytes, false, false});
}

void Frame::add(const Udp& layer) {
    Bytes bytes(8);
    put16(bytes, 0, layer.from);
    put16(bytes, 2, layer.to);
    parts_.push_back({Kind::kUdp, 17, bytes, false, false});
}

void Frame::add(const Icmp& layer) {
    bool ipv6 = false;
    for (const Part& part : parts_) {
        ipv6 = ipv6 || part.kind == Kind::kIpv6;
    }
    Bytes bytes(8);
    bytes[0] = layer.type;
    bytes[1] = layer.code;
    put16(bytes, 4, layer.id);
    put16(bytes, 6, layer.sequence);
    parts_.push_back({Kind::kIcmp, static_cast<std::uint8_t>(ipv6 ? 58 : 1), bytes, false, false});
}

void Frame::add(const Arp& layer) {
    Bytes bytes(28);
    put16(bytes, 0, 1);
    put16(bytes, 2, 0x0800);
    bytes[4] = 6;
    bytes[5] = 4;
    put16(bytes, 6, layer.operation);
    put_mac(bytes, 8, layer.sender_mac);
    put_address(bytes, 14, AF_INET, layer.sender);
    put_mac(bytes, 18, layer.target_mac);
    put_address(bytes, 24, AF_INET, layer.target);
    parts_.push_back({Kind::kArp, 0, bytes, false, false});
}

void Frame::add(const Raw& layer) {
    parts_.push_back({Kind::kRaw, layer.protocol, layer.bytes, false, false});
}

Bytes Frame::bytes() const {
    Bytes result;
    for (std::size_t i = parts_.size(); i-- > 0;) {
        Part part = parts_[i];
        const Part* above = i + 1 < parts_.size() ? &parts_[i + 1] : nullptr;
        switch (part.kind) {
            case Kind::kEthernet: {
                if (!part.fixed_next && above != nullptr) {
                    const std::uint32_t type = above->kind == Kind::kIpv4   ? 0x0800
                                               : above->kind == Kind::kIpv6 ? 0x86dd
                                               : above->kind == Kind::kArp  ? 0x0806
                                                                            : 0x88b5;
                    put16(part.bytes, part.bytes.size() - 2, type);
                }
                break;
            }
            case Kind::kIpv4: {
                if (!part.fixed_next && above != nullptr) {
                    part.bytes[9] = above->number;
                }
                if (!part.fixed_length) {
                    put16(part.bytes, 2, static_cast<std::uint32_t>(part.bytes.size() + result.size()));
                }
                put16(part.bytes, 10, fold(sum16(part.bytes, 0, 0)));
                break;
            }
            case Kind::kIpv6: {
                if (!part.fixed_next) {
                    part.bytes[6] = above != nullptr ? above->number : 59;
                }
                if (!part.fixed_length) {
                    put16(part.bytes, 4, static_cast<std::uint32_t>(result.size()));
                }
                break;
            }
            case Kind::kExtension:
            case Kind::kFragment: {
                if (!part.fixed_next) {
                    part.bytes[0] = above != nullptr ? above->number : 59;
                }
                break;
            }
            case Kind::kUdp: {
                put16(part.bytes, 4, static_cast<std::uint32_t>(part.bytes.size() + result.size()));
                break;
            }
            default:
                break;
        }
        result.insert(result.begin(), part.bytes.begin(), part.bytes.end());
    }
    return result;
}

}  // namespace sgbpf::test
