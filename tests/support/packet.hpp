// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Frames for tests, composed with `/`: Ethernet{} / Ipv4{.source = "192.0.2.7"} / Tcp{.to = 80}.
// Defaults are documentation addresses (RFC 5737, RFC 3849); lengths, next headers and checksums are
// right unless a field says otherwise. Throws nothing; a bad address text aborts the test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sgbpf::test {

using Bytes = std::vector<std::uint8_t>;

enum TcpFlags : std::uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

struct Ethernet {
    std::string source = "02:00:00:00:00:02";
    std::string destination = "02:00:00:00:00:01";
    std::optional<std::uint16_t> type = {};  // default: by the next layer
    std::vector<std::uint16_t> tags = {};    // VLAN ids in the bytes, outermost first
    std::uint16_t tag_type = 0x8100;
};

struct Ipv4 {
    std::string source = "192.0.2.1";
    std::string destination = "198.51.100.1";
    std::optional<std::uint8_t> protocol = {};
    std::uint8_t ttl = 64;
    std::uint16_t id = 0;
    std::uint16_t fragment_offset = 0;  // in 8-byte units
    bool more = false;
    Bytes options = {};  // padded to 4 bytes
    std::optional<std::uint16_t> total_length = {};
    std::optional<std::uint8_t> version_ihl = {};
};

struct Ipv6 {
    std::string source = "2001:db8::1";
    std::string destination = "2001:db8::2";
    std::optional<std::uint8_t> next_header = {};
    std::uint8_t hop_limit = 64;
    std::optional<std::uint16_t> payload_length = {};
};

// An IPv6 extension header: type is its own number; bytes after the first two, padded to 8.
struct Extension {
    std::uint8_t type = 0;
    Bytes body = {};
    std::optional<std::uint8_t> length = {};  // field value
};

struct Fragment6 {
    std::uint16_t offset = 0;  // in 8-byte units
    bool more = false;
    std::uint32_t id = 1;
    std::uint8_t reserved = 0;
    std::optional<std::uint8_t> next_header = {};
};

struct Tcp {
    std::uint16_t from = 40000;
    std::uint16_t to = 80;
    std::uint8_t flags = kSyn;
    std::uint8_t offset_words = 5;
    std::uint32_t sequence = 1;
    std::uint32_t acknowledgement = 0;
    std::uint16_t window = 64240;
    Bytes options = {};  // padded to 4 bytes with zeros (end of list)
};

struct Udp {
    std::uint16_t from = 40000;
    std::uint16_t to = 53;
};

struct Icmp {  // v4 or v6, by the layer below
    std::uint8_t type = 8;
    std::uint8_t code = 0;
    std::uint16_t id = 1;
    std::uint16_t sequence = 1;
};

struct Arp {
    std::uint16_t operation = 1;
    std::string sender_mac = "02:00:00:00:00:02";
    std::string sender = "192.0.2.1";
    std::string target_mac = "00:00:00:00:00:00";
    std::string target = "192.0.2.2";
};

struct Raw {
    Bytes bytes = {};
    std::uint8_t protocol = 253;  // as an upper layer: RFC 3692 experimentation
};

// A stack of layers under construction; converts to the bytes of the frame.
class Frame {
public:
    template <typename Layer> friend Frame operator/(Frame frame, const Layer& layer) {
        frame.add(layer);
        return frame;
    }
    [[nodiscard]] Bytes bytes() const;
    operator Bytes() const { return bytes(); }  // NOLINT(google-explicit-constructor): reads as a frame

    void add(const Ethernet& layer);
    void add(const Ipv4& layer);
    void add(const Ipv6& layer);
    void add(const Extension& layer);
    void add(const Fragment6& layer);
    void add(const Tcp& layer);
    void add(const Udp& layer);
    void add(const Icmp& layer);
    void add(const Arp& layer);
    void add(const Raw& layer);

private:
    enum class Kind { kEthernet, kIpv4, kIpv6, kExtension, kFragment, kTcp, kUdp, kIcmp, kArp, kRaw };
    struct Part {
        Kind kind;
        std::uint8_t number;  // protocol number as the layer below names it
        Bytes bytes;
        bool fixed_next = false;
        bool fixed_length = false;
    };
    std::vector<Part> parts_;
};

template <typename Layer> Frame operator/(const Ethernet& ethernet, const Layer& layer) {
    Frame frame;
    frame.add(ethernet);
    frame.add(layer);
    return frame;
}

}  // namespace sgbpf::test
