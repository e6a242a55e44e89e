// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/resolve.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "compiler/classes.hpp"
#include "compiler/trie.hpp"

namespace sgbpf {
namespace {

bool same(const CompiledRule& compiled, const Rule& rule) {
    const sg_interval ports = canonical_ports(rule);
    return compiled.protocol == rule.protocol && compiled.ports.first == ports.first &&
           compiled.ports.last == ports.last && id_text(compiled.id) == rule.id && compiled.peer == rule.peer;
}

bool same(const GroupRules& compiled, const std::vector<Rule>& rules) {
    return compiled.rules.size() == rules.size() &&
           std::equal(compiled.rules.begin(), compiled.rules.end(), rules.begin(),
                      [](const CompiledRule& a, const Rule& b) { return same(a, b); });
}

Result<std::shared_ptr<const GroupRules>> compile_rules(Workspace& workspace, const Group& group,
                                                        std::uint32_t direction) {
    auto compiled = std::make_shared<GroupRules>();
    compiled->group = group.key;
    compiled->direction = direction;
    compiled->rules.reserve(group.rules[direction].size());
    for (const Rule& rule : group.rules[direction]) {
        if (rule.id.empty() || rule.id.size() > SG_ID_BYTES) {
            return unexpected(make_error(ErrorCode::kInvalid, "group " + group.key + ": rule id \"" + rule.id +
                                                                  "\" is empty or longer than 24 characters"));
        }
        const FixedId id = fixed_id(rule.id);
        compiled->rules.push_back(
            {id, workspace.rule_slot(id), static_cast<std::int16_t>(rule.protocol), canonical_ports(rule), rule.peer});
    }
    return std::shared_ptr<const GroupRules>(std::move(compiled));
}

Result<std::shared_ptr<const GroupImage>> compile_group(Workspace& workspace, const Group& group,
                                                        std::shared_ptr<const GroupImage> before) {
    const auto unchanged = [&](std::size_t direction) {
        return before != nullptr && same(*before->rules[direction], group.rules[direction]);
    };
    if (unchanged(SG_IN) && unchanged(SG_OUT)) {
        return before;
    }
    GroupImage image;
    image.key = group.key;
    for (std::uint32_t direction = 0; direction < SG_DIRECTIONS; ++direction) {
        if (unchanged(direction)) {
            image.rules[direction] = before->rules[direction];
            continue;
        }
        Result<std::shared_ptr<const GroupRules>> rules = compile_rules(workspace, group, direction);
        if (!rules) {
            return unexpected(std::move(rules).error());
        }
        image.rules[direction] = std::move(*rules);
        if (before != nullptr) {
            workspace.retire_rules_of(before->rules[direction]);
        }
    }
    return std::make_shared<const GroupImage>(std::move(image));
}

}  // namespace

Result<void> resolve_groups(Workspace& workspace) {
    std::set<std::string_view> carried;
    for (const auto& [name, interface] : workspace.state().interfaces) {
        carried.insert(interface.groups.begin(), interface.groups.end());
    }
    const auto& before = workspace.previous().groups;
    auto old = before.begin();
    std::vector<std::shared_ptr<const GroupImage>> groups;
    groups.reserve(carried.size());
    for (const std::string_view key : carried) {
        const auto group = workspace.state().groups.find(std::string(key));
        if (group == workspace.state().groups.end()) {
            return unexpected(make_error(ErrorCode::kInvalid, "an interface carries group " + std::string(key) +
                                                                  ", which the state does not have"));
        }
        for (; old != before.end() && (*old)->key < key; ++old) {
            workspace.retire_rules_of((*old)->rules[SG_IN]);
            workspace.retire_rules_of((*old)->rules[SG_OUT]);
        }
        const bool known = old != before.end() && (*old)->key == key;
        auto compiled = compile_group(workspace, group->second, known ? *old : nullptr);
        if (!compiled) {
            return unexpected(std::move(compiled).error());
        }
        groups.push_back(std::move(*compiled));
        old += known ? 1 : 0;
    }
    for (; old != before.end(); ++old) {
        workspace.retire_rules_of((*old)->rules[SG_IN]);
        workspace.retire_rules_of((*old)->rules[SG_OUT]);
    }
    if (before.empty()) {
        workspace.retire_unnamed_rules();  // an anonymous image knows rules, but not whose they are
    }
    workspace.next.groups = std::move(groups);
    return {};
}

const GroupImage* find_group(const MapImage& image, const std::string& key) {
    const auto found =
        std::lower_bound(image.groups.begin(), image.groups.end(), key,
                         [](const auto& group, const std::string& wanted) { return group->key < wanted; });
    return found != image.groups.end() && (*found)->key == key ? found->get() : nullptr;
}

void number_vpcs(Workspace& workspace) {
    std::map<std::string, std::uint32_t> numbers;
    for (const auto& [name, interface] : workspace.state().interfaces) {
        const auto [it, added] = numbers.try_emplace(interface.vpc);
        if (added) {
            const auto known = workspace.previous().vpcs.find(interface.vpc);
            it->second = known != workspace.previous().vpcs.end() ? known->second : workspace.next.vpc_pool.take();
        }
    }
    workspace.next.vpcs = std::move(numbers);
}

namespace {

// Gives the interned sets their host-wide numbers, and keeps objects that came out as they were.
class SetNumbering {
public:
    SetNumbering(Workspace& workspace, SetKind kind)
        : workspace_(workspace), kind_(kind), before_(workspace.previous().sets[kind]) {
        for (const SetContent& set : before_->sets) {
            if (!set.names.empty()) {
                known_.emplace(set.names, set.number);
            }
        }
    }

