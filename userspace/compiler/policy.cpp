// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/policy.hpp"

#include <algorithm>
#include <map>

#include "compiler/classes.hpp"
#include "compiler/trie.hpp"

namespace sgbpf {
namespace {

// Rules of all groups by rank: lowest id first, which is the order of attribution.
std::vector<const CompiledRule*> ranked(const std::vector<std::shared_ptr<const GroupRules>>& groups) {
    std::vector<const CompiledRule*> rules;
    for (const auto& group : groups) {
        for (const CompiledRule& rule : group->rules) {
            rules.push_back(&rule);
        }
    }
    std::sort(rules.begin(), rules.end(), [](const CompiledRule* a, const CompiledRule* b) {
        const int order = std::memcmp(a->id.data(), b->id.data(), a->id.size());
        return order != 0 ? order < 0 : a->slot < b->slot;
    });
    return rules;
}

void sort_unique(std::vector<std::string>& names) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
}

std::size_t index_of(Family family) {
    return static_cast<std::size_t>(family);
}

// Bits of sg_policy.open that one literal /0 rule sets (SG-5.11..5.14).
std::uint32_t open_bits(const CompiledRule& rule, Family family) {
    const bool all_ports = rule.ports.first == 0 && rule.ports.last == 65535;
    std::uint32_t bits = 0;
    if (rule.protocol == kAllProtocols || (rule.protocol == kTcp && all_ports)) {
        bits |= SG_POLICY_OPEN(static_cast<unsigned>(family), false);
    }
    if (rule.protocol == kAllProtocols || (rule.protocol == kUdp && all_ports)) {
        bits |= SG_POLICY_OPEN(static_cast<unsigned>(family), true);
    }
    return bits;
}

struct RulesByPeer {
    std::array<std::vector<std::uint32_t>, SG_FAMILIES> any;  // ranks
    std::array<std::vector<TrieEntry>, SG_FAMILIES> cidr;     // item = rank
};

}  // namespace

std::shared_ptr<const PolicyImage> compile_policy(Workspace& workspace, std::uint32_t vpc,
                                                  std::vector<std::shared_ptr<const GroupRules>> groups) {
    PolicyImage policy;
    policy.number = workspace.next.policy_pool.take();
    policy.record.vpc = vpc;
    policy.record.live = 1;

    const std::vector<const CompiledRule*> rules = ranked(groups);
    RulesByPeer by_peer;
    for (std::uint32_t rank = 0; rank < rules.size(); ++rank) {
        const CompiledRule& rule = *rules[rank];
        if (const auto* prefix = std::get_if<Prefix>(&rule.peer)) {
            const Family family = prefix->address.family;
            if (prefix->length == 0) {
                by_peer.any[index_of(family)].push_back(rank);
                policy.record.open |= open_bits(rule, family);
            } else {
                by_peer.cidr[index_of(family)].push_back({0, address_bits_of(prefix->address), prefix->length, rank});
            }
        } else if (const auto* list = std::get_if<PrefixListRef>(&rule.peer)) {
            policy.list_refs.push_back(list->name);
        } else {
            policy.group_refs.push_back(std::get<GroupRef>(rule.peer).key);
        }
    }
    sort_unique(policy.list_refs);
    sort_unique(policy.group_refs);
    // Whether a table can find anything must not depend on who is in a list or group today: membership
    // changes without touching the policy.
    for (const std::string& name : policy.list_refs) {
        const auto list = workspace.state().prefix_lists.find(name);
        if (list != workspace.state().prefix_lists.end()) {
            policy.record.tables |= list->second.family == Family::kIpv4 ? SG_TABLE_LIST4 : SG_TABLE_LIST6;
        }
    }
    policy.record.tables |= policy.group_refs.empty() ? 0 : SG_TABLE_GROUPS;

    BlockBuilder builder(workspace, rules);
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        policy.record.any_class[index_of(family)] = builder.class_of(by_peer.any[index_of(family)]);
        std::vector<TrieEntry>& entries = by_peer.cidr[index_of(family)];
        std::sort(entries.begin(), entries.end());
        for_each_inherited(entries, [&](const TrieEntry& entry, std::span<const std::uint32_t> ranks) {
            const Prefix prefix = prefix_of(entry, family);
            const std::uint32_t number = builder.class_of(ranks);
            if (family == Family::kIpv4) {
                policy.cidr4.push_back({key4(policy.number, prefix), number});
            } else {
                policy.cidr6.push_back({key6(policy.number, prefix), number});
            }
            return !workspace.too_many_refs();
        });
    }
    policy.record.tables |= policy.cidr4.empty() ? 0 : SG_TABLE_CIDR4;
    policy.record.tables |= policy.cidr6.empty() ? 0 : SG_TABLE_CIDR6;
    policy.block = builder.finish();
    policy.groups = std::move(groups);
    policy.sum = sum_of(policy);
    return std::make_shared<const PolicyImage>(std::move(policy));
}

