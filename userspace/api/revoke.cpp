// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/revoke.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/strings.hpp"

namespace sgbpf {

namespace {

using Admitting = std::array<std::set<std::uint32_t>, SG_DIRECTIONS>;

Admitting rules_of(const State& state, const Interface& interface, const MapImage& image) {
    Admitting slots;
    for (const std::string& key : interface.groups) {
        const Group& group = state.groups.at(key);
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            for (const Rule& rule : group.rules[direction]) {
                if (const auto slot = image.rule_slot(rule.id)) {
                    slots[direction].insert(*slot);
                }
            }
        }
    }
    return slots;
}

}  // namespace

Result<void> check_revocation(const ApplyOptions& options) {
    if (options.confirm_seconds != 0 && options.revoke && *options.revoke != Revocation::kKeep) {
        return unexpected(make_error(ErrorCode::kInvalid,
                                     "--revoke ends flows, and no rollback brings them back: apply with --confirm, "
                                     "`sgbpf confirm`, then apply with --revoke; nothing changed"));
    }
    if (options.confirm_seconds != 0 && options.reset) {
        return unexpected(make_error(ErrorCode::kInvalid,
                                     "--reset is for flows that end, and --confirm ends none before `sgbpf confirm`; "
                                     "nothing changed"));
    }
    return {};
}

bool revokes_by_itself(const State& state, const HostPolicy& host) {
    return std::any_of(state.interfaces.begin(), state.interfaces.end(), [&](const auto& entry) {
        const Revocation otherwise = host.tracking.revocation.value_or(Revocation::kKeep);
        return entry.second.tracking.revocation.value_or(otherwise) != Revocation::kKeep;
    });
}

std::optional<FlowFilter> revoked_flows(const MapImage& before, const MapImage& after, const State& state) {
    std::map<std::uint32_t, Admitting> killed;  // by interface slot
    const auto slots = interface_slots(after);
    for (const auto& [name, interface] : state.interfaces) {
        const auto slot = slots.find(interface.id);
        const InterfaceImage* now = slot == slots.end() ? nullptr : after.interface_at(slot->second);
        const InterfaceImage* then = now == nullptr ? nullptr : before.interface_at(slot->second);
        if (then != nullptr && then->id == now->id && then->config.kill_since != now->config.kill_since) {
            killed.emplace(slot->second, rules_of(state, interface, after));
        }
    }
    if (killed.empty()) {
        return std::nullopt;
    }
    FlowFilter filter;
    filter.choose = [killed = std::move(killed)](const sg_flow& flow) {
        const auto rules = killed.find(flow.key.interface_slot);
        const unsigned direction = (SG_WORD_FLAGS(flow.word) & SG_FLOW_OPENED_OUT) != 0 ? SG_OUT : SG_IN;
        return rules != killed.end() && !rules->second[direction].contains(flow.rule);
    };
    return filter;
}

Result<FlowsEnded> end_revoked_flows(const Engine::Parts& parts, const MapImage& before, const MapImage& after,
                                     const State& state) {
    const auto filter = revoked_flows(before, after, state);
    if (!filter) {
        return FlowsEnded{};
    }
    auto ended = parts.datapath->flush_flows(*filter);
    return ended ? Result<FlowsEnded>(FlowsEnded{*ended, std::nullopt}) : Result<FlowsEnded>(unexpected(ended.error()));
}

std::string ended_words(const FlowsEnded& ended) {
    return "ended " + counted(ended.flows, "flow") + (ended.resets ? "; " + ended.resets->to_string() : "");
}

}  // namespace sgbpf
