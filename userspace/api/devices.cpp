// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/devices.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "datapath/device_rules.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

bool is_glob(const std::string& name) {
    return name.find_first_of("*?[") != std::string::npos;
}

// Devices of one namespace, with an index by name: a thousand interfaces must not cost a million
// comparisons.
struct Namespace {
    bool exists = true;
    std::vector<Device> devices;
    std::unordered_map<std::string, std::size_t> by_name;
};

std::vector<const Device*> candidates(const Namespace& netns, const DeviceMatch& match) {
    std::vector<const Device*> found;
    if (!match.device.empty() && !is_glob(match.device)) {
        const auto at = netns.by_name.find(match.device);
        if (at != netns.by_name.end() && matches(match, netns.devices[at->second])) {
            found.push_back(&netns.devices[at->second]);
        }
        return found;
    }
    for (const Device& device : netns.devices) {
        if (matches(match, device)) {
            found.push_back(&device);
        }
    }
    return found;
}

Result<Namespace> read_namespace(Datapath& datapath, const std::string& name) {
    Namespace netns;
    auto devices = datapath.devices(name);
    if (!devices) {
        if (!name.empty() && devices.error().code == ErrorCode::kNotFound) {
            netns.exists = false;
            return netns;
        }
        return unexpected(devices.error());
    }
    netns.devices = std::move(*devices);
    for (std::size_t i = 0; i < netns.devices.size(); ++i) {
        netns.by_name.emplace(netns.devices[i].name, i);
    }
    return netns;
}

}  // namespace

bool matches(const DeviceMatch& match, const Device& device) {
    if (match.device.empty() && !match.mac && match.alias.empty()) {
        return false;
    }
    return (match.device.empty() || ::fnmatch(match.device.c_str(), device.name.c_str(), 0) == 0) &&
           (!match.mac || *match.mac == device.mac) && (match.alias.empty() || match.alias == device.alias);
}

bool same_device(const Device& a, const Device& b) {
    return a.ifindex != 0 && a.ifindex == b.ifindex && a.netns == b.netns;
}

std::string adopting_words(std::uint32_t seconds) {
    return seconds == 0 ? "" : fmt::format(", adopting existing connections for {} s", seconds);
}

std::string device_words(const Device& device) {
    return device.netns.empty() ? device.name : device.name + " in netns " + device.netns;
}

Result<DeviceSearch> find_devices(Datapath& datapath, const std::map<std::string, Interface>& interfaces) {
    DeviceSearch search;
    std::map<std::string, Namespace> namespaces;
    std::map<std::pair<std::string, int>, std::string> taken;  // device -> interface
    for (const auto& [name, interface] : interfaces) {
        const DeviceMatch& match = interface.match;
        auto netns = namespaces.find(match.netns);
        if (netns == namespaces.end()) {
            auto read = read_namespace(datapath, match.netns);
            if (!read) {
                return unexpected(read.error());
            }
            netns = namespaces.emplace(match.netns, std::move(*read)).first;
        }
        if (!netns->second.exists) {
            search.waiting[name] = "no network namespace " + match.netns;
            continue;
        }
        const std::vector<const Device*> found = candidates(netns->second, match);
        if (found.empty()) {
            search.waiting[name] = "no device " + match_text(match);
            continue;
        }
        if (found.size() > 1) {
            constexpr std::size_t kShown = 5;
            std::string names;
            for (std::size_t i = 0; i < std::min(kShown, found.size()); ++i) {
                names += (i == 0 ? "" : ", ") + found[i]->name;
            }
            search.problems.push_back(
                make_error(ErrorCode::kInvalid,
                           fmt::format("interface {}: {} devices match {}: {}{}; say which one", name, found.size(),
                                       match_text(match), names, found.size() > kShown ? " ..." : "")));
            continue;
        }
        const Device& device = *found.front();
        const auto [other, fresh] = taken.emplace(std::pair(device.netns, device.ifindex), name);
        if (!fresh) {
            search.problems.push_back(make_error(
                ErrorCode::kInvalid, fmt::format("interfaces {} and {} both match {}; a device belongs to one",
                                                 other->second, name, device_words(device))));
            continue;
        }
        if (auto suitable = check_device(interface.role, device); !suitable) {
            Error error = suitable.error();
            error.message = fmt::format("interface {}: {}", name, error.message);
            search.problems.push_back(std::move(error));
            continue;
        }
        search.found.emplace(name, device);
    }
    return search;
}

}  // namespace sgbpf
