// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/devices.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "datapath/netlink.hpp"

namespace sgbpf {

namespace {

struct Described {
    Device device;
    int master = 0;  // ifindex, 0 = none
};

// devlink port names (net/devlink): "pf0vf3", "c1pf0vf3", "pf0sf88"; a physical port is "p0".
bool names_representor(const std::string& port_name) {
    const auto pf = port_name.find("pf");
    return pf != std::string::npos &&
           (port_name.find("vf", pf) != std::string::npos || port_name.find("sf", pf) != std::string::npos);
}

// Attributes of a message behind `header_bytes`, or those nested in one of them.
template <typename Visit> void each_attribute(const nlmsghdr& message, Visit visit) {
    for (const nlattr* attribute =
             static_cast<const nlattr*>(mnl_nlmsg_get_payload_offset(&message, sizeof(ifinfomsg)));
         mnl_attr_ok(attribute, static_cast<int>(static_cast<const char*>(mnl_nlmsg_get_payload_tail(&message)) -
                                                 reinterpret_cast<const char*>(attribute)));
         attribute = mnl_attr_next(attribute)) {
        visit(*attribute);
    }
}

std::string text_of(const nlattr& attribute) {
    const auto* begin = static_cast<const char*>(mnl_attr_get_payload(&attribute));
    return std::string(begin, ::strnlen(begin, mnl_attr_get_payload_len(&attribute)));
}

template <typename Visit> void each_nested(const nlattr& parent, Visit visit) {
    const auto* end = static_cast<const char*>(mnl_attr_get_payload(&parent)) + mnl_attr_get_payload_len(&parent);
    for (const auto* nested = static_cast<const nlattr*>(mnl_attr_get_payload(&parent));
         mnl_attr_ok(nested, static_cast<int>(end - reinterpret_cast<const char*>(nested)));
         nested = mnl_attr_next(nested)) {
        visit(*nested);
    }
}

std::string link_kind(const nlattr& info) {
    std::string kind;
    each_nested(info, [&kind](const nlattr& nested) {
        if (mnl_attr_get_type(&nested) == IFLA_INFO_KIND) {
            kind = text_of(nested);
        }
    });
    return kind;
}

std::vector<XdpProgram> xdp_programs(const nlattr& xdp) {
    std::vector<XdpProgram> programs;
    each_nested(xdp, [&programs](const nlattr& nested) {
        switch (mnl_attr_get_type(&nested)) {
            case IFLA_XDP_DRV_PROG_ID:
                programs.push_back({XdpMode::kNative, mnl_attr_get_u32(&nested)});
                break;
            case IFLA_XDP_SKB_PROG_ID:
                programs.push_back({XdpMode::kGeneric, mnl_attr_get_u32(&nested)});
                break;
            case IFLA_XDP_HW_PROG_ID:
                programs.push_back({XdpMode::kOffloaded, mnl_attr_get_u32(&nested)});
                break;
            default:
                break;
        }
    });
    return programs;
}

Described describe(const nlmsghdr& message, const std::string& netns) {
    Described found;
    Device& device = found.device;
    const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
    device.netns = netns;
    device.ifindex = info->ifi_index;
    device.hardware_type = info->ifi_type;
    device.is_loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
    each_attribute(message, [&](const nlattr& attribute) {
        switch (mnl_attr_get_type(&attribute)) {
            case IFLA_IFNAME:
                device.name = text_of(attribute);
                break;
            case IFLA_IFALIAS:
                device.alias = text_of(attribute);
                break;
            case IFLA_LINKINFO:
                device.kind = link_kind(attribute);
                break;
            case IFLA_MASTER:
                found.master = static_cast<int>(mnl_attr_get_u32(&attribute));
                break;
            case IFLA_ADDRESS:
                if (mnl_attr_get_payload_len(&attribute) == device.mac.bytes.size()) {
                    std::memcpy(device.mac.bytes.data(), mnl_attr_get_payload(&attribute), device.mac.bytes.size());
                }
                break;
            case IFLA_PHYS_PORT_NAME:
                device.is_representor = names_representor(text_of(attribute));
                break;
            case IFLA_XDP:
                device.xdp = xdp_programs(attribute);
                break;
            default:
                break;
        }
    });
    return found;
}

Result<Described> describe_one(int ifindex, const std::string& netns) {
    NetlinkRequest request(RTM_GETLINK, 0);
    request.header<ifinfomsg>().ifi_index = ifindex;
    Described found;
    auto asked = request.ask(fmt::format("read the device with ifindex {}", ifindex),
                             [&](const nlmsghdr& message) { found = describe(message, netns); });
    if (!asked) {
        return unexpected(asked.error());
    }
    return found;
}

}  // namespace

Result<std::vector<Device>> list_devices(const std::string& netns) {
    NetlinkRequest request(RTM_GETLINK, NLM_F_DUMP);
    request.header<ifinfomsg>().ifi_family = AF_UNSPEC;
    std::vector<Described> found;
    auto asked = request.ask("list the network devices",
                             [&](const nlmsghdr& message) { found.push_back(describe(message, netns)); });
    if (!asked) {
        return unexpected(asked.error());
    }
    std::map<int, std::string> kinds;
    for (const Described& one : found) {
        kinds[one.device.ifindex] = one.device.kind;
    }
    std::vector<Device> devices;
    for (Described& one : found) {
        if (one.master != 0) {
            one.device.master_kind = kinds[one.master];
        }
        devices.push_back(std::move(one.device));
    }
    std::sort(devices.begin(), devices.end(), [](const Device& a, const Device& b) { return a.ifindex < b.ifindex; });
    return devices;
}

Result<Device> device_by_ifindex(int ifindex, const std::string& netns) {
    auto found = describe_one(ifindex, netns);
    if (!found) {
        return unexpected(found.error());
    }
    if (found->master != 0) {
        auto master = describe_one(found->master, netns);
        // The master may vanish between the two questions; then there is none.
        found->device.master_kind = master ? master->device.kind : std::string();
    }
    return found->device;
}

}  // namespace sgbpf
