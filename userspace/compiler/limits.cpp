// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/limits.hpp"

#include <algorithm>
#include <set>
#include <string>

#include "image/encode.hpp"

namespace sgbpf {
namespace {

using Counts = std::array<std::uint64_t, kMaps.size()>;

std::uint64_t& of(Counts& counts, MapId map) {
    return counts[static_cast<std::size_t>(map)];
}

std::uint64_t count_union(const std::vector<SetRow>& a, const std::vector<SetRow>& b) {
    std::uint64_t count = 0;
    auto i = a.begin();
    auto j = b.begin();
    while (i != a.end() && j != b.end()) {
        const auto order = std::tie(i->scope, i->prefix) <=> std::tie(j->scope, j->prefix);
        i += order <= 0 ? 1 : 0;
        j += order >= 0 ? 1 : 0;
        ++count;
    }
    return count + static_cast<std::uint64_t>((a.end() - i) + (b.end() - j));
}

std::uint64_t count_prefixes(const InterfaceImage* before, const InterfaceImage* after, Family family,
                             std::vector<Prefix> InterfaceImage::* which) {
    static const std::vector<Prefix> none;
    const std::vector<Prefix>& a = before != nullptr ? before->*which : none;
    const std::vector<Prefix>& b = after != nullptr ? after->*which : none;
    const auto wanted = [family](const Prefix& prefix) { return prefix.address.family == family; };
    const auto count = static_cast<std::uint64_t>(std::count_if(a.begin(), a.end(), wanted));
    if (&a == &b || before == after) {
        return count;
    }
    return count + static_cast<std::uint64_t>(std::count_if(b.begin(), b.end(), [&](const Prefix& prefix) {
               return wanted(prefix) && !std::binary_search(a.begin(), a.end(), prefix);
           }));
}

void count_interfaces(Counts& counts, const MapImage& a, const MapImage& b) {
    for (std::size_t slot = 0; slot < std::max(a.interfaces.size(), b.interfaces.size()); ++slot) {
        const InterfaceImage* before = a.interface_at(static_cast<std::uint32_t>(slot));
        const InterfaceImage* after = b.interface_at(static_cast<std::uint32_t>(slot));
        if (before != nullptr || after != nullptr) {
            of(counts, MapId::kInterfaces) = slot + 1;
            for (const auto which : {&InterfaceImage::locals, &InterfaceImage::tracked_peers}) {
                of(counts, MapId::kLocals4) += count_prefixes(before, after, Family::kIpv4, which);
                of(counts, MapId::kLocals6) += count_prefixes(before, after, Family::kIpv6, which);
            }
        }
    }
}

void count_policies(Counts& counts, const MapImage& a, const MapImage& b) {
    const auto add = [&](const PolicyEntry& entry) {
        of(counts, MapId::kCidr4) += entry.policy->cidr4.size();
        of(counts, MapId::kCidr6) += entry.policy->cidr6.size();
    };
    for (std::size_t number = 0; number < std::max(a.policies.size(), b.policies.size()); ++number) {
        const PolicyEntry before = number < a.policies.size() ? a.policies[number] : PolicyEntry{};
        const PolicyEntry after = number < b.policies.size() ? b.policies[number] : PolicyEntry{};
        if (before.policy == nullptr && after.policy == nullptr) {
            continue;
        }
        of(counts, MapId::kPolicies) = number + 1;
        add(before.policy != nullptr ? before : after);
        std::uint64_t& rows = of(counts, MapId::kSetClasses);
        if (before.rows == after.rows || before.rows == nullptr || after.rows == nullptr) {
            rows += before.rows != nullptr ? before.rows->rows.size() : after.rows->rows.size();
            continue;
        }
        std::set<std::uint32_t> sets;
        for (const auto& row : before.rows->rows) {
            sets.insert(row.set);
        }
        for (const auto& row : after.rows->rows) {
            sets.insert(row.set);
        }
        rows += sets.size();
    }
}

void count_tables(Counts& counts, const MapImage& a, const MapImage& b, SetKind kind, std::array<MapId, 2> maps) {
    for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
        const auto& before = a.sets[kind]->tables[family];
        const auto& after = b.sets[kind]->tables[family];
        of(counts, maps[family]) = before == after ? before->rows.size() : count_union(before->rows, after->rows);
    }
}

Counts count(const MapImage& a, const MapImage& b) {
    Counts counts{};
    count_interfaces(counts, a, b);
    for (const MapImage* image : {&a, &b}) {
        for (std::size_t slot = 0; slot < image->policy_slots.size(); ++slot) {
            if (image->policy_slots[slot].policy != 0) {
                of(counts, MapId::kPolicySlots) = std::max<std::uint64_t>(of(counts, MapId::kPolicySlots), slot + 1);
            }
        }
    }
    count_policies(counts, a, b);
    count_tables(counts, a, b, kListSets, {MapId::kLists4, MapId::kLists6});
    count_tables(counts, a, b, kGroupSets, {MapId::kMembers4, MapId::kMembers6});
    for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
        of(counts, kLocalMaps[family]) += count_union(a.services[family]->rows, b.services[family]->rows);
    }
    const auto end = [](const NumberPool& before, const NumberPool& after, std::uint32_t start) {
        const std::uint64_t highest = std::max(before.end(), after.end());
        return highest > start ? highest : 0;
    };
    of(counts, MapId::kClasses) = end(a.class_pool, b.class_pool, 1);
    of(counts, MapId::kIntervals) = end(a.interval_pool, b.interval_pool, 0);
    of(counts, MapId::kRuleRefs) = end(a.ref_pool, b.ref_pool, 0);
    of(counts, MapId::kRules) = std::max(a.rules.records.size(), b.rules.records.size());
    return counts;
}

