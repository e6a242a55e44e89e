// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// /etc/sgbpf/host.yaml: what the host's administrator decides, not the tenants (their file is parse.hpp).
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

// In the order of enum HookChoice.
inline constexpr std::array<std::string_view, 5> kHookNames = {"auto", "native", "generic", "tcx", "clsact"};

struct HostConfig {
    Capacities capacities;
    std::string bpffs = "/sys/fs/bpf";
    std::string state_dir = "/var/lib/sgbpf";
    std::string hook = "auto";  // one of kHookNames
};

inline constexpr const char* kHostConfigPath = "/etc/sgbpf/host.yaml";

// A missing file is the defaults, unless `required` (the user named it). As strict as the state file;
// all problems of the file are lines of Error::detail, the first is in the message.
Result<HostConfig> load_host_config(const std::string& path, bool required);

}  // namespace sgbpf
