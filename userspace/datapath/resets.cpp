// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/resets.hpp"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include "datapath/netlink.hpp"

namespace sgbpf {

namespace {

constexpr std::size_t kEthernetHeader = 14;
constexpr std::uint8_t kListening = 10;  // TCP_LISTEN

using Frame = std::vector<std::byte>;
using Reason = std::string;  // empty: it is sent

std::string words_of(int positive_errno) {
    return std::generic_category().message(positive_errno);
}

std::size_t address_bytes(const sg_flow_key& key) {
    return key.family == SG_IPV6 ? 16 : 4;
}

// MAC addresses that the kernel knows at a device, by IP address.
std::map<std::string, MacAddress> neighbours(int ifindex) {
    NetlinkRequest request(RTM_GETNEIGH, NLM_F_DUMP);
    request.header<ndmsg>().ndm_family = AF_UNSPEC;
    std::map<std::string, MacAddress> known;
    (void)request.ask("list the neighbours", [&](const nlmsghdr& message) {
        if (static_cast<const ndmsg*>(mnl_nlmsg_get_payload(&message))->ndm_ifindex != ifindex) {
            return;
        }
        std::string address;
        MacAddress mac;
        const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(&message));
        for (const auto* one = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(&message, sizeof(ndmsg)));
             mnl_attr_ok(one, static_cast<int>(end - reinterpret_cast<const char*>(one))); one = mnl_attr_next(one)) {
            const auto* bytes = static_cast<const char*>(mnl_attr_get_payload(one));
            if (mnl_attr_get_type(one) == NDA_DST) {
                address.assign(bytes, mnl_attr_get_payload_len(one));
            } else if (mnl_attr_get_type(one) == NDA_LLADDR && mnl_attr_get_payload_len(one) == mac.bytes.size()) {
                std::memcpy(mac.bytes.data(), bytes, mac.bytes.size());
            }
        }
        if (mac != MacAddress{}) {
            known[address] = mac;
        }
    });
    return known;
}

// One order's sockets.
class FrameSender {
public:
    explicit FrameSender(const ResetOrder& order)
        : order_(order), device_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)),
          routed4_(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)),
          routed6_(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)) {
        const int yes = 1;
        (void)::setsockopt(device_.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof(yes));
    }

    // Out of the device past our programs, which know no such flow any more.
    Reason tell_local(const FlowReset& reset) {
        const MacAddress guest = guest_of(reset.key);
        if (guest == MacAddress{}) {
            return "the guest's MAC address is unknown";
        }
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = order_.device.ifindex;
        to.sll_halen = static_cast<unsigned char>(guest.bytes.size());
        std::memcpy(to.sll_addr, guest.bytes.data(), guest.bytes.size());
        return send_one_of(device_, reset.to_local, 0, to, "to the guest", [&](Frame& frame) {
            std::memcpy(frame.data(), guest.bytes.data(), guest.bytes.size());
            std::memcpy(&frame[6], order_.device.mac.bytes.data(), order_.device.mac.bytes.size());
        });
    }

    Reason tell_remote(const FlowReset& reset) {
        const auto nothing = [](Frame&) {};
        if (reset.key.family == SG_IPV6) {
            sockaddr_in6 to{};
            to.sin6_family = AF_INET6;
            std::memcpy(&to.sin6_addr, reset.key.remote, sizeof(to.sin6_addr));
            if (IN6_IS_ADDR_LINKLOCAL(&to.sin6_addr)) {
                to.sin6_scope_id = static_cast<std::uint32_t>(order_.device.ifindex);
            }
            return send_one_of(routed6_, reset.to_remote, kEthernetHeader, to, "to the remote end", nothing);
        }
        sockaddr_in to{};
        to.sin_family = AF_INET;
        std::memcpy(&to.sin_addr, reset.key.remote, sizeof(to.sin_addr));
        return send_one_of(routed4_, reset.to_remote, kEthernetHeader, to, "to the remote end", nothing);
    }

