// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/raw_bpf.hpp"

#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datapath/features.hpp"

namespace sgbpf {

namespace {

// include/uapi/linux/bpf.h of Linux 6.6: enum bpf_attach_type, enum bpf_link_type, mprog flags.
constexpr std::uint32_t kAttachTcxIngress = 46;
constexpr std::uint32_t kAttachTcxEgress = 47;
constexpr std::uint32_t kFlagBefore = 1U << 3;
constexpr std::uint32_t kFlagReplace = 1U << 2;
// Most programs a tcx hook can hold (include/linux/bpf_mprog.h, BPF_MPROG_MAX).
constexpr std::size_t kMaxHookPrograms = 64;

constexpr std::uint32_t attach_type(Hook hook) {
    return hook == Hook::kIngress ? kAttachTcxIngress : kAttachTcxEgress;
}

// The parts of union bpf_attr that 6.6 added; a shorter union is padded with zeros by the kernel.
struct LinkCreateAttr {
    std::uint32_t prog_fd;
    std::uint32_t target_ifindex;
    std::uint32_t attach_type;
    std::uint32_t flags;
    std::uint32_t relative_fd;
    std::uint32_t pad;
    std::uint64_t expected_revision;
};

struct QueryAttr {
    std::uint32_t target_ifindex;
    std::uint32_t attach_type;
    std::uint32_t query_flags;
    std::uint32_t attach_flags;
    std::uint64_t prog_ids;
    std::uint32_t count;
    std::uint32_t pad;
    std::uint64_t prog_attach_flags;
    std::uint64_t link_ids;
    std::uint64_t link_attach_flags;
    std::uint64_t revision;
};

// tcx (6.6) and XDP (5.9) tell the ifindex at the same place.
struct LinkInfoRecord {
    std::uint32_t type;
    std::uint32_t id;
    std::uint32_t prog_id;
    std::uint32_t pad0;
    std::uint32_t ifindex;
    std::uint32_t attach_type;
    std::uint64_t pad1[4];
};

template <typename Attr> long bpf_call(bpf_cmd command, Attr& attr) {
    return ::syscall(SYS_bpf, command, &attr, sizeof(attr));
}

}  // namespace

Result<ProgramInfo> program_info(int program_fd) {
    // Two calls: the first tells how many maps the program uses.
    bpf_prog_info record{};
    std::uint32_t size = sizeof(record);
    if (bpf_obj_get_info_by_fd(program_fd, &record, &size) != 0) {
        return unexpected(kernel_error("read what a program is", errno));
    }
    ProgramInfo info;
    info.id = record.id;
    info.name = record.name;
    for (const auto byte : record.tag) {
        info.tag += fmt::format("{:02x}", byte);
    }
    info.map_ids.resize(record.nr_map_ids);
    bpf_prog_info again{};
    again.nr_map_ids = record.nr_map_ids;
    again.map_ids = reinterpret_cast<std::uintptr_t>(info.map_ids.data());
    size = sizeof(again);
    if (bpf_obj_get_info_by_fd(program_fd, &again, &size) != 0) {
        return unexpected(kernel_error("read which maps a program uses", errno));
    }
    return info;
}

Result<Fd> program_by_id(std::uint32_t id) {
    Fd fd(bpf_prog_get_fd_by_id(id));
    if (!fd.valid()) {
        return unexpected(kernel_error(fmt::format("open program {}", id), errno));
    }
    return fd;
}

Result<ProgramInfo> program_info_by_id(std::uint32_t id) {
    auto fd = program_by_id(id);
    if (!fd) {
        return unexpected(fd.error());
    }
    return program_info(fd->get());
}

Result<LinkInfo> link_info(int link_fd) {
    LinkInfoRecord record{};
    std::uint32_t size = sizeof(record);
    if (bpf_obj_get_info_by_fd(link_fd, &record, &size) != 0) {
        return unexpected(kernel_error("read what a link is", errno));
    }
    return LinkInfo{record.id, record.type, record.prog_id, record.ifindex};
}

bool is_xdp(const LinkInfo& link) {
    return link.type == BPF_LINK_TYPE_XDP;
}

Result<std::vector<HookProgram>> tcx_programs(int ifindex, Hook hook) {
    std::uint32_t programs[kMaxHookPrograms] = {};
    std::uint32_t links[kMaxHookPrograms] = {};
    QueryAttr attr{};
    attr.target_ifindex = static_cast<std::uint32_t>(ifindex);
    attr.attach_type = attach_type(hook);
    attr.prog_ids = reinterpret_cast<std::uintptr_t>(&programs[0]);
    attr.link_ids = reinterpret_cast<std::uintptr_t>(&links[0]);
    attr.count = kMaxHookPrograms;
    if (bpf_call(BPF_PROG_QUERY, attr) != 0) {
        // Before 6.6: EINVAL for the attach type, or E2BIG for the longer union.
        if (errno == EINVAL || errno == E2BIG) {
            return unexpected(make_error(ErrorCode::kUnsupported,
                                         fmt::format("kernel {} has no tcx (it came with 6.6)", kernel_release()),
                                         errno));
        }
        return unexpected(kernel_error(fmt::format("list the tcx programs of ifindex {}", ifindex), errno));
    }
    std::vector<HookProgram> found;
    for (std::size_t i = 0; i < attr.count && i < kMaxHookPrograms; ++i) {
        found.push_back({programs[i], links[i]});
    }
    return found;
}

Result<Fd> tcx_attach_first(int program_fd, int ifindex, Hook hook) {
    LinkCreateAttr attr{};
    attr.prog_fd = static_cast<std::uint32_t>(program_fd);
    attr.target_ifindex = static_cast<std::uint32_t>(ifindex);
    attr.attach_type = attach_type(hook);
    attr.flags = kFlagBefore;  // without a relative program: before all
    Fd link(static_cast<int>(bpf_call(BPF_LINK_CREATE, attr)));
    if (!link.valid()) {
        return unexpected(kernel_error(
            fmt::format("attach to tcx {} of ifindex {}", hook == Hook::kIngress ? "ingress" : "egress", ifindex),
            errno));
    }
    return link;
}

Result<Fd> xdp_attach(int program_fd, int ifindex, bool native) {
    bpf_link_create_opts options{};
    options.sz = sizeof(options);
    options.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    Fd link(bpf_link_create(program_fd, ifindex, BPF_XDP, &options));
    if (!link.valid()) {
        const int failed = errno;
        const bool taken = failed == EEXIST || failed == EBUSY;
        return unexpected(
            kernel_error(fmt::format("attach to XDP ({}) of ifindex {}{}", native ? "native" : "generic", ifindex,
                                     taken ? ", where another XDP program is (remove it, or --hook tcx)" : ""),
                         failed));
    }
    return link;
}

Result<void> replace_program(int link_fd, int new_program_fd, int old_program_fd) {
    bpf_link_update_opts options{};
    options.sz = sizeof(options);
    options.flags = kFlagReplace;
    options.old_prog_fd = static_cast<std::uint32_t>(old_program_fd);
    const int failed = bpf_link_update(link_fd, new_program_fd, &options);
    if (failed != 0) {
        return unexpected(kernel_error("replace the program of a link", -failed));
    }
    return {};
}

}  // namespace sgbpf
