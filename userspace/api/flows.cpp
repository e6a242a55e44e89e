// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Live flows in words, and forgetting them.
#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "api/engine_parts.hpp"
#include "api/reset.hpp"
#include "base/strings.hpp"
#include "bpf/flow_state.h"
#include "frame/describe.hpp"
#include "frame/names.hpp"
#include "model/protocols.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

// One side of a flow.
std::string end_text(const __u8 (&address)[16], __be16 port, const sg_flow_key& key) {
    const bool ports = has_ports(key.protocol);
    return endpoint_text(key_address(address, key.family), ports ? std::optional(ntohs(port)) : std::nullopt);
}

// Untracked flows have no entry (SG-5.11): what is listed is tracked, and this says why.
std::string why_tracked(const sg_flow& flow, const MapImage& image, const InterfaceImage* interface) {
    const __u8 protocol = flow.key.protocol;
    if (protocol != SG_PROTO_TCP && protocol != SG_PROTO_UDP) {
        return fmt::format("tracked: {} always is", protocol_text(protocol));
    }
    if ((SG_WORD_FLAGS(flow.word) & SG_FLOW_ADOPTED) != 0) {
        return "tracked: it was open before its device was attached (adopted)";
    }
    if (interface == nullptr) {
        return "tracked";
    }
    if ((interface->config.flags & SG_IF_ALWAYS_TRACK) != 0) {
        return "tracked: its interface tracks every flow (always_track)";
    }
    const bool opened_out = (SG_WORD_FLAGS(flow.word) & SG_FLOW_OPENED_OUT) != 0;
    const unsigned opening = opened_out ? SG_OUT : SG_IN;
    const std::uint32_t bit = SG_POLICY_OPEN(flow.key.family, protocol == SG_PROTO_UDP);
    const auto open = [&](unsigned direction) {
        const std::uint32_t slot = interface->config.policy_slot[direction];
        const std::uint32_t number = slot < image.policy_slots.size() ? image.policy_slots[slot].policy : 0;
        return number < image.policies.size() && image.policies[number].policy != nullptr &&
               (image.policies[number].policy->record.open & bit) != 0;
    };
    const char* any = flow.key.family == SG_IPV6 ? "::/0" : "0.0.0.0/0";
    if (!open(1 - opening)) {
        return fmt::format("tracked: no {} rule for all {} ports of {}", opened_out ? "inbound" : "outbound",
                           protocol_text(protocol), any);
    }
    return fmt::format("tracked: its rule is not one for {}, or it is older than the rules", any);
}

}  // namespace

FlowRow flow_row(const sg_flow& flow, const FlowSnapshot& snapshot, const MapImage& image) {
    FlowRow row;
    const __u8 protocol = flow.key.protocol;
    const __u8 state = SG_WORD_STATE(flow.word);
    const InterfaceImage* interface = image.interface_at(flow.key.interface_slot);
    row.protocol = protocol_text(protocol);
    row.local = end_text(flow.key.local, flow.key.local_port, flow.key);
    row.remote = end_text(flow.key.remote, flow.key.remote_port, flow.key);
    row.opened_out = (SG_WORD_FLAGS(flow.word) & SG_FLOW_OPENED_OUT) != 0;
    row.state = flow_state_name(state);
    if (state == SG_FLOW_ICMP) {
        row.detail =
            fmt::format("{} id {}", icmp_text(protocol, {flow.icmp_type, flow.icmp_code}), ntohs(flow.key.local_port));
    }
    // Ticks wrap; a record touched between the reading of clock and record is not in the future.
    const std::uint32_t ticks = std::max(snapshot.ticks_per_second, 1u);
    const auto seconds_since = [&](std::uint32_t then) {
        const auto ago = static_cast<std::int32_t>(static_cast<std::uint32_t>(snapshot.now) - then);
        return ago < 0 ? 0u : static_cast<std::uint32_t>(ago) / ticks;
    };
    row.age_s = seconds_since(flow.created);
    row.idle_s = seconds_since(flow.last_seen);
    const sg_interface_config none{};
    const std::uint64_t timeout = sg_flow_seconds(state, interface != nullptr ? &interface->config : &none);
    row.left_s = timeout > row.idle_s ? timeout - row.idle_s : 0;
    row.tracked = why_tracked(flow, image, interface);
    row.tier = SG_WORD_TIER(flow.word) == SG_TIER_OPENING       ? "opening"
               : SG_WORD_TIER(flow.word) == SG_TIER_ESTABLISHED ? "established"
                                                                : "";
    row.adopted = (SG_WORD_FLAGS(flow.word) & SG_FLOW_ADOPTED) != 0;
    row.windows_known = (SG_WORD_FLAGS(flow.word) & SG_FLOW_WINDOWS) != 0;
    row.rule = image.rule_id(flow.rule);
    std::copy(std::begin(flow.packets), std::end(flow.packets), row.packets.begin());
    std::copy(std::begin(flow.bytes), std::end(flow.bytes), row.bytes.begin());
    return row;
}