private:
    MacAddress guest_of(const sg_flow_key& key) {
        if (order_.guest != MacAddress{}) {
            return order_.guest;
        }
        if (!neighbours_) {
            neighbours_ = neighbours(order_.device.ifindex);
        }
        const auto known = neighbours_->find({reinterpret_cast<const char*>(key.local), address_bytes(key)});
        return known == neighbours_->end() ? MacAddress{} : known->second;
    }

    // All of them, from byte `first` on; one that is sent is enough.
    template <typename To, typename Change>
    Reason send_one_of(const Fd& socket, const std::vector<Frame>& frames, std::size_t first, const To& to,
                       const char* where, Change change) {
        Reason reason = "its sequence number is unknown";
        bool sent = false;
        for (Frame frame : frames) {
            change(frame);
            const auto bytes = ::sendto(socket.get(), &frame[first], frame.size() - first, 0,
                                        reinterpret_cast<const sockaddr*>(&to), sizeof(to));
            reason = bytes < 0 ? std::string(where) + ": " + words_of(errno) : reason;
            sent = sent || bytes >= 0;
        }
        return sent ? Reason() : reason;
    }

    const ResetOrder& order_;
    Fd device_;
    Fd routed4_;
    Fd routed6_;
    std::optional<std::map<std::string, MacAddress>> neighbours_;
};

inet_diag_req_v2 asked_for(const sg_flow_key& key) {
    inet_diag_req_v2 asked{};
    asked.sdiag_family = key.family == SG_IPV6 ? AF_INET6 : AF_INET;
    asked.sdiag_protocol = IPPROTO_TCP;
    asked.idiag_states = ~0U;
    asked.id.idiag_sport = key.local_port;
    asked.id.idiag_dport = key.remote_port;
    std::memcpy(asked.id.idiag_src, key.local, address_bytes(key));
    std::memcpy(asked.id.idiag_dst, key.remote, address_bytes(key));
    asked.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    asked.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return asked;
}

Result<void> ask_sockets(std::uint16_t type, const inet_diag_req_v2& asked,
                         const std::function<void(const nlmsghdr&)>& visit) {
    NetlinkRequest request(type, 0, NETLINK_SOCK_DIAG);
    request.header<inet_diag_req_v2>() = asked;
    return request.ask("close the socket", visit);
}

// The kernel looks for a listener when there is no connection: only the cookie says which socket is meant.
Reason destroy_socket(const sg_flow_key& key) {
    inet_diag_req_v2 asked = asked_for(key);
    bool found = false;
    const auto look = ask_sockets(SOCK_DIAG_BY_FAMILY, asked, [&](const nlmsghdr& message) {
        const auto* socket = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(&message));
        found = socket->idiag_state != kListening && socket->id.idiag_dport == key.remote_port;
        asked.id = socket->id;
    });
    if (!look || !found) {
        return look || look.error().sys_errno == ENOENT ? "this network namespace has no such socket"
                                                        : look.error().message;
    }
    inet_diag_req_v2 closed = asked_for(key);
    std::copy(std::begin(asked.id.idiag_cookie), std::end(asked.id.idiag_cookie), closed.id.idiag_cookie);
    const auto done = ask_sockets(SOCK_DESTROY, closed, [](const nlmsghdr&) {});
    if (done) {
        return {};
    }
    return done.error().sys_errno == EOPNOTSUPP ? "this kernel closes no sockets (CONFIG_INET_DIAG_DESTROY)"
                                                : done.error().message;
}

}  // namespace

ResetsSent send_reset_frames(const ResetOrder& order) {
    FrameSender sender(order);
    ResetsSent report;
    for (const FlowReset& reset : order.flows) {
        const Reason local = sender.tell_local(reset);
        const Reason remote = sender.tell_remote(reset);
        if (local.empty() && remote.empty()) {
            ++report.sent;
        } else {
            report.not_sent(1, local.empty() ? remote : local);
        }
    }
    return report;
}

ResetsSent destroy_sockets(const ResetOrder& order) {
    ResetsSent report;
    for (const FlowReset& reset : order.flows) {
        if (const Reason reason = destroy_socket(reset.key); reason.empty()) {
            ++report.sent;
        } else {
            report.not_sent(1, reason);
        }
    }
    return report;
}

}  // namespace sgbpf
