// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/grace.hpp"

#include <cerrno>

#include <bpf/bpf.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.hpp"
#include "datapath/features.hpp"

namespace sgbpf {

// MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c, Linux 4.3 to 6.18). It fails with
// ENOSYS without CONFIG_MEMBARRIER and with EINVAL on a kernel with nohz_full CPUs.
Result<void> grace_by_membarrier() {
    if (::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0) {
        return unexpected(kernel_error("wait for a grace period by membarrier", errno));
    }
    return {};
}

// Replacing the inner map of a map of maps from user space returns after synchronize_rcu(), so that the
// caller knows that no program uses the old one (kernel/bpf/syscall.c, maybe_wait_bpf_programs, since
// Linux 4.20). Nobody looks at these two maps; the wait is what they are for.
Result<void> grace_by_map_in_map() {
    const Fd inner(bpf_map_create(BPF_MAP_TYPE_ARRAY, "sg_grace_inner", 4, 4, 1, nullptr));
    if (!inner.valid()) {
        return unexpected(kernel_error("make a map to wait with", errno));
    }
    bpf_map_create_opts options{};
    options.sz = sizeof(options);
    options.inner_map_fd = static_cast<std::uint32_t>(inner.get());
    const Fd outer(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "sg_grace", 4, 4, 1, &options));
    if (!outer.valid()) {
        return unexpected(kernel_error("make a map of maps to wait with", errno));
    }
    const std::uint32_t zero = 0;
    const int inner_fd = inner.get();
    if (bpf_map_update_elem(outer.get(), &zero, &inner_fd, BPF_ANY) != 0) {
        return unexpected(kernel_error("wait for a grace period by a map of maps", errno));
    }
    return {};
}

Result<void> wait_rcu_grace_period() {
    auto waited = grace_by_membarrier();
    if (!waited && (waited.error().sys_errno == ENOSYS || waited.error().sys_errno == EINVAL)) {
        return grace_by_map_in_map();
    }
    return waited;
}

}  // namespace sgbpf
