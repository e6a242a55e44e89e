// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/elements.hpp"

#include "image/encode.hpp"

namespace sgbpf {
namespace {

class Emitter {
public:
    explicit Emitter(const ElementVisitor& visit) : visit_(visit) {}

    template <MapId map> void emit(const typename MapTypes<map>::Key& key, const typename MapTypes<map>::Value& value) {
        if constexpr (map_info(map).kind == MapKind::kArray) {
            static constexpr std::array<std::byte, sizeof(value)> zero{};
            if (std::memcmp(&value, zero.data(), sizeof(value)) == 0) {
                return;
            }
        }
        visit_(map, std::as_bytes(std::span(&key, 1)), std::as_bytes(std::span(&value, 1)));
    }
    template <MapId map4, MapId map6> void emit_row(std::uint32_t scope, const Prefix& prefix, std::uint32_t value) {
        with_key<map4, map6>(scope, prefix, [&]<MapId map>(const auto& key) { emit<map>(key, settled(value)); });
    }

private:
    const ElementVisitor& visit_;
};

template <typename F> void for_each_block(const MapImage& image, F&& f) {
    for (std::size_t i = 0; i < image.policies.size(); ++i) {
        const PolicyEntry& entry = image.policies[i];
        if (entry.policy != nullptr) {
            f(entry.policy->block);
            for (const auto& subset : entry.rows->classes) {
                f(subset->block);
            }
        }
    }
}

void emit_interfaces(const MapImage& image, Emitter& out) {
    for (std::size_t i = 0; i < image.interfaces.size(); ++i) {
        if (const auto& interface = image.interfaces[i]) {
            out.emit<MapId::kInterfaces>(interface->slot, interface_record(*interface));
        }
    }
    for (std::size_t i = 0; i < image.policy_slots.size(); ++i) {
        if (image.policy_slots[i].policy != 0) {
            out.emit<MapId::kPolicySlots>(static_cast<std::uint32_t>(i), settled(image.policy_slots[i].policy));
        }
    }
}

void emit_policies(const MapImage& image, Emitter& out) {
    for (std::size_t i = 0; i < image.policies.size(); ++i) {
        const PolicyEntry& entry = image.policies[i];
        if (entry.policy == nullptr) {
            continue;
        }
        out.emit<MapId::kPolicies>(entry.policy->number, entry.policy->record);
        for (const auto& row : entry.policy->cidr4) {
            out.emit<MapId::kCidr4>(row.key, row.class_number);
        }
        for (const auto& row : entry.policy->cidr6) {
            out.emit<MapId::kCidr6>(row.key, row.class_number);
        }
        for (const PolicyRows::Row& row : entry.rows->rows) {
            out.emit<MapId::kSetClasses>({entry.policy->number, row.set}, row.class_number);
        }
    }
}

void emit_tables(const MapImage& image, Emitter& out) {
    for (std::size_t family = 0; family < SG_FAMILIES; ++family) {
        for (const SetRow& row : image.sets[kListSets]->tables[family]->rows) {
            out.emit_row<MapId::kLists4, MapId::kLists6>(row.scope, row.prefix, row.value);
        }
        for (const SetRow& row : image.sets[kGroupSets]->tables[family]->rows) {
            out.emit_row<MapId::kMembers4, MapId::kMembers6>(row.scope, row.prefix, row.value);
        }
        for (const SetRow& row : image.services[family]->rows) {
            out.emit_row<MapId::kLocals4, MapId::kLocals6>(row.scope, row.prefix, row.value);
        }
    }
    for (std::size_t i = 0; i < image.interfaces.size(); ++i) {
        if (const auto& interface = image.interfaces[i]) {
            for_each_local_row(*interface, [&](const SetRow& row) {
                out.emit_row<MapId::kLocals4, MapId::kLocals6>(row.scope, row.prefix, row.value);
            });
        }
    }
}

}  // namespace

void for_each_element(const MapImage& image, const ElementVisitor& visit) {
    Emitter out(visit);
    emit_interfaces(image, out);
    emit_policies(image, out);
    emit_tables(image, out);
    for_each_block(image, [&](const ClassBlock& block) {
        for (const ClassBlock::NumberedClass& numbered : block.classes) {
            out.emit<MapId::kClasses>(numbered.number, numbered.content);
        }
        for (const ClassBlock::RefRun& run : block.ref_runs) {
            for (std::uint32_t i = 0; i < run.count; ++i) {
                out.emit<MapId::kRuleRefs>(run.first + i, sg_rule_ref{block.rules[run.begin + i], 0});
            }
        }
    });
    image.intervals.by_content.for_each([&](const auto&, const IntervalRuns::Entry& entry) {
        for (std::uint32_t i = 0; i < entry.run->intervals.size(); ++i) {
            out.emit<MapId::kIntervals>(entry.run->first + i, entry.run->intervals[i]);
        }
    });
    for (std::size_t slot = 1; slot < image.rules.records.size(); ++slot) {
        out.emit<MapId::kRules>(static_cast<std::uint32_t>(slot), image.rules.records[slot]);
    }
}

}  // namespace sgbpf
