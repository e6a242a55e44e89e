// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Questions to rtnetlink (and to sock_diag) through libmnl, in the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <linux/netlink.h>
#include <sgbpf/result.hpp>

namespace sgbpf {

// A message of one type with a fixed header, e.g. RTM_GETLINK and ifinfomsg; attributes may follow.
class NetlinkRequest {
public:
    NetlinkRequest(std::uint16_t type, std::uint16_t flags, int bus = NETLINK_ROUTE);
    template <typename Header> Header& header() { return *static_cast<Header*>(extra_header(sizeof(Header))); }
    void attribute(std::uint16_t type, const std::string& text);
    void attribute(std::uint16_t type, std::span<const std::uint8_t> bytes);

    // Sends it and shows every answer to `visit`. Error: the kernel's errno, `what` names the action.
    Result<void> ask(const std::string& what, const std::function<void(const nlmsghdr&)>& visit);

private:
    void* extra_header(std::size_t bytes);
    int bus_;
    std::vector<char> buffer_;
};

}  // namespace sgbpf
