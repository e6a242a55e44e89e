// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// plan_commit: the difference of two images. Every function handles one kind of element and knows in
// which phase it may be written without a packet of either generation noticing.
#include "image/plan.hpp"

#include <cassert>

#include "image/encode.hpp"

namespace sgbpf {
namespace {

// Writes values that change with the generation. settled_at_once: the commit is this one write.
struct Publisher {
    CommitPlan& plan;
    bool settled_at_once = false;

    template <MapId map>
    void change(const typename MapTypes<map>::Key& key, std::uint32_t before, std::uint32_t after) const {
        if (settled_at_once) {
            plan.publish.put<map>(key, settled(after));
        } else {
            plan.publish.put<map>(key, unsettled(before, after, plan.to));
            plan.after.put<map>(key, settled(after));
        }
    }
    // The row goes; `after` is what a lookup then inherits.
    template <MapId map>
    void tombstone(const typename MapTypes<map>::Key& key, std::uint32_t before, std::uint32_t after) const {
        if (settled_at_once) {
            plan.publish.remove<map>(key);
        } else {
            plan.publish.put<map>(key, unsettled(before, after, plan.to));
            plan.after.remove<map>(key);
        }
    }
};

// A row of a set table that one or both images have, with what a lookup that ends there yields.
struct TableChange {
    const Prefix* prefix;
    std::uint32_t scope;
    std::uint32_t before;
    std::uint32_t after;
    bool in_before;
    bool in_after;
};

// Longest match returns one row only, so a row that exists in one image only has, in the other, the
// value that a lookup inherits from the rows covering it. Rows are sorted, so the covering ones come
// first and stand on the stack.
template <typename F> void diff_tables(const std::vector<SetRow>& before, const std::vector<SetRow>& after, F&& f) {
    struct Level {
        const SetRow* row;
        AddressBits bits;
        std::uint32_t before;
        std::uint32_t after;
    };
    std::vector<Level> stack;
    auto a = before.begin();
    auto b = after.begin();
    while (a != before.end() || b != after.end()) {
        const auto position = [](const SetRow& row) { return std::tie(row.scope, row.prefix); };
        const bool has_a = a != before.end() && (b == after.end() || position(*a) <= position(*b));
        const bool has_b = b != after.end() && (a == before.end() || position(*b) <= position(*a));
        const SetRow& row = has_a ? *a : *b;
        const AddressBits bits = address_bits_of(row.prefix.address);
        while (!stack.empty() &&
               (stack.back().row->scope != row.scope ||
                !covers(stack.back().bits, stack.back().row->prefix.length, bits, row.prefix.length))) {
            stack.pop_back();
        }
        Level level{&row, bits, stack.empty() ? 0 : stack.back().before, stack.empty() ? 0 : stack.back().after};
        if (has_a) {
            level.before = a->value;
        }
        if (has_b) {
            level.after = b->value;
        }
        if (has_a != has_b || level.before != level.after) {
            f(TableChange{&row.prefix, row.scope, level.before, level.after, has_a, has_b});
        }
        stack.push_back(level);
        a += has_a ? 1 : 0;
        b += has_b ? 1 : 0;
    }
}

template <MapId map4, MapId map6>
void publish_table(const Publisher& out, const std::vector<SetRow>& before, const std::vector<SetRow>& after) {
    // Additions first, so that a commit that runs out of room anywhere has taken nothing away.
    for (const bool additions : {true, false}) {
        diff_tables(before, after, [&](const TableChange& change) {
            if (change.in_after != additions) {
                return;
            }
            with_key<map4, map6>(change.scope, *change.prefix, [&]<MapId map>(const auto& key) {
                if (change.in_after) {
                    out.change<map>(key, change.before, change.after);
                } else {
                    out.tombstone<map>(key, change.before, change.after);
                }
            });
        });
    }
}

std::vector<SetRow> local_rows(const InterfaceImage* interface) {
    std::vector<SetRow> rows;
    if (interface != nullptr) {
        rows.reserve(interface->locals.size() + interface->tracked_peers.size());
        for_each_local_row(*interface, [&](const SetRow& row) { rows.push_back(row); });
    }
    return rows;
}

void publish_interface_record(const Publisher& out, std::uint32_t slot, const InterfaceImage* before,
                              const InterfaceImage* after) {
    if (before != nullptr && after != nullptr && before->copy == after->copy) {
        assert(std::memcmp(&before->config, &after->config, sizeof(before->config)) == 0);
        return;
    }
    // No interface is an interface whose config is all zero: not ready, drops.
    sg_interface record = after != nullptr ? interface_record(*after) : sg_interface{};
    const std::uint32_t old_copy = before != nullptr ? before->copy : 0;
    const std::uint32_t new_copy = after != nullptr ? after->copy : 1 - old_copy;
    const sg_interface final_record = record;
    if (before != nullptr) {
        record.config[old_copy] = before->config;
        if (after == nullptr) {
            std::memcpy(record.id, before->id.data(), sizeof(record.id));
            record.live = 1;
        }
    }
    assert(old_copy != new_copy);
    record.current = out.settled_at_once ? settled(new_copy) : unsettled(old_copy, new_copy, out.plan.to);
    out.plan.publish.put<MapId::kInterfaces>(slot, record);
    if (std::memcmp(&record, &final_record, sizeof(record)) != 0) {
        out.plan.after.put<MapId::kInterfaces>(slot, final_record);
    }
}

void publish(const Publisher& out, const MapImage& current, const MapImage& next) {
    std::vector<std::pair<const InterfaceImage*, const InterfaceImage*>> changed;
    decltype(current.interfaces)::for_each_unshared(current.interfaces, next.interfaces,
                                                    [&](std::size_t, const auto& before, const auto& after) {
                                                        if (before != after) {
                                                            changed.emplace_back(before.get(), after.get());
                                                        }
                                                    });
    for (const auto& [before, after] : changed) {
        publish_table<MapId::kLocals4, MapId::kLocals6>(out, local_rows(before), local_rows(after));
    }
    for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
        const auto& lists_before = current.sets[kListSets]->tables[family];
        const auto& lists_after = next.sets[kListSets]->tables[family];
        if (lists_before != lists_after) {
            publish_table<MapId::kLists4, MapId::kLists6>(out, lists_before->rows, lists_after->rows);
        }
        const auto& members_before = current.sets[kGroupSets]->tables[family];
        const auto& members_after = next.sets[kGroupSets]->tables[family];
        if (members_before != members_after) {
            publish_table<MapId::kMembers4, MapId::kMembers6>(out, members_before->rows, members_after->rows);
        }
        if (current.services[family] != next.services[family]) {
            publish_table<MapId::kLocals4, MapId::kLocals6>(out, current.services[family]->rows,
                                                            next.services[family]->rows);
        }
    }
    decltype(current.policy_slots)::for_each_unshared(
        current.policy_slots, next.policy_slots,
        [&](std::size_t slot, const PolicySlot& before, const PolicySlot& after) {
            // A slot that comes or goes is not reachable at one of the generations.
            if (before.policy != 0 && after.policy != 0 && before.policy != after.policy) {
                out.change<MapId::kPolicySlots>(static_cast<std::uint32_t>(slot), before.policy, after.policy);
            }
        });
    for (const auto& [before, after] : changed) {
        publish_interface_record(out, before != nullptr ? before->slot : after->slot, before, after);
    }
}

void add_block(EditList& out, const ClassBlock& block) {
    for (const ClassBlock::RefRun& run : block.ref_runs) {
        for (std::uint32_t i = 0; i < run.count; ++i) {
            out.put<MapId::kRuleRefs>(run.first + i, {block.rules[run.begin + i], 0});
        }
    }
    for (const ClassBlock::NumberedClass& numbered : block.classes) {
        out.put<MapId::kClasses>(numbered.number, numbered.content);
    }
}

void free_block(EditList& out, const ClassBlock& block) {
    for (const ClassBlock::NumberedClass& numbered : block.classes) {
        out.put<MapId::kClasses>(numbered.number, {});
    }
    for (const ClassBlock::RefRun& run : block.ref_runs) {
        for (std::uint32_t i = 0; i < run.count; ++i) {
            out.put<MapId::kRuleRefs>(run.first + i, {});
        }
    }
}

// Rows and classes of sets that `rows` has and `other` does not.
template <typename Row, typename Block>
void for_rows_missing(const PolicyRows& rows, const PolicyRows& other, Row&& on_row, Block&& on_block) {
    const auto by_set = [](const PolicyRows::Row& a, const PolicyRows::Row& b) { return a.set < b.set; };
    std::vector<std::uint32_t> kept;
    for (const auto& subset : other.classes) {
        kept.push_back(subset->block.classes.front().number);
    }
    std::sort(kept.begin(), kept.end());
    for (const auto& subset : rows.classes) {
        if (!std::binary_search(kept.begin(), kept.end(), subset->block.classes.front().number)) {
            on_block(subset->block);
        }
    }
    for (const PolicyRows::Row& row : rows.rows) {
        if (!std::binary_search(other.rows.begin(), other.rows.end(), row, by_set)) {
            on_row(row);
        }
    }
}

void add_policy(EditList& out, const PolicyEntry& entry) {
    add_block(out, entry.policy->block);
    for (const auto& row : entry.policy->cidr4) {
        out.put<MapId::kCidr4>(row.key, row.class_number);
    }
    for (const auto& row : entry.policy->cidr6) {
        out.put<MapId::kCidr6>(row.key, row.class_number);
    }
}

void add_rows(EditList& out, std::uint32_t policy, const PolicyRows& rows, const PolicyRows& have) {
    for_rows_missing(
        rows, have, [](const PolicyRows::Row&) {}, [&](const ClassBlock& block) { add_block(out, block); });
    for_rows_missing(
        rows, have,
        [&](const PolicyRows::Row& row) { out.put<MapId::kSetClasses>({policy, row.set}, row.class_number); },
        [](const ClassBlock&) {});
}

void free_rows(EditList& out, std::uint32_t policy, const PolicyRows& rows, const PolicyRows& keep) {
    for_rows_missing(
        rows, keep, [&](const PolicyRows::Row& row) { out.remove<MapId::kSetClasses>({policy, row.set}); },
        [](const ClassBlock&) {});
    for_rows_missing(
        rows, keep, [](const PolicyRows::Row&) {}, [&](const ClassBlock& block) { free_block(out, block); });
}

void free_policy(EditList& out, const PolicyEntry& entry) {
    for (const auto& row : entry.policy->cidr4) {
        out.remove<MapId::kCidr4>(row.key);
    }
    for (const auto& row : entry.policy->cidr6) {
        out.remove<MapId::kCidr6>(row.key);
    }
    out.put<MapId::kPolicies>(entry.policy->number, {});
    free_block(out, entry.policy->block);
}

// What nothing reaches at the old generation, leaves first.
void plan_before(CommitPlan& plan, const MapImage& current, const MapImage& next) {
    decltype(current.intervals.by_content)::for_each_missing(
        next.intervals.by_content, current.intervals.by_content, [&](const auto&, const IntervalRuns::Entry& entry) {
            for (std::uint32_t i = 0; i < entry.run->intervals.size(); ++i) {
                plan.before.put<MapId::kIntervals>(entry.run->first + i, entry.run->intervals[i]);
            }
        });
    decltype(current.rules.records)::for_each_unshared(
        current.rules.records, next.rules.records, [&](std::size_t slot, const sg_rule& before, const sg_rule& after) {
            if (after.live != 0 && std::memcmp(&before, &after, sizeof(after)) != 0) {
                plan.before.put<MapId::kRules>(static_cast<std::uint32_t>(slot), after);
            }
        });
    const PolicyRows none;
    decltype(current.policies)::for_each_unshared(
        current.policies, next.policies, [&](std::size_t number, const PolicyEntry& before, const PolicyEntry& after) {
            if (after.policy == nullptr) {
                return;
            }
            assert(before.policy == nullptr || before.policy->sum == after.policy->sum);
            if (before.policy == nullptr) {
                add_policy(plan.before, after);
            }
            if (before.rows != after.rows) {
                add_rows(plan.before, static_cast<std::uint32_t>(number), *after.rows,
                         before.policy == nullptr ? none : *before.rows);
            }
            if (before.policy == nullptr) {
                plan.before.put<MapId::kPolicies>(after.policy->number, after.policy->record);
            }
        });
    decltype(current.policy_slots)::for_each_unshared(
        current.policy_slots, next.policy_slots,
        [&](std::size_t slot, const PolicySlot& before, const PolicySlot& after) {
            if (before.policy == 0 && after.policy != 0) {
                plan.before.put<MapId::kPolicySlots>(static_cast<std::uint32_t>(slot), settled(after.policy));
            }
        });
}

// What nothing reaches at the new generation, roots first.
void plan_frees(CommitPlan& plan, const MapImage& current, const MapImage& next) {
    decltype(current.policy_slots)::for_each_unshared(
        current.policy_slots, next.policy_slots,
        [&](std::size_t slot, const PolicySlot& before, const PolicySlot& after) {
            if (before.policy != 0 && after.policy == 0) {
                plan.after.put<MapId::kPolicySlots>(static_cast<std::uint32_t>(slot), {});
            }
        });
    const PolicyRows none;
    decltype(current.policies)::for_each_unshared(
        current.policies, next.policies, [&](std::size_t number, const PolicyEntry& before, const PolicyEntry& after) {
            if (before.policy != nullptr && before.rows != after.rows) {
                free_rows(plan.after, static_cast<std::uint32_t>(number), *before.rows,
                          after.policy == nullptr ? none : *after.rows);
            }
            if (before.policy != nullptr && after.policy == nullptr) {
                free_policy(plan.after, before);
            }
        });
    decltype(current.intervals.by_content)::for_each_missing(
        current.intervals.by_content, next.intervals.by_content, [&](const auto&, const IntervalRuns::Entry& entry) {
            for (std::uint32_t i = 0; i < entry.run->intervals.size(); ++i) {
                plan.after.put<MapId::kIntervals>(entry.run->first + i, {});
            }
        });
    decltype(current.rules.records)::for_each_unshared(
        current.rules.records, next.rules.records, [&](std::size_t slot, const sg_rule& before, const sg_rule& after) {
            if (after.live == 0 && std::memcmp(&before, &after, sizeof(after)) != 0) {
                plan.after.put<MapId::kRules>(static_cast<std::uint32_t>(slot), after);
            }
        });
}

// Also slots that nothing in `current` has used: a commit that was rolled back may have counted there.
void plan_new_slots(CommitPlan& plan, const MapImage& current, const MapImage& next) {
    decltype(current.rules.records)::for_each_unshared(
        current.rules.records, next.rules.records, [&](std::size_t slot, const sg_rule& before, const sg_rule& after) {
            if (std::memcmp(before.id, after.id, sizeof(after.id)) != 0) {
                plan.new_rule_slots.push_back(static_cast<std::uint32_t>(slot));
            }
        });
    decltype(current.interfaces)::for_each_unshared(
        current.interfaces, next.interfaces, [&](std::size_t slot, const auto& before, const auto& after) {
            if (after != nullptr && (before == nullptr || before->id != after->id)) {
                plan.new_interface_slots.push_back(static_cast<std::uint32_t>(slot));
            }
        });
}

void plan_reserves(CommitPlan& plan, const MapImage& current, const MapImage& next) {
    const auto of = [](const InterfaceImage* interface) {
        return interface != nullptr ? std::uint64_t{interface->config.reserved} : 0;
    };
    for (std::size_t slot = 0; slot < std::max(current.interfaces.size(), next.interfaces.size()); ++slot) {
        const std::uint64_t before = of(current.interface_at(static_cast<std::uint32_t>(slot)));
        const std::uint64_t after = of(next.interface_at(static_cast<std::uint32_t>(slot)));
        plan.reserved_during += std::max(before, after);
        plan.reserved_after += after;
    }
}

}  // namespace

CommitPlan plan_commit(const MapImage& current, const MapImage& next, std::uint64_t generation, bool reversible) {
    CommitPlan plan;
    plan.from = generation;
    plan.to = generation + 1;
    plan.digest = digest(next);
    plan_before(plan, current, next);
    publish(Publisher{plan}, current, next);
    plan.single_write = plan.publish.size() <= 1 && !reversible;
    if (plan.publish.size() == 1 && plan.single_write) {
        plan.publish = {};
        plan.after = {};
        publish(Publisher{plan, true}, current, next);
    }
    plan_frees(plan, current, next);
    plan_reserves(plan, current, next);
    if (generation != 0) {
        plan_new_slots(plan, current, next);
    }
    return plan;
}

}  // namespace sgbpf