namespace {

Result<std::optional<std::uint32_t>> slot_of(const Engine::Parts& parts, const HostState& host,
                                             const std::string& name) {
    if (name.empty()) {
        return std::optional<std::uint32_t>{};
    }
    auto interface = parts.interface_named(host, name);
    if (!interface) {
        return unexpected(interface.error());
    }
    const auto slots = interface_slots(host.image);
    const auto slot = slots.find((*interface)->id);
    if (slot == slots.end()) {
        return unexpected(make_error(ErrorCode::kNotFound, name + " is not loaded; apply again"));
    }
    return std::optional<std::uint32_t>{slot->second};
}

Result<std::optional<__u8>> state_named(const std::string& name) {
    if (name.empty()) {
        return std::optional<__u8>{};
    }
    const auto state = flow_state_by_name(name);
    if (!state) {
        const std::vector<std::string> names = flow_state_names();
        return unexpected(
            make_error(ErrorCode::kInvalid, fmt::format("no flow state {}{}; there are {}", printable(name),
                                                        did_you_mean(name, names), fmt::join(names, ", "))));
    }
    return std::optional<__u8>{*state};
}

// Slots of the interfaces that carry a group.
Result<std::set<std::uint32_t>> slots_with_group(const HostState& host, const std::string& name) {
    std::set<std::uint32_t> carriers;
    std::vector<std::string> keys;
    if (host.applied) {
        for (const auto& [key, group] : host.applied->state.groups) {
            if (key == name || group.name == name) {
                keys.push_back(key);
            }
        }
    }
    if (keys.empty()) {
        return unexpected(make_error(ErrorCode::kNotFound, fmt::format("no group {} in the applied state; `sgbpf show "
                                                                       "groups` names them",
                                                                       printable(name))));
    }
    if (keys.size() > 1) {
        return unexpected(make_error(ErrorCode::kInvalid, fmt::format("{} VPCs have a group {}: write one of {}",
                                                                      keys.size(), name, fmt::join(keys, ", "))));
    }
    const auto slots = interface_slots(host.image);
    for (const auto& [interface_name, interface] : host.applied->state.interfaces) {
        const bool carries =
            std::find(interface.groups.begin(), interface.groups.end(), keys.front()) != interface.groups.end();
        if (const auto slot = slots.find(interface.id); carries && slot != slots.end()) {
            carriers.insert(slot->second);
        }
    }
    return carriers;
}

// For the journal: "web0 group db peer 192.0.2.0/24".
std::string query_text(const FlowQuery& query) {
    std::vector<std::string> words;
    const auto add = [&](const char* key, const std::string& value) {
        if (!value.empty()) {
            words.push_back(key + value);
        }
    };
    add("", query.interface);
    add("group ", query.group);
    add("peer ", query.peer ? query.peer->to_string() : "");
    add("protocol ", query.protocol ? protocol_text(*query.protocol) : "");
    add("rule ", query.rule);
    return words.empty() ? "all" : fmt::format("{}", fmt::join(words, " "));
}

// What a query selects, without its limits.
Result<FlowFilter> filter_of(const Engine::Parts& parts, const HostState& host, const FlowQuery& query) {
    auto state = state_named(query.state);
    if (!state) {
        return unexpected(state.error());
    }
    auto slot = slot_of(parts, host, query.interface);
    if (!slot) {
        return unexpected(slot.error());
    }
    FlowFilter filter;
    filter.interface_slot = *slot;
    filter.peer = query.peer;
    filter.protocol = query.protocol;
    filter.state = *state;
    if (!query.rule.empty()) {
        filter.rule = host.image.rule_slot(query.rule);
        if (!filter.rule) {
            return unexpected(make_error(ErrorCode::kNotFound, fmt::format("no rule {} is loaded or was; `sgbpf show "
                                                                           "rules` names them",
                                                                           printable(query.rule))));
        }
    }
    if (!query.group.empty()) {
        auto carriers = slots_with_group(host, query.group);
        if (!carriers) {
            return unexpected(carriers.error());
        }
        filter.choose = [carriers = std::move(*carriers)](const sg_flow& flow) {
            return carriers.contains(flow.key.interface_slot);
        };
    }
    return filter;
}

}  // namespace

Result<FlowsReport> Engine::show_flows(const FlowQuery& query) {
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    auto selected = filter_of(*parts_, *host, query);
    if (!selected) {
        return unexpected(selected.error());
    }
    FlowFilter filter = std::move(*selected);
    filter.limit = query.limit;
    filter.time_limit = std::chrono::seconds(query.seconds);
    auto snapshot = parts_->datapath->read_flows(filter);
    if (!snapshot) {
        return unexpected(snapshot.error());
    }
    const auto names = interface_names(*host);
    FlowsReport report;
    report.matching = snapshot->live;
    report.looked_at = snapshot->looked_at;
    for (const sg_flow& flow : snapshot->flows) {
        FlowRow row = flow_row(flow, *snapshot, host->image);
        const auto name = names.find(flow.key.interface_slot);
        row.interface = name != names.end() ? name->second : fmt::format("slot {}", flow.key.interface_slot);
        report.flows.push_back(std::move(row));
    }
    return report;
}

Result<FlowsEnded> Engine::flush_flows(const FlowQuery& query, bool reset) {
    auto lock = parts_->lock();
    if (!lock) {
        return unexpected(lock.error());
    }
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    auto filter = filter_of(*parts_, *host, query);
    if (!filter) {
        return unexpected(filter.error());
    }
    FlowsEnded ended;
    if (reset) {
        auto told = end_with_resets(*parts_, host->image, host->attachments, *filter);
        if (!told) {
            return told;
        }
        ended = *told;
    }
    auto removed = parts_->datapath->flush_flows(*filter);
    if (!removed) {
        return unexpected(removed.error());
    }
    ended.flows += *removed;
    parts_->journal(caller_text(),
                    fmt::format("flows flush {}: {}", query_text(query),
                                counted(ended.flows, "flow") + (ended.resets ? "; " + ended.resets->to_string() : "")),
                    to_hex(host->control.digest), nullptr);
    return ended;
}

}  // namespace sgbpf
