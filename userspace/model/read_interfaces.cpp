// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Interfaces: device match, addresses, groups, timeouts.
#include "base/strings.hpp"
#include "model/state_reader.hpp"
#include "model/text.hpp"
#include "model/tracking.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kMaxGroups = 16;      // section 7: hard limit of groups per interface
constexpr std::size_t kMaxDeviceName = 15;  // IFNAMSIZ - 1, linux/if.h
constexpr std::size_t kMaxAlias = 255;      // IFALIASZ - 1, linux/if.h
constexpr std::size_t kMaxNetnsName = 255;  // NAME_MAX, linux/limits.h
constexpr std::array<std::string_view, 2> kRoles = {"workload", "host"};

// Why a workload cannot have this address; nullptr if it can.
const char* address_problem(const Prefix& prefix) {
    const auto& bytes = prefix.address.bytes;
    if (prefix.is_any()) {
        return "every address cannot belong to one interface";
    }
    if (prefix.address == Address{prefix.family(), {}}) {
        return "is the unspecified address";
    }
    const bool multicast = prefix.family() == Family::kIpv4 ? (bytes[0] & 0xf0U) == 0xe0U : bytes[0] == 0xffU;
    if (multicast) {
        return "is a multicast address";
    }
    if (prefix.family() == Family::kIpv4 && bytes[0] == 255 && bytes[1] == 255 && bytes[2] == 255 && bytes[3] == 255) {
        return "is the broadcast address";
    }
    return nullptr;
}

bool is_link_local(const Prefix& prefix) {
    const auto& bytes = prefix.address.bytes;
    return prefix.family() == Family::kIpv4 ? bytes[0] == 169 && bytes[1] == 254
                                            : bytes[0] == 0xfe && (bytes[1] & 0xc0U) == 0x80U;
}

std::string device_problem(std::string_view device) {
    if (device.empty()) {
        return "must not be empty";
    }
    const bool glob = device.find_first_of("*?[") != std::string_view::npos;
    if (!glob && device.size() > kMaxDeviceName) {
        return fmt::format("\"{}\" is longer than {} characters, the most a device name has", printable(device),
                           kMaxDeviceName);
    }
    const bool bad = std::any_of(device.begin(), device.end(), [](char c) {
        return c == '/' || c == ':' || static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
    });
    if (bad || device.size() > kMaxAlias || device == "." || device == "..") {
        return fmt::format("\"{}\" cannot be the name of a device", printable(device));
    }
    return {};
}

}  // namespace

void StateReader::read_interfaces(const YamlNode& node, const Path& path) {
    for (const NamedNode& entry : named_entries({node, path}, "interfaces", report_)) {
        read_interface(entry, path / entry.name);
    }
    check_addresses_unique();
    check_matches_unique(node, path);
}

void StateReader::read_interface(const NamedNode& entry, const Path& path) {
    Interface interface;
    interface.name = entry.name;
    const bool good = check_name(entry, path);
    Fields fields(*entry.value, path,
                  {"vpc", "role", "match", "mac", "addresses", "allowed_addresses", "groups", "source_dest_check",
                   "timeouts", "tracking", "id"},
                  report_);
    read_object_id(fields, "eni-", path, interface.id);
    const Vpc* vpc = nullptr;
    if (const YamlNode* node = fields.require("vpc", "; name the VPC of the interface")) {
        const Path here = path / "vpc";
        vpc = read_vpc_name({*node, here});
    }
    interface.vpc = vpc == nullptr ? "" : vpc->name;
    if (const YamlNode* node = fields.find("role")) {
        const Path here = path / "role";
        interface.role = read_word({*node, here}, kRoles, report_) == kRoles[1] ? Role::kHost : Role::kWorkload;
    }
    if (const YamlNode* node = fields.require("match", "; say which device it is, as match: {device: tap-web0}")) {
        const Path here = path / "match";
        read_match({*node, here}, interface.match);
    }
    if (const YamlNode* node = fields.find("mac")) {
        const Path here = path / "mac";
        interface.mac = read_mac({*node, here}, report_);
    }
    if (const YamlNode* node = fields.find("source_dest_check")) {
        const Path here = path / "source_dest_check";
        interface.source_dest_check = read_bool({*node, here}, report_).value_or(true);
    }
    if (const YamlNode* node = fields.require("addresses", "; they are its membership and its source check")) {
        const Path here = path / "addresses";
        read_addresses({*node, here}, interface);
    }
    if (const YamlNode* node = fields.find("allowed_addresses")) {
        const Path here = path / "allowed_addresses";
        read_allowed_addresses({*node, here}, interface);
    }
    if (const YamlNode* node = fields.find("groups")) {
        const Path here = path / "groups";
        read_interface_groups({*node, here}, interface);
    } else if (vpc != nullptr) {  // SG-1.29, SG-3.13
        interface.groups = {vpc->name + "/default"};
    }
    if (const YamlNode* node = fields.find("timeouts")) {
        const Path here = path / "timeouts";
        read_timeouts({*node, here}, interface.timeouts);
    }
    if (const YamlNode* node = fields.find("tracking")) {
        const Path here = path / "tracking";
        interface.tracking = read_tracking({*node, here}, report_);
    }
    if (good && vpc != nullptr) {
        state.interfaces.emplace(interface.name, std::move(interface));
    }
}