namespace {

// Set number -> which of the policy's references it contains (indexes as in SubsetClass::refs).
std::vector<std::pair<std::uint32_t, std::vector<std::uint32_t>>>
sets_of(const PolicyImage& policy, const SetIndex& lists, const SetIndex& groups) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;  // set, reference
    std::uint32_t ref = 0;
    const auto collect = [&](const std::vector<std::string>& names, const SetIndex& index) {
        for (const std::string& name : names) {
            const auto found = index.sets_with.find(name);
            if (found != index.sets_with.end()) {
                for (const std::uint32_t set : found->second) {
                    pairs.emplace_back(set, ref);
                }
            }
            ++ref;
        }
    };
    collect(policy.list_refs, lists);
    collect(policy.group_refs, groups);
    std::sort(pairs.begin(), pairs.end());
    std::vector<std::pair<std::uint32_t, std::vector<std::uint32_t>>> sets;
    for (const auto& [set, reference] : pairs) {
        if (sets.empty() || sets.back().first != set) {
            sets.emplace_back(set, std::vector<std::uint32_t>{});
        }
        sets.back().second.push_back(reference);
    }
    return sets;
}

// Ranks of the rules behind each reference.
std::vector<std::vector<std::uint32_t>> ranks_by_ref(const PolicyImage& policy,
                                                     const std::vector<const CompiledRule*>& rules) {
    const auto position = [](const std::vector<std::string>& names, const std::string& name) {
        return static_cast<std::size_t>(std::lower_bound(names.begin(), names.end(), name) - names.begin());
    };
    std::vector<std::vector<std::uint32_t>> ranks(policy.list_refs.size() + policy.group_refs.size());
    for (std::uint32_t rank = 0; rank < rules.size(); ++rank) {
        if (const auto* list = std::get_if<PrefixListRef>(&rules[rank]->peer)) {
            ranks[position(policy.list_refs, list->name)].push_back(rank);
        } else if (const auto* group = std::get_if<GroupRef>(&rules[rank]->peer)) {
            ranks[policy.list_refs.size() + position(policy.group_refs, group->key)].push_back(rank);
        }
    }
    return ranks;
}

}  // namespace

std::shared_ptr<const PolicyRows> compile_rows(Workspace& workspace, const PolicyImage& policy, const SetIndex& lists,
                                               const SetIndex& groups, std::shared_ptr<const PolicyRows> before) {
    const auto sets = sets_of(policy, lists, groups);
    if (before != nullptr && before->rows.size() == sets.size() &&
        std::equal(sets.begin(), sets.end(), before->rows.begin(),
                   [](const auto& set, const PolicyRows::Row& row) { return set.first == row.set; })) {
        return before;
    }
    std::map<std::vector<std::uint32_t>, std::shared_ptr<const SubsetClass>> known;
    if (before != nullptr) {
        for (const auto& subset : before->classes) {
            known.emplace(subset->refs, subset);
        }
    }
    PolicyRows rows;
    std::vector<const CompiledRule*> rules;
    std::vector<std::vector<std::uint32_t>> by_ref;
    std::map<std::vector<std::uint32_t>, std::shared_ptr<const SubsetClass>> used;
    for (const auto& [set, refs] : sets) {
        std::shared_ptr<const SubsetClass>& subset = used[refs];
        if (subset == nullptr) {
            const auto found = known.find(refs);
            if (found != known.end()) {
                subset = found->second;
            } else {
                if (by_ref.empty()) {
                    rules = ranked(policy.groups);
                    by_ref = ranks_by_ref(policy, rules);
                }
                std::vector<std::uint32_t> ranks;
                for (const std::uint32_t ref : refs) {
                    ranks.insert(ranks.end(), by_ref[ref].begin(), by_ref[ref].end());
                }
                std::sort(ranks.begin(), ranks.end());
                BlockBuilder builder(workspace, rules);
                builder.class_of(ranks);
                subset = std::make_shared<const SubsetClass>(SubsetClass{refs, builder.finish()});
            }
            rows.classes.push_back(subset);
        }
        rows.rows.push_back({set, subset->block.classes.front().number});
        if (workspace.too_many_refs()) {
            break;
        }
    }
    if (before != nullptr) {
        for (const auto& [refs, subset] : known) {
            if (!used.contains(refs)) {
                workspace.release(subset->block);
            }
        }
    }
    rows.sum = sum_of(rows, policy.number);
    return std::make_shared<const PolicyRows>(std::move(rows));
}

}  // namespace sgbpf
