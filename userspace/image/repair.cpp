// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading maps back. What counts is what a packet at the generation in force can reach: from the
// interfaces through policy slots to policies, and from the set tables to rows. The rest is debris of
// an interrupted commit.
#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "image/elements.hpp"
#include "image/encode.hpp"
#include "image/plan.hpp"

namespace sgbpf {
namespace {

struct BytesHash {
    std::size_t operator()(const std::vector<std::byte>& bytes) const noexcept {
        return std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
};

// Typed views on the raw rows.
template <MapId map, typename F> void for_rows(const RawMaps& maps, F&& f) {
    using Types = MapTypes<map>;
    const auto found = maps.find(map);
    if (found == maps.end()) {
        return;
    }
    for (const RawRow& row : found->second) {
        typename Types::Key key{};
        typename Types::Value value{};
        if (row.key.size() == sizeof(key) && row.value.size() == sizeof(value)) {
            std::memcpy(&key, row.key.data(), sizeof(key));
            std::memcpy(&value, row.value.data(), sizeof(value));
            f(key, value);
        }
    }
}

template <MapId map> auto array_of(const RawMaps& maps) {
    std::unordered_map<std::uint32_t, typename MapTypes<map>::Value> elements;
    for_rows<map>(maps, [&](std::uint32_t key, const auto& value) { elements.emplace(key, value); });
    return elements;
}

template <typename Value> Value element(const std::unordered_map<std::uint32_t, Value>& elements, std::uint32_t index) {
    const auto found = elements.find(index);
    return found == elements.end() ? Value{} : found->second;
}

class MapReader {
public:
    MapReader(const RawMaps& maps, std::uint64_t generation)
        : maps_(maps), generation_(generation), classes_(array_of<MapId::kClasses>(maps)),
          intervals_(array_of<MapId::kIntervals>(maps)), refs_(array_of<MapId::kRuleRefs>(maps)) {}

    MapImage read() {
        read_interfaces();
        read_policies();
        read_sets(kListSets);
        read_sets(kGroupSets);
        image_.services = {read_service_table<MapId::kLocals4>(), read_service_table<MapId::kLocals6>()};
        read_rows();
        for_rows<MapId::kRules>(maps_, [&](std::uint32_t slot, const sg_rule& rule) { image_.rules.set(slot, rule); });
        fill_pools();
        image_.sum = sum_of(image_);
        return std::move(image_);
    }

private:
    void read_interfaces() {
        std::unordered_map<std::uint32_t, std::vector<Prefix>> locals;  // by scope
        const auto read_locals = [&](const auto& key, const sg_versioned& value) {
            if (value_at(value, generation_) != 0 && !is_service_scope(key.scope)) {
                locals[key.scope].push_back(prefix_of(key));
            }
        };
        for_rows<MapId::kLocals4>(maps_, read_locals);
        for_rows<MapId::kLocals6>(maps_, read_locals);
        const auto slots = array_of<MapId::kPolicySlots>(maps_);
        for_rows<MapId::kInterfaces>(maps_, [&](std::uint32_t slot, const sg_interface& record) {
            const std::uint32_t copy = value_at(record.current, generation_) & 1;
            const sg_interface_config& config = record.config[copy];
            if (config.flags == 0) {
                return;  // coming with the next generation, or gone with this one
            }
            InterfaceImage interface;
            std::memcpy(interface.id.data(), record.id, sizeof(record.id));
            interface.slot = slot;
            interface.copy = copy;
            interface.config = config;
            interface.locals = std::move(locals[slot]);
            std::sort(interface.locals.begin(), interface.locals.end());
            interface.tracked_peers = std::move(locals[SG_SCOPE_ALWAYS_TRACK(slot)]);
            std::sort(interface.tracked_peers.begin(), interface.tracked_peers.end());
            interface.sum = sum_of(interface);
            image_.interfaces.set(slot, std::make_shared<const InterfaceImage>(std::move(interface)));
            vpcs_.insert(config.vpc);
            for (const std::uint32_t policy_slot : config.policy_slot) {
                const std::uint32_t policy = value_at(element(slots, policy_slot), generation_);
                if (policy != 0) {
                    image_.policy_slots.set(policy_slot, PolicySlot{policy, nullptr});
                    reachable_.insert(policy);
                }
            }
        });
    }