void StateReader::read_match(Site site, DeviceMatch& match) {
    const auto device = [&](const YamlNode& node, const Path& path) {
        const auto text = read_text({node, path}, "the name of a device", report_);
        const std::string problem = text ? device_problem(*text) : "";
        if (!problem.empty()) {
            report_.error(node.place, path, problem);
        } else if (text) {
            match.device = *text;
        }
    };
    if (site.node.kind == YamlNode::Kind::kScalar) {
        return device(site.node, site.path);
    }
    Fields fields(site.node, site.path, {"device", "mac", "alias", "netns"}, report_);
    if (!fields.valid()) {
        return;
    }
    if (const YamlNode* node = fields.find("device")) {
        device(*node, site.path / "device");
    }
    if (const YamlNode* node = fields.find("mac")) {
        const Path path = site.path / "mac";
        match.mac = read_mac({*node, path}, report_);
    }
    if (const YamlNode* node = fields.find("alias")) {
        const Path path = site.path / "alias";
        const auto text = read_text({*node, path}, "an alias of a device", report_);
        if (text && (text->empty() || text->size() > kMaxAlias)) {
            report_.error(node->place, path, fmt::format("an alias has 1 to {} characters", kMaxAlias));
        } else if (text) {
            match.alias = *text;
        }
    }
    if (const YamlNode* node = fields.find("netns")) {
        const Path path = site.path / "netns";
        const auto text = read_text({*node, path}, "the name of a network namespace", report_);
        const bool bad = text && (text->empty() || *text == "." || *text == ".." || text->size() > kMaxNetnsName ||
                                  text->find('/') != std::string_view::npos);
        if (bad) {
            report_.error(
                node->place, path,
                fmt::format("\"{}\" is no network namespace; write its name as in ip netns list", printable(*text)));
        } else if (text) {
            match.netns = *text;
        }
    }
    const bool names_device =
        fields.find("device") != nullptr || fields.find("mac") != nullptr || fields.find("alias") != nullptr;
    const bool misspelt = fields.misspelt("device") || fields.misspelt("mac") || fields.misspelt("alias");
    if (!names_device && !misspelt) {
        report_.error(site.node.place, site.path, "matches every device; write at least one of device, mac, alias");
    }
}

void StateReader::read_addresses(Site site, Interface& interface) {
    const auto* elements = list_elements(site, "addresses", report_);
    if (elements == nullptr) {
        return;
    }
    const auto vpc = state.vpcs.find(interface.vpc);
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const Path here = site.path[i];
        const YamlNode& element = (*elements)[i];
        const auto address = read_address({element, here}, report_);
        if (!address) {
            continue;
        }
        if (const char* problem = address_problem(*address)) {
            report_.error(element.place, here, fmt::format("{} {}", address_text(*address), problem));
            continue;
        }
        const auto covers = [&](const Prefix& cidr) { return cidr.contains(*address); };
        if (vpc != state.vpcs.end() && !is_link_local(*address) &&
            std::none_of(vpc->second.cidrs.begin(), vpc->second.cidrs.end(), covers)) {
            report_.warning(element.place, here,
                            fmt::format("{} lies in no CIDR of VPC {}", address_text(*address), interface.vpc));
        }
        interface.addresses.push_back(*address);
        addresses_.push_back({interface.vpc, *address, interface.name, element.place, here.to_string()});
    }
    if (elements->empty() && interface.source_dest_check) {
        report_.error(site.node.place, site.path,
                      "an interface without addresses can send nothing; write them, or source_dest_check: false");
    }
}

void StateReader::read_allowed_addresses(Site site, Interface& interface) {
    const auto* elements = list_elements(site, "addresses", report_);
    for (std::size_t i = 0; elements != nullptr && i < elements->size(); ++i) {
        const Path here = site.path[i];
        const YamlNode& element = (*elements)[i];
        const auto address = read_address({element, here}, report_);
        if (!address) {
            continue;
        }
        auto& allowed = interface.allowed_addresses;
        if (std::find(allowed.begin(), allowed.end(), *address) != allowed.end()) {
            report_.error(element.place, here, fmt::format("{} is there twice", address_text(*address)));
            continue;
        }
        allowed.push_back(*address);
    }
}

