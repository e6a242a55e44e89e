// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/netlink.hpp"

#include <cerrno>
#include <ctime>
#include <memory>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "datapath/features.hpp"

namespace sgbpf {

namespace {

// Kernels fill dumps up to 32 KiB when the reader's buffer has room.
constexpr std::size_t kAnswerBytes = 32768;
constexpr std::size_t kRequestBytes = 1024;

struct CloseSocket {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};

int show(const nlmsghdr* message, void* visit) {
    (*static_cast<const std::function<void(const nlmsghdr&)>*>(visit))(*message);
    return MNL_CB_OK;
}

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags, int bus) : bus_(bus), buffer_(kRequestBytes) {
    nlmsghdr* message = mnl_nlmsg_put_header(buffer_.data());
    message->nlmsg_type = type;
    message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    message->nlmsg_seq = static_cast<std::uint32_t>(std::time(nullptr));
}

void* NetlinkRequest::extra_header(std::size_t bytes) {
    return mnl_nlmsg_put_extra_header(reinterpret_cast<nlmsghdr*>(buffer_.data()), bytes);
}

void NetlinkRequest::attribute(std::uint16_t type, const std::string& text) {
    mnl_attr_put_strz(reinterpret_cast<nlmsghdr*>(buffer_.data()), type, text.c_str());
}

void NetlinkRequest::attribute(std::uint16_t type, std::span<const std::uint8_t> bytes) {
    mnl_attr_put(reinterpret_cast<nlmsghdr*>(buffer_.data()), type, bytes.size(), bytes.data());
}

Result<void> NetlinkRequest::ask(const std::string& what, const std::function<void(const nlmsghdr&)>& visit) {
    const std::unique_ptr<mnl_socket, CloseSocket> socket(mnl_socket_open2(bus_, SOCK_CLOEXEC));
    if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) != 0) {
        return unexpected(kernel_error(what, errno));
    }
    auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data());
    const bool dump = (message->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (!dump) {
        message->nlmsg_flags |= NLM_F_ACK;  // ends the answers, as NLMSG_DONE ends a dump
    }
    if (mnl_socket_sendto(socket.get(), message, message->nlmsg_len) < 0) {
        return unexpected(kernel_error(what, errno));
    }
    std::vector<char> answer(kAnswerBytes);
    auto visitor = visit;
    for (;;) {
        const auto bytes = mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
        if (bytes < 0) {
            return unexpected(kernel_error(what, errno));
        }
        const int more = mnl_cb_run(answer.data(), static_cast<std::size_t>(bytes), message->nlmsg_seq,
                                    mnl_socket_get_portid(socket.get()), show, &visitor);
        if (more < 0) {
            return unexpected(kernel_error(what, errno));
        }
        if (more == MNL_CB_STOP) {
            return {};
        }
    }
}

}  // namespace sgbpf
