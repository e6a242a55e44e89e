// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/image.hpp"

#include <algorithm>
#include <cstring>

#include "image/encode.hpp"

namespace sgbpf {

FixedId fixed_id(std::string_view text) {
    FixedId id{};
    std::memcpy(id.data(), text.data(), std::min(text.size(), id.size()));
    return id;
}

std::string_view id_text(const FixedId& id) {
    return {id.data(), strnlen(id.data(), id.size())};
}

std::string_view id_text(const char (&id)[SG_ID_BYTES]) {
    return {id, strnlen(id, SG_ID_BYTES)};
}

void RuleSlots::set(std::uint32_t slot, const sg_rule& record) {
    const auto id_of = [](const sg_rule& rule) {
        FixedId id;
        std::memcpy(id.data(), rule.id, id.size());
        return id;
    };
    const sg_rule before = records.get(slot);
    ContentSum old;
    old.add<MapId::kRules>(slot, before);
    sum -= old;
    sum.add<MapId::kRules>(slot, record);
    const FixedId old_id = id_of(before);
    const FixedId new_id = id_of(record);
    if (old_id != new_id) {
        if (old_id != FixedId{}) {
            slots.erase(old_id);
        }
        slots.edit(new_id) = slot;
    }
    records.set(slot, record);
}

MapImage::MapImage() {
    const auto empty_table = std::make_shared<const SetTable>();
    SetFamily empty;
    empty.tables = {empty_table, empty_table};
    const auto shared = std::make_shared<const SetFamily>(std::move(empty));
    sets = {shared, shared};
    services = {empty_table, empty_table};
}

std::optional<std::uint32_t> MapImage::interface_slot(std::string_view id) const {
    const FixedId wanted = fixed_id(id);
    for (std::size_t slot = 0; slot < interfaces.size(); ++slot) {
        if (interfaces[slot] != nullptr && interfaces[slot]->id == wanted) {
            return static_cast<std::uint32_t>(slot);
        }
    }
    return std::nullopt;
}

const InterfaceImage* MapImage::interface_at(std::uint32_t slot) const {
    return slot < interfaces.size() ? interfaces[slot].get() : nullptr;
}

std::optional<std::uint32_t> MapImage::rule_slot(std::string_view id) const {
    const std::uint32_t* slot = rules.slots.find(fixed_id(id));
    return slot == nullptr ? std::nullopt : std::optional(*slot);
}

std::string_view MapImage::rule_id(std::uint32_t slot) const {
    return slot < rules.records.size() ? id_text(rules.records[slot].id) : std::string_view{};
}

std::vector<std::uint32_t> MapImage::retired_rule_slots() const {
    std::vector<std::uint32_t> retired;
    for (std::size_t slot = 1; slot < rules.records.size(); ++slot) {
        if (rules.records[slot].live == 0) {
            retired.push_back(static_cast<std::uint32_t>(slot));
        }
    }
    return retired;
}

}  // namespace sgbpf
