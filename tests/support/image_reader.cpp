// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/support/image_reader.hpp"

#include <cstring>

namespace sgbpf::test {
namespace {

class Reader {
public:
    Reader(const FakeDatapath& maps, const Question& question, std::uint64_t generation)
        : maps_(maps), question_(question), generation_(generation) {}

    Decision decide() {
        Decision decision;
        const sg_interface record = *maps_.get<MapId::kInterfaces>(question_.interface_slot);
        const sg_interface_config& config = record.config[at(record.current) & 1];
        decision.ready = (config.flags & SG_IF_READY) != 0;
        if (!decision.ready) {
            return decision;
        }
        if ((config.flags & SG_IF_SOURCE_CHECK) != 0 &&
            versioned<MapId::kLocals4, MapId::kLocals6>(question_.interface_slot, question_.local) == 0) {
            decision.wrong_address = true;
            return decision;
        }
        const std::uint32_t rule = match(config.policy_slot[question_.direction]);
        if (rule == 0) {
            return decision;
        }
        decision.accept = true;
        decision.rule = rule;
        const sg_rule slot = *maps_.get<MapId::kRules>(rule);
        decision.rule_id.assign(slot.id, strnlen(slot.id, sizeof(slot.id)));
        decision.tracked = true;
        if (question_.protocol == kTcp || question_.protocol == kUdp) {
            const std::uint32_t here = any_class_admits_;
            const std::uint32_t back = policy_number(config.policy_slot[1 - question_.direction]);
            const std::uint32_t bit = SG_POLICY_OPEN(family(), question_.protocol == kUdp);
            decision.tracked = !(here != 0 && back != 0 && (maps_.get<MapId::kPolicies>(back)->open & bit) != 0);
        }
        return decision;
    }

private:
    [[nodiscard]] unsigned family() const { return static_cast<unsigned>(question_.peer.family); }
    [[nodiscard]] std::uint32_t at(const sg_versioned& value) const {
        return static_cast<std::uint32_t>(generation_ >= value.since ? value.values >> 32 : value.values);
    }
    [[nodiscard]] std::uint32_t policy_number(std::uint32_t slot) const {
        const auto value = maps_.get<MapId::kPolicySlots>(slot);
        return value ? at(*value) : 0;
    }

    template <MapId map4, MapId map6, typename F> auto find(std::uint32_t scope, const Address& address, F&& f) const {
        if (address.family == Family::kIpv4) {
            sg_prefix4 key{SG_SCOPE_BITS + 32, scope, {}};
            std::memcpy(key.address, address.bytes.data(), sizeof(key.address));
            return f(maps_.get<map4>(key));
        }
        sg_prefix6 key{SG_SCOPE_BITS + 128, scope, {}};
        std::memcpy(key.address, address.bytes.data(), sizeof(key.address));
        return f(maps_.get<map6>(key));
    }
    template <MapId map4, MapId map6>
    [[nodiscard]] std::uint32_t versioned(std::uint32_t scope, const Address& address) const {
        return find<map4, map6>(scope, address,
                                [&](const std::optional<sg_versioned>& value) { return value ? at(*value) : 0U; });
    }

    // Rule slot that admits the packet by this class.
    [[nodiscard]] std::uint32_t admits(std::uint32_t class_number) const {
        if (class_number == 0) {
            return 0;
        }
        std::size_t kind = SG_KIND_PROTOCOL;
        auto value = static_cast<std::uint32_t>(question_.protocol);
        if (question_.value) {
            value = *question_.value;
            switch (question_.protocol) {
                case kTcp:
                    kind = SG_KIND_TCP;
                    break;
                case kUdp:
                    kind = SG_KIND_UDP;
                    break;
                case kIcmp:
                    kind = SG_KIND_ICMP;
                    break;
                case kIcmpv6:
                    kind = SG_KIND_ICMPV6;
                    break;
                default:
                    value = static_cast<std::uint32_t>(question_.protocol);
                    break;
            }
        }
        const sg_ports ports = maps_.get<MapId::kClasses>(class_number)->kind[kind];
        for (std::uint32_t i = 0; i < ports.intervals; ++i) {
            const auto interval = maps_.get<MapId::kIntervals>(ports.first_interval + i);
            if (interval && interval->first <= value && value <= interval->last) {
                return maps_.get<MapId::kRuleRefs>(ports.first_rule + i)->rule;
            }
        }
        return 0;
    }

    [[nodiscard]] std::uint32_t admits_set(std::uint32_t policy, std::uint32_t set) const {
        if (set == 0) {
            return 0;
        }
        const auto class_number = maps_.get<MapId::kSetClasses>({policy, set});
        return class_number ? admits(*class_number) : 0;
    }

    std::uint32_t match(std::uint32_t slot) {
        const std::uint32_t number = policy_number(slot);
        if (number == 0) {
            return 0;
        }
        const sg_policy policy = *maps_.get<MapId::kPolicies>(number);
        any_class_admits_ = admits(policy.any_class[family()]);
        if (any_class_admits_ != 0) {
            return any_class_admits_;
        }
        const bool v4 = question_.peer.family == Family::kIpv4;
        std::uint32_t rule = 0;
        if ((policy.tables & (v4 ? SG_TABLE_CIDR4 : SG_TABLE_CIDR6)) != 0) {
            const std::uint32_t found = find<MapId::kCidr4, MapId::kCidr6>(
                number, question_.peer, [](const std::optional<std::uint32_t>& value) { return value.value_or(0); });
            rule = admits(found);
        }
        if (rule == 0 && (policy.tables & (v4 ? SG_TABLE_LIST4 : SG_TABLE_LIST6)) != 0) {
            for (const std::uint32_t band : {SG_BAND_LONG, SG_BAND_SHORT}) {
                rule = rule != 0 ? rule
                                 : admits_set(number, versioned<MapId::kLists4, MapId::kLists6>(band, question_.peer));
            }
        }
        if (rule == 0 && (policy.tables & SG_TABLE_GROUPS) != 0) {
            rule = admits_set(number, versioned<MapId::kMembers4, MapId::kMembers6>(policy.vpc, question_.peer));
        }
        return rule;
    }

    const FakeDatapath& maps_;
    const Question& question_;
    std::uint64_t generation_;
    std::uint32_t any_class_admits_ = 0;
};

}  // namespace

Decision decide(const FakeDatapath& maps, const Question& question, std::uint64_t generation) {
    return Reader(maps, question, generation).decide();
}

}  // namespace sgbpf::test