    void read_policies() {
        std::unordered_map<std::uint32_t, PolicyImage> policies;
        const auto records = array_of<MapId::kPolicies>(maps_);
        for (const std::uint32_t number : reachable_) {
            policies[number].number = number;
            policies[number].record = element(records, number);
            vpcs_.insert(policies[number].record.vpc);
        }
        for_rows<MapId::kCidr4>(maps_, [&](const sg_prefix4& key, std::uint32_t class_number) {
            if (reachable_.contains(key.scope)) {
                policies[key.scope].cidr4.push_back({key, class_number});
            }
        });
        for_rows<MapId::kCidr6>(maps_, [&](const sg_prefix6& key, std::uint32_t class_number) {
            if (reachable_.contains(key.scope)) {
                policies[key.scope].cidr6.push_back({key, class_number});
            }
        });
        for (auto& [number, policy] : policies) {
            std::vector<std::uint32_t> numbers(policy.record.any_class, policy.record.any_class + SG_FAMILIES);
            for (const auto& row : policy.cidr4) {
                numbers.push_back(row.class_number);
            }
            for (const auto& row : policy.cidr6) {
                numbers.push_back(row.class_number);
            }
            policy.block = read_block(std::move(numbers));
            policy.sum = sum_of(policy);
            image_.policies.set(number, {std::make_shared<const PolicyImage>(std::move(policy)), nullptr});
        }
    }

    ClassBlock read_block(std::vector<std::uint32_t> numbers) {
        std::sort(numbers.begin(), numbers.end());
        numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
        ClassBlock block;
        std::unordered_set<std::uint32_t> seen_refs;
        std::unordered_set<std::uint32_t> seen_intervals;
        for (const std::uint32_t number : numbers) {
            if (number == 0) {
                continue;
            }
            const sg_class content = element(classes_, number);
            block.classes.push_back({number, content});
            class_ranges_.push_back({number, 1});
            for (const sg_ports& ports : content.kind) {
                // A kind has at most 65536 intervals; more can only be debris.
                if (ports.intervals == 0 || ports.intervals > 65536) {
                    continue;
                }
                if (seen_refs.insert(ports.first_rule).second) {
                    read_refs(block, ports);
                }
                if (seen_intervals.insert(ports.first_interval).second) {
                    block.intervals.push_back(read_run(ports));
                }
            }
        }
        block.sum = sum_of(block);
        return block;
    }

    void read_refs(ClassBlock& block, const sg_ports& ports) {
        block.ref_runs.push_back({ports.first_rule, static_cast<std::uint32_t>(block.rules.size()), ports.intervals});
        for (std::uint32_t i = 0; i < ports.intervals; ++i) {
            block.rules.push_back(element(refs_, ports.first_rule + i).rule);
        }
        ref_ranges_.push_back({ports.first_rule, ports.intervals});
    }

    std::shared_ptr<const IntervalRun> read_run(const sg_ports& ports) {
        IntervalRun run;
        run.first = ports.first_interval;
        std::vector<std::uint32_t> packed;
        for (std::uint32_t i = 0; i < ports.intervals; ++i) {
            run.intervals.push_back(element(intervals_, ports.first_interval + i));
            packed.push_back(std::uint32_t{run.intervals.back().first} << 16 | run.intervals.back().last);
        }
        IntervalRuns::Entry& entry = image_.intervals.by_content.edit(packed);
        if (entry.run == nullptr) {
            image_.intervals.sum += sum_of(run);
            interval_ranges_.push_back({run.first, ports.intervals});
            entry.run = std::make_shared<const IntervalRun>(std::move(run));
        }
        ++entry.blocks;
        return entry.run;
    }

    static bool is_service_scope(std::uint32_t scope) { return scope >= SG_SCOPE_SERVICE(0, 0, 0); }

    // Rows in force, of the scopes that `wanted` accepts.
    template <MapId map, typename Wanted> std::vector<SetRow> rows_in_force(Wanted&& wanted) {
        struct Row {
            SetRow row;
            bool is_settled;
        };
        std::vector<Row> rows;
        for_rows<map>(maps_, [&](const auto& key, const sg_versioned& value) {
            if (wanted(key.scope)) {
                rows.push_back({{key.scope, prefix_of(key), value_at(value, generation_)}, value.since == 0});
            }
        });
        std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.row < b.row; });
        std::vector<SetRow> in_force;
        std::vector<const SetRow*> stack;
        for (const Row& row : rows) {
            while (!stack.empty() &&
                   (stack.back()->scope != row.row.scope || !covers(stack.back()->prefix, row.row.prefix))) {
                stack.pop_back();
            }
            const std::uint32_t inherited = stack.empty() ? 0 : stack.back()->value;
            stack.push_back(&row.row);
            // Rows of the next generation and tombstones say what would be inherited anyway.
            if (row.row.value == inherited && (row.row.value == 0 || !row.is_settled)) {
                continue;
            }
            in_force.push_back(row.row);
        }
        return in_force;
    }