    // `name_of`: item -> name; items ascend as names do.
    template <typename NameOf>
    void add_table(Family family, std::vector<SetRow> rows, const SetInterner& sets, NameOf&& name_of) {
        numbers_.resize(sets.size(), 0);
        for (SetRow& row : rows) {
            std::uint32_t& number = numbers_[row.value];
            if (number == 0) {
                std::vector<std::string> names;
                for (const std::uint32_t item : sets.items(row.value)) {
                    names.push_back(name_of(item));
                }
                const auto known = known_.find(names);
                number = known != known_.end() ? known->second : workspace_.next.set_pool.take();
                family_.sets.push_back({number, std::move(names)});
            }
            row.value = number;
        }
        const std::size_t index = static_cast<std::size_t>(family);
        if (before_->tables[index]->rows == rows) {
            family_.tables[index] = before_->tables[index];
            return;
        }
        SetTable table{std::move(rows), {}};
        table.sum = sum_of(table, kind_);
        family_.tables[index] = std::make_shared<const SetTable>(std::move(table));
    }

    void finish() {
        std::sort(family_.sets.begin(), family_.sets.end());
        if (family_.tables == before_->tables && family_.sets == before_->sets) {
            return;
        }
        workspace_.next.sets[kind_] = std::make_shared<const SetFamily>(std::move(family_));
    }

private:
    Workspace& workspace_;
    SetKind kind_;
    std::shared_ptr<const SetFamily> before_;
    std::map<std::vector<std::string>, std::uint32_t> known_;
    std::vector<std::uint32_t> numbers_;  // interned -> number, 0 = not yet
    SetFamily family_;
};

std::shared_ptr<const ListImage> compile_list(const PrefixList& list, std::shared_ptr<const ListImage> before) {
    const auto same_entries = [&] {
        return before->family == list.family && before->given.size() == list.entries.size() &&
               std::equal(list.entries.begin(), list.entries.end(), before->given.begin(),
                          [](const PrefixListEntry& entry, const Prefix& prefix) { return entry.prefix == prefix; });
    };
    if (before != nullptr && same_entries()) {
        return before;
    }
    ListImage image;
    image.name = list.name;
    image.family = list.family;
    image.given.reserve(list.entries.size());
    for (const PrefixListEntry& entry : list.entries) {
        image.given.push_back(entry.prefix);
    }
    if (std::adjacent_find(image.given.begin(), image.given.end(), std::greater_equal<>()) != image.given.end()) {
        image.sorted = image.given;
        std::sort(image.sorted.begin(), image.sorted.end());
        image.sorted.erase(std::unique(image.sorted.begin(), image.sorted.end()), image.sorted.end());
    }
    return std::make_shared<const ListImage>(std::move(image));
}

std::uint32_t band_of(const Prefix& prefix) {
    const unsigned short_max = prefix.address.family == Family::kIpv4 ? SG_BAND_SHORT_MAX_V4 : SG_BAND_SHORT_MAX_V6;
    return prefix.length <= short_max ? SG_BAND_SHORT : SG_BAND_LONG;
}

}  // namespace

void resolve_lists(Workspace& workspace, const std::vector<std::string>& names) {
    const auto& before = workspace.previous().lists;
    std::vector<std::shared_ptr<const ListImage>> lists;
    auto old = before.begin();
    for (const std::string& name : names) {
        const auto list = workspace.state().prefix_lists.find(name);
        if (list == workspace.state().prefix_lists.end()) {
            continue;
        }
        while (old != before.end() && (*old)->name < name) {
            ++old;
        }
        const bool known = old != before.end() && (*old)->name == name;
        lists.push_back(compile_list(list->second, known ? *old : nullptr));
    }
    if (lists == before) {
        return;
    }
    SetNumbering numbering(workspace, kListSets);
    SetInterner sets;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        std::vector<TrieEntry> entries;
        for (std::uint32_t item = 0; item < lists.size(); ++item) {
            if (lists[item]->family != family) {
                continue;
            }
            // A list is sorted but for its bands, so one pass for each band sorts it.
            std::vector<TrieEntry> of_list;
            of_list.reserve(lists[item]->prefixes().size());
            for (const std::uint32_t band : {SG_BAND_SHORT, SG_BAND_LONG}) {
                for (const Prefix& prefix : lists[item]->prefixes()) {
                    if (band_of(prefix) == band) {
                        of_list.push_back({band, address_bits_of(prefix.address), prefix.length, item});
                    }
                }
            }
            std::vector<TrieEntry> merged;
            merged.reserve(entries.size() + of_list.size());
            std::merge(entries.begin(), entries.end(), of_list.begin(), of_list.end(), std::back_inserter(merged));
            entries = std::move(merged);
        }
        numbering.add_table(family, inherit_sets(entries, family, sets), sets,
                            [&](std::uint32_t item) { return lists[item]->name; });
    }
    numbering.finish();
    workspace.next.lists = std::move(lists);
}

