// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// /etc/sgbpf/host.yaml: what the host's administrator decides, not the tenants (their file is parse.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

// In the order of enum HookChoice.
inline constexpr std::array<std::string_view, 5> kHookNames = {"auto", "native", "generic", "tcx", "clsact"};

// A service of the host that groups never filter (SG-6.4): the requests to it, and their answers.
struct Service {
    std::string vpc = "*";   // name, "*" = every VPC
    Prefix endpoint;         // where it answers, as the workload sees it
    Protocol protocol = 0;   // kTcp, kUdp; kIcmp (of the endpoint's family); kAllProtocols
    std::uint16_t port = 0;  // tcp, udp; else 0
    bool in = true;          // what it sends comes in: its answers
    bool out = true;         // requests to it go out
    std::string comment;
    bool operator==(const Service&) const = default;
};

// What the compiler wants to know of the host besides the sizes of its maps.
struct HostPolicy {
    TrackingOptions tracking;          // defaults for interfaces that do not say
    std::vector<Service> services;     // none until configured
    std::uint32_t exempt_rate = 1024;  // packets a second per interface, direction and kind; 0 = no limit (SG-6.9)
    bool operator==(const HostPolicy&) const = default;
};

// Equal texts: equal policies.
std::string host_policy_words(const HostPolicy& policy);

struct HostConfig {
    Capacities capacities;
    HostPolicy policy;
    std::string bpffs = "/sys/fs/bpf";
    std::string state_dir = "/var/lib/sgbpf";
    std::string hook = "auto";  // one of kHookNames
};

inline constexpr const char* kHostConfigPath = "/etc/sgbpf/host.yaml";

// A missing file is the defaults, unless `required` (the user named it). As strict as the state file;
// all problems of the file are lines of Error::detail, the first is in the message.
Result<HostConfig> load_host_config(const std::string& path, bool required);

}  // namespace sgbpf