    template <MapId map> std::shared_ptr<const SetTable> read_table(SetKind kind) {
        SetTable table;
        table.rows = rows_in_force<map>([](std::uint32_t) { return true; });
        for (const SetRow& row : table.rows) {
            sets_.insert(row.value);
            if (kind == kGroupSets) {
                vpcs_.insert(row.scope);
            }
        }
        table.sum = sum_of(table, kind);
        return std::make_shared<const SetTable>(std::move(table));
    }

    template <MapId map> std::shared_ptr<const SetTable> read_service_table() {
        SetTable table;
        table.rows = rows_in_force<map>(is_service_scope);
        table.sum = sum_of_services(table);
        return std::make_shared<const SetTable>(std::move(table));
    }

    void read_sets(SetKind kind) {
        sets_.clear();
        SetFamily family;
        if (kind == kListSets) {
            family.tables = {read_table<MapId::kLists4>(kind), read_table<MapId::kLists6>(kind)};
        } else {
            family.tables = {read_table<MapId::kMembers4>(kind), read_table<MapId::kMembers6>(kind)};
        }
        for (const std::uint32_t number : sets_) {
            if (number != 0) {
                family.sets.push_back({number, {}});
                all_sets_.insert(number);
            }
        }
        std::sort(family.sets.begin(), family.sets.end());
        image_.sets[kind] = std::make_shared<const SetFamily>(std::move(family));
    }

    void read_rows() {
        std::unordered_map<std::uint32_t, std::vector<PolicyRows::Row>> rows;
        for_rows<MapId::kSetClasses>(maps_, [&](const sg_set_key& key, std::uint32_t class_number) {
            if (reachable_.contains(key.policy) && all_sets_.contains(key.set)) {
                rows[key.policy].push_back({key.set, class_number});
            }
        });
        for (const std::uint32_t number : reachable_) {
            PolicyRows of_policy;
            of_policy.rows = std::move(rows[number]);
            std::sort(of_policy.rows.begin(), of_policy.rows.end(),
                      [](const auto& a, const auto& b) { return a.set < b.set; });
            std::unordered_set<std::uint32_t> seen;
            for (const PolicyRows::Row& row : of_policy.rows) {
                if (seen.insert(row.class_number).second) {
                    SubsetClass subset;
                    subset.block = read_block({row.class_number});
                    of_policy.classes.push_back(std::make_shared<const SubsetClass>(std::move(subset)));
                }
            }
            of_policy.sum = sum_of(of_policy, number);
            PolicyEntry entry = image_.policies[number];
            entry.rows = std::make_shared<const PolicyRows>(std::move(of_policy));
            image_.policies.set(number, std::move(entry));
        }
    }

    void fill_pools() {
        const auto used_slots = [](const auto& slots, auto&& is_used) {
            std::vector<NumberPool::Range> used;
            for (std::size_t i = 0; i < slots.size(); ++i) {
                if (is_used(slots[i])) {
                    used.push_back({static_cast<std::uint32_t>(i), 1});
                }
            }
            return used;
        };
        const auto used_set = [](const std::unordered_set<std::uint32_t>& numbers) {
            std::vector<NumberPool::Range> used;
            for (const std::uint32_t number : numbers) {
                used.push_back({number, 1});
            }
            return used;
        };
        image_.interface_pool =
            NumberPool::from_used(1, used_slots(image_.interfaces, [](const auto& p) { return p != nullptr; }));
        image_.policy_slot_pool =
            NumberPool::from_used(1, used_slots(image_.policy_slots, [](const auto& s) { return s.policy != 0; }));
        image_.policy_pool = NumberPool::from_used(1, used_set(reachable_));
        image_.class_pool = NumberPool::from_used(1, class_ranges_);
        image_.interval_pool = NumberPool::from_used(0, interval_ranges_);
        image_.ref_pool = NumberPool::from_used(0, ref_ranges_);
        image_.set_pool = NumberPool::from_used(1, used_set(all_sets_));
        image_.vpc_pool = NumberPool::from_used(1, used_set(vpcs_));
    }