std::vector<MapNeed> rows(const Counts& counts, const Capacities& capacities) {
    std::vector<MapNeed> needs;
    for (const MapInfo& info : kMaps) {
        needs.push_back({info.id, counts[static_cast<std::size_t>(info.id)], capacities.*info.capacity});
    }
    return needs;
}

struct CapacityName {
    std::uint32_t Capacities::* member;
    std::string_view name;
};
constexpr std::array kCapacityNames = {
    CapacityName{&Capacities::interfaces, "interfaces"},
    CapacityName{&Capacities::policy_slots, "policy_slots"},
    CapacityName{&Capacities::policies, "policies"},
    CapacityName{&Capacities::prefixes, "prefixes"},
    CapacityName{&Capacities::list_prefixes, "list_prefixes"},
    CapacityName{&Capacities::members, "members"},
    CapacityName{&Capacities::local_prefixes, "local_prefixes"},
    CapacityName{&Capacities::set_classes, "set_classes"},
    CapacityName{&Capacities::classes, "classes"},
    CapacityName{&Capacities::intervals, "intervals"},
    CapacityName{&Capacities::rule_refs, "rule_refs"},
    CapacityName{&Capacities::rules, "rules"},
};

Error refusal(const std::vector<MapNeed>& too_much, std::string_view at_least) {
    std::string message = "does not fit: ";
    std::vector<std::string_view> keys;
    for (std::size_t i = 0; i < too_much.size(); ++i) {
        const MapInfo& info = map_info(too_much[i].map);
        message += i == 0 ? "" : "; ";
        message += std::string(info.words) + " need " + std::string(at_least) + std::to_string(too_much[i].need) +
                   " of " + std::to_string(too_much[i].limit) + " (" + std::string(info.name) + ")";
        if (std::find(keys.begin(), keys.end(), capacity_name(info.id)) == keys.end()) {
            keys.push_back(capacity_name(info.id));
        }
    }
    message += "; raise ";
    for (std::size_t i = 0; i < keys.size(); ++i) {
        message += i == 0 ? "" : (i + 1 == keys.size() ? " and " : ", ");
        message += "\"" + std::string(keys[i]) + "\"";
    }
    message += " in /etc/sgbpf/host.yaml";
    return make_error(ErrorCode::kExhausted, std::move(message));
}

}  // namespace

std::string_view capacity_name(MapId map) {
    for (const CapacityName& row : kCapacityNames) {
        if (row.member == map_info(map).capacity) {
            return row.name;
        }
    }
    return "";
}

std::vector<MapNeed> needs(const MapImage& image, const Capacities& capacities) {
    return rows(count(image, image), capacities);
}

std::vector<MapNeed> needs_during_commit(const MapImage& previous, const MapImage& next, const Capacities& capacities) {
    return rows(count(previous, next), capacities);
}

std::optional<Error> does_not_fit(const Workspace& workspace) {
    std::vector<MapNeed> too_much;
    for (const MapNeed& need : needs_during_commit(workspace.previous(), workspace.next, workspace.capacities())) {
        if (need.need > need.limit) {
            too_much.push_back(need);
        }
    }
    return too_much.empty() ? std::nullopt : std::optional(refusal(too_much, ""));
}

Error does_not_fit_at_all(const Workspace& workspace) {
    const std::uint64_t need = workspace.next.ref_pool.end();
    return refusal({{MapId::kRuleRefs, need, workspace.capacities().rule_refs}}, "at least ");
}

}  // namespace sgbpf
