// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// show rules, counters, maps, policies and the applied state: what is in force, with what it did.
#include <algorithm>

#include <fmt/format.h>

#include "api/engine_parts.hpp"
#include "model/text.hpp"

namespace sgbpf {

namespace {

struct PeerWords {
    std::string text;
    std::string id;
};

PeerWords peer_words(const State& state, const Peer& peer) {
    PeerWords words{peer_text(peer), ""};
    if (const auto* list = std::get_if<PrefixListRef>(&peer)) {
        const auto at = state.prefix_lists.find(list->name);
        words.id = at == state.prefix_lists.end() ? "" : at->second.id;
    } else if (const auto* group = std::get_if<GroupRef>(&peer)) {
        const auto at = state.groups.find(group->key);
        words.id = at == state.groups.end() ? "" : at->second.id;
    }
    return words;
}

// Counters of the rules that have a slot. A group that no interface carries is not in the kernel.
Result<void> add_counters(Datapath& datapath, const MapImage& image, std::vector<RuleRow>& rows) {
    std::vector<std::uint32_t> slots;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (const auto slot = image.rule_slot(rows[i].rule.id)) {
            slots.push_back(*slot);
            owners.push_back(i);
        }
    }
    auto counters = datapath.read_rule_counters(slots);
    if (!counters) {
        return unexpected(counters.error());
    }
    for (std::size_t i = 0; i < counters->size() && i < owners.size(); ++i) {
        rows[owners[i]].packets = (*counters)[i].packets;
        rows[owners[i]].bytes = (*counters)[i].bytes;
    }
    return {};
}

CountersReport counters_report(const std::string& interface, const sg_counters& counters) {
    CountersReport report;
    report.interface = interface;
    for (const unsigned direction : {SG_IN, SG_OUT}) {
#define SG_ADD_REASON(number, symbol, reason_name, verdict, reason_sentence)                                           \
    if (counters.packets[direction][number] != 0) {                                                                    \
        report.rows.push_back(                                                                                         \
            {direction, reason_name, (verdict) == SG_DROP, reason_sentence, counters.packets[direction][number]});     \
    }
        SG_REASONS(SG_ADD_REASON)
#undef SG_ADD_REASON
        for (const unsigned verdict : {SG_PASS, SG_DROP}) {
            report.bytes[direction][verdict] = counters.bytes[direction][verdict];
        }
    }
    return report;
}

Result<std::vector<std::string>> wanted_interfaces(const Engine::Parts& parts, const HostState& host,
                                                   const std::string& interface) {
    if (!interface.empty()) {
        auto named = parts.interface_named(host, interface);
        return named ? Result<std::vector<std::string>>(std::vector<std::string>{interface})
                     : Result<std::vector<std::string>>(unexpected(named.error()));
    }
    return host.applied ? interface_names(host.applied->state) : std::vector<std::string>{};
}

}  // namespace

RuleRow rule_row(const State& state, const Group& group, unsigned direction, const Rule& rule) {
    PeerWords words = peer_words(state, rule.peer);
    RuleRow row;
    row.direction = direction;
    row.rule = rule;
    row.group = group.name;
    row.group_id = group.id;
    row.peer = std::move(words.text);
    row.peer_id = std::move(words.id);
    return row;
}

Result<std::vector<RuleRow>> Engine::show_rules(const std::string& interface) {
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    if (!host->applied) {
        return unexpected(make_error(ErrorCode::kNotFound, "the record of what was applied is missing; apply again"));
    }
    const State& state = host->applied->state;
    std::vector<std::string> groups;
    if (interface.empty()) {
        for (const auto& [key, group] : state.groups) {
            groups.push_back(key);
        }
    } else {
        auto named = parts_->interface_named(*host, interface);
        if (!named) {
            return unexpected(named.error());
        }
        groups = (*named)->groups;
    }
    std::vector<RuleRow> rows;
    for (const unsigned direction : {SG_IN, SG_OUT}) {
        for (const std::string& key : groups) {
            const Group& group = state.groups.at(key);
            for (const Rule& rule : group.rules[direction]) {
                rows.push_back(rule_row(state, group, direction, rule));
            }
        }
    }
    if (auto counted = add_counters(*parts_->datapath, host->image, rows); !counted) {
        return unexpected(counted.error());
    }
    return rows;
}

Result<std::vector<CountersReport>> Engine::show_counters(const std::string& interface) {
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    auto names = wanted_interfaces(*parts_, *host, interface);
    if (!names) {
        return unexpected(names.error());
    }
    const auto slots = interface_slots(host->image);
    auto accounts = parts_->datapath->read_accounts();
    if (!accounts) {
        return unexpected(accounts.error());
    }
    std::vector<CountersReport> reports;
    for (const std::string& name : *names) {
        const auto slot = slots.find(host->applied->state.interfaces.at(name).id);
        if (slot == slots.end()) {
            continue;
        }
        auto counters = parts_->datapath->read_counters(slot->second);
        if (!counters) {
            return unexpected(counters.error());
        }
        reports.push_back(counters_report(name, *counters));
        reports.back().allowance =
            allowance_of(*accounts, *counters, host->image.interface_at(slot->second)->config, slot->second);
    }
    if (interface.empty()) {
        auto counters = parts_->datapath->read_counters(0);
        if (!counters) {
            return unexpected(counters.error());
        }
        if (CountersReport unbound = counters_report("(no interface)", *counters); !unbound.rows.empty()) {
            reports.push_back(std::move(unbound));
        }
    }
    return reports;
}

Result<std::vector<MapRow>> Engine::show_maps() {
    if (auto host = parts_->load_loaded(); !host) {
        return unexpected(host.error());
    }
    auto usage = parts_->datapath->map_usage();
    if (!usage) {
        return unexpected(usage.error());
    }
    std::vector<MapRow> rows;
    for (const MapUsage& map : *usage) {
        rows.push_back({map.name, map.used, map.limit, map.bytes});
    }
    return rows;
}

Result<std::vector<PolicyRow>> Engine::show_policies(const std::string& interface) {
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    auto names = wanted_interfaces(*parts_, *host, interface);
    if (!names) {
        return unexpected(names.error());
    }
    const auto slots = interface_slots(host->image);
    std::vector<PolicyRow> rows;
    for (const std::string& name : *names) {
        const State& state = host->applied->state;
        const Interface& one = state.interfaces.at(name);
        const auto slot = slots.find(one.id);
        if (slot == slots.end()) {
            continue;
        }
        const InterfaceImage& image = *host->image.interface_at(slot->second);
        for (const unsigned direction : {SG_IN, SG_OUT}) {
            PolicyRow row;
            row.interface = name;
            row.direction = direction;
            row.slot = image.config.policy_slot[direction];
            row.policy = row.slot < host->image.policy_slots.size() ? host->image.policy_slots[row.slot].policy : 0;
            row.groups = one.groups;
            for (const std::string& key : one.groups) {
                row.rules += state.groups.at(key).rules[direction].size();
            }
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

Result<State> Engine::applied_state() {
    auto host = parts_->load_loaded();
    if (!host) {
        return unexpected(host.error());
    }
    if (!host->applied) {
        return unexpected(make_error(ErrorCode::kNotFound, "the record of what was applied is missing; apply again"));
    }
    return std::move(host->applied->state);
}

}  // namespace sgbpf
