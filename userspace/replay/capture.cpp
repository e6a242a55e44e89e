// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/capture.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <pcap/pcap.h>

namespace sgbpf {

namespace {

constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kMacBytes = 6;

// A header of a link without Ethernet: where what Ethernet needs stands in it.
// https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html and ..._SLL2.html
struct CookedLayout {
    std::size_t bytes;
    std::size_t packet_type;  // its low byte
    std::size_t address_length;
    std::size_t address;
    std::size_t protocol;
};
constexpr CookedLayout kCooked1{16, 1, 5, 6, 14};
constexpr CookedLayout kCooked2{20, 10, 11, 12, 0};
constexpr std::uint8_t kSentByUs = 4;  // the other packet types were received: for us, for all, for others

std::uint32_t total(std::uint32_t wire_length, std::size_t link_header) {
    return static_cast<std::uint32_t>(std::max<std::size_t>(wire_length, link_header) - link_header + kEthernetBytes);
}

}  // namespace

void Capture::Close::operator()(pcap* handle) const {
    pcap_close(handle);
}

Result<Capture> Capture::open(const std::string& path) {
    std::array<char, PCAP_ERRBUF_SIZE> words{};
    Handle handle(pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, words.data()));
    if (!handle) {
        return unexpected(
            make_error(ErrorCode::kInvalid, fmt::format("cannot read capture {}: {}", path, words.data())));
    }
    const int type = pcap_datalink(handle.get());
    switch (type) {
        case DLT_EN10MB:
        case DLT_LINUX_SLL:
        case DLT_LINUX_SLL2:
        case DLT_RAW:
        case DLT_IPV4:
        case DLT_IPV6:
            break;
        default: {
            const char* name = pcap_datalink_val_to_name(type);
            return unexpected(make_error(
                ErrorCode::kInvalid,
                fmt::format("capture {} is of link type {}; Ethernet, Linux cooked (tcpdump -i any) and raw IP can be "
                            "replayed",
                            path, name != nullptr ? name : std::to_string(type))));
        }
    }
    return Capture(path, std::move(handle), type, PcapngFlags::open(path));
}

bool Capture::has_flags() const {
    return flags_ || link_type_ == DLT_LINUX_SLL || link_type_ == DLT_LINUX_SLL2;
}

void Capture::to_ethernet(std::span<const std::uint8_t> bytes, std::uint32_t wire_length, CapturedPacket& packet) {
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    frame_.assign(kEthernetBytes, std::byte{0});
    packet.destination_mac_known = packet.source_mac_known = false;
    std::size_t header = 0;
    if (link_type_ == DLT_LINUX_SLL || link_type_ == DLT_LINUX_SLL2) {
        const CookedLayout& cooked = link_type_ == DLT_LINUX_SLL ? kCooked1 : kCooked2;
        if (bytes.size() < cooked.bytes) {
            frame_.clear();
            return;
        }
        header = cooked.bytes;
        packet.seen = bytes[cooked.packet_type] == kSentByUs ? Seen::kSent : Seen::kReceived;
        packet.source_mac_known = bytes[cooked.address_length] == kMacBytes;
        if (packet.source_mac_known) {
            std::copy_n(data + cooked.address, kMacBytes, &frame_[kMacBytes]);
        }
        std::copy_n(data + cooked.protocol, 2, &frame_[2 * kMacBytes]);
    } else if (!bytes.empty()) {
        const bool ipv6 = bytes[0] >> 4 == 6;
        frame_[12] = std::byte{ipv6 ? std::uint8_t{0x86} : std::uint8_t{0x08}};
        frame_[13] = std::byte{ipv6 ? std::uint8_t{0xdd} : std::uint8_t{0x00}};
    }
    frame_.insert(frame_.end(), data + header, data + bytes.size());
    packet.wire_length = total(wire_length, header);
}

Result<bool> Capture::next(CapturedPacket& packet) {
    pcap_pkthdr* head = nullptr;
    const u_char* data = nullptr;
    switch (pcap_next_ex(handle_.get(), &head, &data)) {
        case 1:
            break;
        case PCAP_ERROR_BREAK:
            return false;
        default:
            return unexpected(
                make_error(ErrorCode::kInvalid, fmt::format("capture {} is broken after packet {}: {}", path_, packets_,
                                                            pcap_geterr(handle_.get()))));
    }
    ++packets_;
    packet = CapturedPacket{};
    // With PCAP_TSTAMP_PRECISION_NANO tv_usec holds nanoseconds.
    packet.time_ns =
        static_cast<std::uint64_t>(head->ts.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(head->ts.tv_usec);
    const std::span<const std::uint8_t> bytes(data, head->caplen);
    const std::uint32_t wire_length = std::max(head->len, head->caplen);
    if (flags_) {
        packet.seen = flags_->next();
    }
    if (link_type_ == DLT_EN10MB) {
        const auto* first = reinterpret_cast<const std::byte*>(data);
        frame_.assign(first, first + bytes.size());
        packet.wire_length = wire_length;
    } else {
        to_ethernet(bytes, wire_length, packet);
    }
    packet.frame = frame_;
    return true;
}

}  // namespace sgbpf
