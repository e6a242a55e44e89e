// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The Datapath that talks to the running kernel: pinned maps, programs, links. No libbpf in sight here,
// so that callers compile and link without knowing it.
#pragma once

#include <memory>
#include <string>

#include "datapath/datapath.hpp"

namespace sgbpf {

struct KernelOptions {
    std::string bpffs = "/sys/fs/bpf";     // where pins live: <bpffs>/sgbpf/v<SG_ABI_VERSION>/
    std::string netns_dir = "/run/netns";  // where network namespaces have names
    bool mount_default_bpffs = true;       // mount /sys/fs/bpf when it is named and not mounted
};

// Touches nothing: the first call of open() or is_empty() does. One object serves one thread.
std::unique_ptr<Datapath> make_kernel_datapath(KernelOptions options);

}  // namespace sgbpf