    const RawMaps& maps_;
    std::uint64_t generation_;
    std::unordered_map<std::uint32_t, sg_class> classes_;
    std::unordered_map<std::uint32_t, sg_interval> intervals_;
    std::unordered_map<std::uint32_t, sg_rule_ref> refs_;
    MapImage image_;
    std::unordered_set<std::uint32_t> reachable_;  // policies
    std::unordered_set<std::uint32_t> sets_;
    std::unordered_set<std::uint32_t> all_sets_;
    std::unordered_set<std::uint32_t> vpcs_;
    std::vector<NumberPool::Range> class_ranges_;
    std::vector<NumberPool::Range> interval_ranges_;
    std::vector<NumberPool::Range> ref_ranges_;
};

using RowIndex = std::unordered_map<std::vector<std::byte>, const std::vector<std::byte>*, BytesHash>;

// EditList speaks in types; this finds the type of a map known at run time.
void put_bytes(EditList& out, MapId map, std::span<const std::byte> key, std::span<const std::byte> value) {
    switch (map) {
#define SGBPF_PUT(symbol, name, kind, key_type, value_type, capacity, words)                                           \
    case MapId::k##symbol: {                                                                                           \
        key_type typed_key{};                                                                                          \
        value_type typed_value{};                                                                                      \
        std::memcpy(&typed_key, key.data(), sizeof(typed_key));                                                        \
        if (!value.empty()) {                                                                                          \
            std::memcpy(&typed_value, value.data(), sizeof(typed_value));                                              \
        }                                                                                                              \
        if constexpr (MapKind::kind != MapKind::kArray) {                                                              \
            if (value.empty()) {                                                                                       \
                out.remove<MapId::k##symbol>(typed_key);                                                               \
                return;                                                                                                \
            }                                                                                                          \
        }                                                                                                              \
        out.put<MapId::k##symbol>(typed_key, typed_value);                                                             \
        return;                                                                                                        \
    }
        SGBPF_MAPS(SGBPF_PUT)
#undef SGBPF_PUT
    }
}

}  // namespace

MapImage image_from_maps(const RawMaps& maps, std::uint64_t generation) {
    return MapReader(maps, generation).read();
}

EditList repair_edits(const RawMaps& maps, const MapImage& in_force) {
    std::array<RowIndex, kMaps.size()> have;
    std::array<std::unordered_set<std::vector<std::byte>, BytesHash>, kMaps.size()> kept;
    for (const auto& [map, rows] : maps) {
        for (const RawRow& row : rows) {
            have[static_cast<std::size_t>(map)].emplace(row.key, &row.value);
        }
    }
    // A value that stays is stored settled: it reads the same at the generation in force. Then what is
    // not part of the image: nothing reaches it, or it says what would be inherited without it.
    EditList edits;
    for_each_element(in_force, [&](MapId map, std::span<const std::byte> key, std::span<const std::byte> value) {
        const std::vector<std::byte> key_bytes(key.begin(), key.end());
        const RowIndex& index = have[static_cast<std::size_t>(map)];
        const auto found = index.find(key_bytes);
        if (found == index.end() ||
            !std::equal(value.begin(), value.end(), found->second->begin(), found->second->end())) {
            put_bytes(edits, map, key, value);
        }
        kept[static_cast<std::size_t>(map)].insert(key_bytes);
    });
    for (const auto& [map, rows] : maps) {
        for (const RawRow& row : rows) {
            if (!kept[static_cast<std::size_t>(map)].contains(row.key)) {
                put_bytes(edits, map, row.key, {});
            }
        }
    }
    return edits;
}

EditList undo_edits(const RawMaps& maps, std::uint64_t generation) {
    EditList edits;
    const auto taken_back = [generation](const sg_versioned& versioned) {
        const std::uint64_t old_value = versioned.values & 0xffffffff;
        return generation >= versioned.since ? versioned : sg_versioned{old_value << 32 | old_value, versioned.since};
    };
    for_rows<MapId::kPolicySlots>(maps, [&](std::uint32_t slot, const sg_versioned& versioned) {
        if (const sg_versioned undone = taken_back(versioned); undone.values != versioned.values) {
            edits.put<MapId::kPolicySlots>(slot, undone);
        }
    });
    for_rows<MapId::kInterfaces>(maps, [&](std::uint32_t slot, const sg_interface& record) {
        sg_interface undone = record;
        undone.current = taken_back(record.current);
        if (undone.current.values != record.current.values) {
            edits.put<MapId::kInterfaces>(slot, undone);
        }
    });
    return edits;
}

}  // namespace sgbpf