void StateReader::read_interface_groups(Site site, Interface& interface) {
    const auto* elements = list_elements(site, "groups", report_);
    if (elements == nullptr) {
        return;
    }
    if (elements->empty()) {  // SG-1.24
        report_.error(site.node.place, site.path,
                      "an interface has at least one group; remove the key for the VPC's default group");
    }
    if (interface.vpc.empty()) {
        return;
    }
    for (std::size_t i = 0; i < elements->size(); ++i) {
        const Path here = site.path[i];
        if (auto key = read_group_name({(*elements)[i], here}, interface.vpc, {}, false)) {
            interface.groups.push_back(std::move(*key));
        }
    }
    std::sort(interface.groups.begin(), interface.groups.end());
    const auto duplicates = std::unique(interface.groups.begin(), interface.groups.end());  // SG-1.25
    interface.groups.erase(duplicates, interface.groups.end());
    if (interface.groups.size() > kMaxGroups) {
        report_.error(site.node.place, site.path,
                      fmt::format("{} groups; an interface has at most {}", interface.groups.size(), kMaxGroups));
    }
}

void StateReader::read_timeouts(Site site, Timeouts& timeouts) {
    struct Row {
        std::string_view key;
        std::uint64_t lowest;
        std::uint64_t highest;
        std::uint32_t* value;
    };
    const Row rows[] = {{"tcp_established", 60, 432000, &timeouts.tcp_established},
                        {"udp", 30, 60, &timeouts.udp},
                        {"udp_stream", 60, 180, &timeouts.udp_stream}};  // SG-5.29
    Fields fields(site.node, site.path, {"tcp_established", "udp", "udp_stream"}, report_);
    for (const Row& row : rows) {
        if (const YamlNode* node = fields.find(row.key)) {
            const Path here = site.path / row.key;
            const auto seconds = read_number({*node, here}, row.lowest, row.highest, "seconds", report_);
            *row.value = seconds ? static_cast<std::uint32_t>(*seconds) : *row.value;
        }
    }
}

// One address has one owner in a VPC: group references and the source check depend on it. A prefix owns all of
// its addresses, so nesting between interfaces is the same mistake.
void StateReader::check_addresses_unique() {
    std::sort(addresses_.begin(), addresses_.end(), [](const PlacedAddress& a, const PlacedAddress& b) {
        return std::tie(a.vpc, a.prefix, a.place.offset) < std::tie(b.vpc, b.prefix, b.place.offset);
    });
    std::vector<const PlacedAddress*> covering;  // each contains the next
    for (const PlacedAddress& address : addresses_) {
        while (!covering.empty() &&
               (covering.back()->vpc != address.vpc || !covering.back()->prefix.contains(address.prefix))) {
            covering.pop_back();
        }
        const auto clash = std::find_if(covering.rbegin(), covering.rend(), [&](const PlacedAddress* other) {
            return other->interface != address.interface || other->prefix == address.prefix;
        });
        if (clash != covering.rend()) {
            const PlacedAddress& other = **clash;
            const bool same = other.prefix == address.prefix;
            // The later place of the file is the wrong one.
            const bool swap = other.place.offset > address.place.offset;
            const PlacedAddress& wrong = swap ? other : address;
            const PlacedAddress& first = swap ? address : other;
            report_.error_at(wrong.place, wrong.path,
                             same ? fmt::format("{} belongs to interface {} already (line {})",
                                                address_text(wrong.prefix), first.interface, first.place.line + 1)
                                  : fmt::format("{} overlaps {} of interface {} (line {})", address_text(wrong.prefix),
                                                address_text(first.prefix), first.interface, first.place.line + 1));
        }
        covering.push_back(&address);
    }
}

// Two interfaces cannot be the same device.
void StateReader::check_matches_unique(const YamlNode& node, const Path& path) {
    std::map<std::string, std::string_view> first;
    for (const auto& [name, interface] : state.interfaces) {
        const DeviceMatch& match = interface.match;
        const std::string text = match_text(match);
        if (text.empty() || match.device.find_first_of("*?[") != std::string::npos) {
            continue;
        }
        const auto [known, is_new] = first.emplace(text, name);
        if (!is_new) {
            for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
                if (node.children[i].text == name) {
                    report_.error(node.children[i].place, path / name,
                                  fmt::format("matches the same device as interface {}: {}", known->second, text));
                }
            }
        }
    }
}

}  // namespace sgbpf
