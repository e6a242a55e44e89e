// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/clsact.hpp"

#include <cerrno>
#include <cstring>

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "datapath/features.hpp"
#include "datapath/libbpf_words.hpp"
#include "datapath/netlink.hpp"

namespace sgbpf {

namespace {

constexpr std::uint32_t kIngressParent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr std::uint32_t kEgressParent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

bpf_tc_hook tc_hook(int ifindex, bpf_tc_attach_point point) {
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = ifindex;
    hook.attach_point = point;
    return hook;
}

constexpr bpf_tc_attach_point attach_point(Hook hook) {
    return hook == Hook::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

constexpr const char* words_of(Hook hook) {
    return hook == Hook::kIngress ? "ingress" : "egress";
}

template <typename Visit> void each_attribute(const void* begin, const void* end, Visit visit) {
    for (const auto* attribute = static_cast<const nlattr*>(begin); mnl_attr_ok(
             attribute, static_cast<int>(static_cast<const char*>(end) - reinterpret_cast<const char*>(attribute)));
         attribute = mnl_attr_next(attribute)) {
        visit(*attribute);
    }
}

std::string text_of(const nlattr& attribute) {
    const auto* begin = static_cast<const char*>(mnl_attr_get_payload(&attribute));
    return std::string(begin, ::strnlen(begin, mnl_attr_get_payload_len(&attribute)));
}

template <typename Visit> void each_tc_attribute(const nlmsghdr& message, Visit visit) {
    each_attribute(mnl_nlmsg_get_payload_offset(&message, sizeof(tcmsg)), mnl_nlmsg_get_payload_tail(&message), visit);
}

TcFilter describe(const nlmsghdr& message, std::uint32_t& chain) {
    TcFilter filter;
    const auto* header = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(&message));
    filter.preference = TC_H_MAJ(header->tcm_info) >> 16;
    filter.handle = header->tcm_handle;
    const nlattr* options = nullptr;
    each_tc_attribute(message, [&](const nlattr& attribute) {
        switch (mnl_attr_get_type(&attribute)) {
            case TCA_KIND:
                filter.kind = text_of(attribute);
                break;
            case TCA_CHAIN:
                chain = mnl_attr_get_u32(&attribute);
                break;
            case TCA_OPTIONS:
                options = &attribute;
                break;
            default:
                break;
        }
    });
    filter.name = filter.kind;
    if (filter.kind == "bpf" && options != nullptr) {
        const auto* begin = static_cast<const char*>(mnl_attr_get_payload(options));
        each_attribute(begin, begin + mnl_attr_get_payload_len(options), [&](const nlattr& attribute) {
            if (mnl_attr_get_type(&attribute) == TCA_BPF_NAME) {
                filter.name = text_of(attribute);
            } else if (mnl_attr_get_type(&attribute) == TCA_BPF_ID) {
                filter.program_id = mnl_attr_get_u32(&attribute);
            }
        });
    }
    return filter;
}

// Kind of the qdisc where clsact belongs; empty = none.
Result<std::string> ingress_qdisc(int ifindex) {
    NetlinkRequest request(RTM_GETQDISC, NLM_F_DUMP);
    request.header<tcmsg>().tcm_ifindex = ifindex;
    std::string kind;
    auto asked = request.ask(fmt::format("list the qdiscs of ifindex {}", ifindex), [&](const nlmsghdr& message) {
        const auto* header = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(&message));
        if (header->tcm_ifindex == ifindex && header->tcm_parent == TC_H_CLSACT) {
            each_tc_attribute(message, [&kind](const nlattr& attribute) {
                if (mnl_attr_get_type(&attribute) == TCA_KIND) {
                    kind = text_of(attribute);
                }
            });
        }
    });
    if (!asked) {
        return unexpected(asked.error());
    }
    return kind;
}

}  // namespace

Result<std::vector<TcFilter>> tc_filters(int ifindex, Hook hook) {
    NetlinkRequest request(RTM_GETTFILTER, NLM_F_DUMP);
    auto& header = request.header<tcmsg>();
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = ifindex;
    header.tcm_parent = hook == Hook::kIngress ? kIngressParent : kEgressParent;
    std::vector<TcFilter> filters;
    auto asked = request.ask(fmt::format("list the {} filters of ifindex {}", words_of(hook), ifindex),
                             [&filters](const nlmsghdr& message) {
                                 std::uint32_t chain = 0;
                                 TcFilter filter = describe(message, chain);
                                 // Handle 0 announces the filters of one preference; it is none itself.
                                 if (chain == 0 && filter.handle != 0) {
                                     filters.push_back(std::move(filter));
                                 }
                             });
    if (!asked) {
        return unexpected(asked.error());
    }
    return filters;
}

Result<void> clsact_ensure(int ifindex) {
    auto present = ingress_qdisc(ifindex);
    if (!present) {
        return unexpected(present.error());
    }
    if (*present == "clsact") {
        return {};
    }
    if (!present->empty()) {
        return unexpected(make_error(
            ErrorCode::kRefused,
            fmt::format(
                "the device has an `{}` qdisc, which excludes the clsact qdisc that sgbpf needs on this kernel; "
                "remove it (tc qdisc del dev DEVICE {}) with whatever uses it",
                *present, *present)));
    }
    const LibbpfWords words;
    auto hook = tc_hook(ifindex, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    const int failed = bpf_tc_hook_create(&hook);
    if (failed != 0 && failed != -EEXIST) {  // EEXIST: someone else was faster
        Error error = kernel_error(fmt::format("create the clsact qdisc of ifindex {}", ifindex), -failed);
        error.detail = words.last_lines(5);
        return unexpected(std::move(error));
    }
    return {};
}

Result<void> clsact_attach(int ifindex, Hook hook, int program_fd, bool replace) {
    const LibbpfWords words;
    const auto at = tc_hook(ifindex, attach_point(hook));
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = program_fd;
    options.handle = kOurHandle;
    options.priority = kOurPreference;
    options.flags = replace ? BPF_TC_F_REPLACE : 0;
    const int failed = bpf_tc_attach(&at, &options);
    if (failed != 0) {
        Error error = kernel_error(fmt::format("attach to clsact {} of ifindex {}", words_of(hook), ifindex), -failed);
        error.detail = words.last_lines(5);
        return unexpected(std::move(error));
    }
    return {};
}

Result<void> clsact_detach(int ifindex, Hook hook) {
    const LibbpfWords words;
    const auto at = tc_hook(ifindex, attach_point(hook));
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.handle = kOurHandle;
    options.priority = kOurPreference;
    const int failed = bpf_tc_detach(&at, &options);
    // No such filter, no such qdisc, no such device.
    if (failed != 0 && failed != -ENOENT && failed != -EINVAL && failed != -ENODEV) {
        return unexpected(
            kernel_error(fmt::format("detach from clsact {} of ifindex {}", words_of(hook), ifindex), -failed));
    }
    return {};
}

Result<void> clsact_remove_if_empty(int ifindex) {
    auto kind = ingress_qdisc(ifindex);
    if (!kind || *kind != "clsact") {
        return {};
    }
    for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
        auto filters = tc_filters(ifindex, hook);
        if (!filters || !filters->empty()) {
            return {};
        }
    }
    const LibbpfWords words;
    auto hook = tc_hook(ifindex, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    const int failed = bpf_tc_hook_destroy(&hook);
    if (failed != 0 && failed != -ENOENT && failed != -EINVAL && failed != -ENODEV) {
        return unexpected(kernel_error(fmt::format("remove the clsact qdisc of ifindex {}", ifindex), -failed));
    }
    return {};
}

}  // namespace sgbpf
