// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Frames for bench/flood.py, by packet sockets: handshakes of many connections, one segment of each of them, and
// SYNs from random sources at the full rate.
//   sgbpf_bench_flood_sender establish|probe|flood HOST_DEVICE GUEST_NETNS COUNT
// HOST_DEVICE is the host's end of the guest's veth pair, eth0 in GUEST_NETNS the other. COUNT: connections; of
// `flood`: seconds. Prints what was sent.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <thread>

namespace {

constexpr std::size_t kBatch = 64;  // far below the queue of a veth's receiver (netdev_max_backlog, 1000)
constexpr std::size_t kFrameBytes = 60;
constexpr std::uint8_t kSyn = 2;
constexpr std::uint8_t kAck = 16;
constexpr std::uint16_t kPort = 80;
constexpr std::uint32_t kGuest = 0x0a090102;  // 10.9.1.2
constexpr std::uint32_t kClientIsn = 1000;
constexpr std::uint32_t kServerIsn = 5000;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "flood: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(4);
}

using Frame = std::array<std::uint8_t, kFrameBytes>;

void put16(Frame& frame, std::size_t at, std::uint32_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value);
}
void put32(Frame& frame, std::size_t at, std::uint32_t value) {
    put16(frame, at, value >> 16);
    put16(frame, at + 2, value & 0xffff);
}

struct Segment {
    std::uint32_t source;
    std::uint32_t destination;
    std::uint16_t from;
    std::uint16_t to;
    std::uint32_t sequence;
    std::uint32_t acknowledgement;
    std::uint8_t flags;
};

Frame frame_of(const Segment& segment) {
    Frame frame{};
    std::memset(frame.data(), 2, 12);  // 02:02:02:02:02:02: nobody's; the interfaces have no MAC to check
    put16(frame, 12, ETH_P_IP);
    frame[14] = 0x45;
    put16(frame, 16, 40);
    frame[22] = 64;
    frame[23] = IPPROTO_TCP;
    put32(frame, 26, segment.source);
    put32(frame, 30, segment.destination);
    std::uint32_t sum = 0;
    for (std::size_t at = 14; at < 34; at += 2) {
        sum += static_cast<std::uint32_t>(frame[at] << 8 | frame[at + 1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    put16(frame, 24, ~(sum + (sum >> 16)) & 0xffff);
    put16(frame, 34, segment.from);
    put16(frame, 36, segment.to);
    put32(frame, 38, segment.sequence);
    put32(frame, 42, segment.acknowledgement);
    frame[46] = 0x50;
    frame[47] = segment.flags;
    put16(frame, 48, 64240);
    return frame;
}

// A packet socket on a device, through its hooks (no PACKET_QDISC_BYPASS), and a batch on the way.
class Sender {
public:
    explicit Sender(const char* device) : socket_(::socket(AF_PACKET, SOCK_RAW, 0)) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(::if_nametoindex(device));
        if (socket_ < 0 || address.sll_ifindex == 0 ||
            ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
            fail(std::string("packet socket on ") + device);
        }
    }
    void add(const Segment& segment) {
        frames_[used_] = frame_of(segment);
        if (++used_ == kBatch) {
            flush();
        }
    }
    // A frame that the egress hook drops is ENOBUFS; that is no error here, and the next one is tried.
    void flush() {
        std::array<mmsghdr, kBatch> messages{};
        std::array<iovec, kBatch> parts{};
        for (std::size_t i = 0; i < used_; ++i) {
            parts[i] = {frames_[i].data(), frames_[i].size()};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        for (std::size_t done = 0; done < used_;) {
            const int sent = ::sendmmsg(socket_, &messages[done], static_cast<unsigned>(used_ - done), 0);
            if (sent <= 0 && errno != ENOBUFS) {
                fail("send");
            }
            done += sent > 0 ? static_cast<std::size_t>(sent) : 1;
        }
        sent_ += used_;
        used_ = 0;
    }
    [[nodiscard]] std::uint64_t sent() const { return sent_; }

private:
    int socket_;
    std::array<Frame, kBatch> frames_{};
    std::size_t used_ = 0;
    std::uint64_t sent_ = 0;
};

// Connection i: 192.0.2.x, ports from 1024 on.
Segment of_client(unsigned i, std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledgement) {
    return {0xc0000201 + i / 50000, kGuest, static_cast<std::uint16_t>(1024 + i % 50000), kPort, sequence,
            acknowledgement,        flags};
}
Segment of_server(unsigned i, std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledgement) {
    Segment segment = of_client(i, flags, sequence, acknowledgement);
    std::swap(segment.source, segment.destination);
    std::swap(segment.from, segment.to);
    return segment;
}

// Gives the receiving CPU time: what a batch leaves behind must be judged before the next step.
void settle() {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
}

void establish(Sender& host, Sender& guest, unsigned count) {
    for (unsigned first = 0; first < count; first += kBatch) {
        const unsigned last = std::min<unsigned>(first + kBatch, count);
        for (unsigned i = first; i < last; ++i) {
            host.add(of_client(i, kSyn, kClientIsn, 0));
        }
        host.flush();
        for (unsigned i = first; i < last; ++i) {
            guest.add(of_server(i, kSyn | kAck, kServerIsn, kClientIsn + 1));
        }
        guest.flush();
        settle();
        for (unsigned i = first; i < last; ++i) {
            host.add(of_client(i, kAck, kClientIsn + 1, kServerIsn + 1));
        }
        host.flush();
    }
}

void probe(Sender& host, Sender& guest, unsigned count) {
    for (unsigned first = 0; first < count; first += kBatch) {
        const unsigned last = std::min<unsigned>(first + kBatch, count);
        for (unsigned i = first; i < last; ++i) {
            host.add(of_client(i, kAck, kClientIsn + 1, kServerIsn + 1));
            guest.add(of_server(i, kAck, kServerIsn + 1, kClientIsn + 1));
        }
        host.flush();
        guest.flush();
        settle();
    }
}

// Sources 11.0.0.0 to 126.255.255.255, any port.
void flood(Sender& host, unsigned seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    std::uint64_t random = 0x9e3779b97f4a7c15;
    while (std::chrono::steady_clock::now() < until) {
        for (std::size_t i = 0; i < 16 * kBatch; ++i) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            host.add({static_cast<std::uint32_t>(11 + random % 116) << 24 | static_cast<std::uint32_t>(random >> 40),
                      kGuest, static_cast<std::uint16_t>(random >> 16), kPort, static_cast<std::uint32_t>(random >> 8),
                      0, kSyn});
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: sgbpf_bench_flood_sender establish|probe|flood HOST_DEVICE GUEST_NETNS COUNT\n");
        return 2;
    }
    const std::string what = argv[1];
    Sender host(argv[2]);
    const std::string netns = std::string("/run/netns/") + argv[3];
    const int descriptor = ::open(netns.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || ::setns(descriptor, CLONE_NEWNET) != 0) {
        fail("enter " + netns);
    }
    Sender guest("eth0");
    const auto count = static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10));
    if (what == "establish") {
        establish(host, guest, count);
    } else if (what == "probe") {
        probe(host, guest, count);
    } else {
        flood(host, count);
    }
    std::printf("%llu %llu\n", static_cast<unsigned long long>(host.sent()),
                static_cast<unsigned long long>(guest.sent()));
    return 0;
}
