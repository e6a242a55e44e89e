// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Which devices of the calling thread's namespace carry packets between two addresses, as rtnetlink says.
#include <algorithm>
#include <cstring>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "datapath/device_rules.hpp"
#include "datapath/devices.hpp"
#include "datapath/netlink.hpp"

namespace sgbpf {

namespace {

std::span<const std::uint8_t> bytes_of(const Address& address) {
    return std::span(address.bytes).first(address.family == Family::kIpv4 ? 4 : 16);
}

unsigned char family_of(const Address& address) {
    return address.family == Family::kIpv4 ? AF_INET : AF_INET6;
}

// Attributes of a message with a header of type Header.
template <typename Header, typename Visit> void each_attribute(const nlmsghdr& message, Visit visit) {
    const auto* end = static_cast<const char*>(mnl_nlmsg_get_payload_tail(&message));
    for (const auto* one = static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(&message, sizeof(Header)));
         mnl_attr_ok(one, static_cast<int>(end - reinterpret_cast<const char*>(one))); one = mnl_attr_next(one)) {
        visit(*one);
    }
}

bool holds(const nlattr& attribute, const Address& address) {
    const auto bytes = bytes_of(address);
    return mnl_attr_get_payload_len(&attribute) == bytes.size() &&
           std::memcmp(mnl_attr_get_payload(&attribute), bytes.data(), bytes.size()) == 0;
}

Result<void> add_owner(const Address& local, std::vector<int>& found) {
    NetlinkRequest request(RTM_GETADDR, NLM_F_DUMP);
    request.header<ifaddrmsg>().ifa_family = family_of(local);
    return request.ask("list the addresses of this host", [&](const nlmsghdr& message) {
        const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&message));
        each_attribute<ifaddrmsg>(message, [&](const nlattr& attribute) {
            const auto type = mnl_attr_get_type(&attribute);
            if ((type == IFA_LOCAL || type == IFA_ADDRESS) && holds(attribute, local)) {
                found.push_back(static_cast<int>(info->ifa_index));
            }
        });
    });
}

// No route is no error: then packets cannot leave anyway. False: the kernel knows none.
bool add_route(const Address* local, const Address& peer, std::vector<int>& found) {
    NetlinkRequest request(RTM_GETROUTE, 0);
    auto& header = request.header<rtmsg>();
    header.rtm_family = family_of(peer);
    header.rtm_dst_len = static_cast<unsigned char>(bytes_of(peer).size() * 8);
    request.attribute(RTA_DST, bytes_of(peer));
    if (local != nullptr) {
        header.rtm_src_len = static_cast<unsigned char>(bytes_of(*local).size() * 8);
        request.attribute(RTA_SRC, bytes_of(*local));
    }
    const auto asked = request.ask("find the route", [&](const nlmsghdr& message) {
        each_attribute<rtmsg>(message, [&](const nlattr& attribute) {
            if (mnl_attr_get_type(&attribute) == RTA_OIF) {
                found.push_back(static_cast<int>(mnl_attr_get_u32(&attribute)));
            }
        });
    });
    return asked.has_value();
}

Result<std::vector<DeviceLink>> device_links() {
    NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
    request.header<ifinfomsg>().ifi_family = AF_UNSPEC;
    std::vector<DeviceLink> links;
    auto asked = request.ask("list the network devices", [&](const nlmsghdr& message) {
        const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
        DeviceLink one{.ifindex = info->ifi_index};
        each_attribute<ifinfomsg>(message, [&](const nlattr& attribute) {
            if (mnl_attr_get_type(&attribute) == IFLA_LINK) {
                one.link = static_cast<int>(mnl_attr_get_u32(&attribute));
            } else if (mnl_attr_get_type(&attribute) == IFLA_LINK_NETNSID) {
                one.elsewhere = true;
            }
        });
        links.push_back(one);
    });
    if (!asked) {
        return unexpected(asked.error());
    }
    return links;
}

}  // namespace

Result<std::vector<int>> find_devices_between(const Address& local, const Address& peer) {
    std::vector<int> found;
    if (auto owner = add_owner(local, found); !owner) {
        return unexpected(owner.error());
    }
    // An address that is not this host's (a container's, behind NAT) has no route of its own.
    if (!add_route(&local, peer, found)) {
        add_route(nullptr, peer, found);
    }
    auto links = device_links();
    if (!links) {
        return unexpected(links.error());
    }
    const auto lower = lower_devices(*links);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto below = lower.find(found[i]);
        if (below != lower.end() && std::find(found.begin(), found.end(), below->second) == found.end()) {
            found.push_back(below->second);
        }
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

}  // namespace sgbpf