namespace {

// What one VPC sees of its own members and of those in actively peered VPCs (SG-4.17, SG-4.26): the
// groups that its policies refer to. Other groups would only multiply the sets: a group for every
// workload beside one for all would make a set per workload, and a row for each in every policy.
struct View {
    std::uint32_t vpc;
    const std::vector<bool>* refs;  // by group index
};

}  // namespace

void resolve_members(Workspace& workspace, const GroupRefs& refs) {
    const State& state = workspace.state();
    std::unordered_map<std::string_view, std::uint32_t> group_index;
    for (const auto& group : workspace.next.groups) {
        group_index.emplace(group->key, static_cast<std::uint32_t>(group_index.size()));
    }
    std::unordered_map<std::string, std::vector<bool>> wanted;  // viewing VPC -> groups it refers to
    for (const auto& [vpc, number] : workspace.next.vpcs) {
        wanted[vpc].resize(group_index.size());
    }
    for (const auto& [vpc, keys] : refs) {
        std::vector<bool>& marks = wanted.at(vpc);
        for (const std::string& key : keys) {
            const auto found = group_index.find(key);
            if (found != group_index.end()) {
                marks[found->second] = true;
            }
        }
    }
    std::unordered_map<std::string, std::vector<View>> views;  // VPC of the member -> who sees it
    for (const auto& [vpc, number] : workspace.next.vpcs) {
        views[vpc].push_back({number, &wanted.at(vpc)});
    }
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& [name, peering] : state.peerings) {
        if (peering.status != "active") {
            continue;
        }
        for (const std::size_t side : {0U, 1U}) {
            const std::string& viewer = peering.vpcs[side];
            const std::string& member = peering.vpcs[1 - side];
            const auto number = workspace.next.vpcs.find(viewer);
            if (viewer != member && number != workspace.next.vpcs.end() && seen.emplace(viewer, member).second) {
                views[member].push_back({number->second, &wanted.at(viewer)});
            }
        }
    }

    std::array<std::vector<TrieEntry>, SG_FAMILIES> entries;
    std::vector<std::uint32_t> groups;
    for (const auto& [name, interface] : state.interfaces) {
        groups.clear();
        for (const std::string& key : interface.groups) {
            groups.push_back(group_index.at(key));
        }
        for (const View& view : views[interface.vpc]) {
            for (const Prefix& prefix : interface.addresses) {
                const AddressBits bits = address_bits_of(prefix.address);
                for (const std::uint32_t group : groups) {
                    if ((*view.refs)[group]) {
                        entries[static_cast<std::size_t>(prefix.address.family)].push_back(
                            {view.vpc, bits, prefix.length, group});
                    }
                }
            }
        }
    }
    SetNumbering numbering(workspace, kGroupSets);
    SetInterner sets;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        std::vector<TrieEntry>& of_family = entries[static_cast<std::size_t>(family)];
        std::sort(of_family.begin(), of_family.end());
        numbering.add_table(family, inherit_sets(of_family, family, sets), sets,
                            [&](std::uint32_t item) { return workspace.next.groups[item]->key; });
    }
    numbering.finish();
}

SetIndex index_lists(const MapImage& image) {
    SetIndex index;
    for (const SetContent& set : image.sets[kListSets]->sets) {
        for (const std::string& name : set.names) {
            index.sets_with[name].push_back(set.number);
        }
    }
    return index;
}

std::unordered_map<std::uint32_t, SetIndex> index_groups(const MapImage& image) {
    std::unordered_map<std::uint32_t, const SetContent*> contents;
    for (const SetContent& set : image.sets[kGroupSets]->sets) {
        contents.emplace(set.number, &set);
    }
    std::set<std::pair<std::uint32_t, std::uint32_t>> visible;  // viewing VPC, set
    for (const auto& table : image.sets[kGroupSets]->tables) {
        for (const SetRow& row : table->rows) {
            visible.emplace(row.scope, row.value);
        }
    }
    std::unordered_map<std::uint32_t, SetIndex> indexes;
    for (const auto& [vpc, set] : visible) {
        for (const std::string& name : contents.at(set)->names) {
            indexes[vpc].sets_with[name].push_back(set);
        }
    }
    return indexes;
}

}  // namespace sgbpf
