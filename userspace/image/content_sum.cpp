// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "image/content_sum.hpp"

#include "image/encode.hpp"

namespace sgbpf {
namespace {

// Finaliser of the SplitMix64 generator (Steele, Lea, Flood 2014): every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9;
    x ^= x >> 27;
    x *= 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

struct Hash {
    std::uint64_t a;
    std::uint64_t b;

    void word(std::uint64_t value) {
        a = mix(a ^ value);
        b = mix(b + value * 0x9e3779b97f4a7c15);
    }
    void bytes(const void* data, std::size_t size) {
        const auto* from = static_cast<const unsigned char*>(data);
        for (; size >= 8; from += 8, size -= 8) {
            std::uint64_t value;
            std::memcpy(&value, from, 8);
            word(value);
        }
        if (size > 0) {
            std::uint64_t value = 0;
            std::memcpy(&value, from, size);
            word(value);
        }
    }
};

}  // namespace

void ContentSum::add(MapId map, const void* key, std::size_t key_bytes, const void* value, std::size_t value_bytes) {
    Hash hash{0x243f6a8885a308d3 + static_cast<std::uint64_t>(map), 0x13198a2e03707344};  // digits of pi
    hash.bytes(key, key_bytes);
    hash.bytes(value, value_bytes);
    lanes_[0] += hash.a;
    lanes_[1] += hash.b;
    lanes_[2] += mix(hash.a + 0xa4093822299f31d0);
    lanes_[3] += mix(hash.b + hash.a);
}

std::size_t IdHash::operator()(const FixedId& id) const noexcept {
    Hash hash{1, 2};
    hash.bytes(id.data(), id.size());
    return hash.a;
}

std::size_t IntervalContentHash::operator()(const std::vector<std::uint32_t>& packed) const noexcept {
    Hash hash{3, 4};
    hash.bytes(packed.data(), packed.size() * sizeof(packed[0]));
    return hash.a;
}

namespace {

void add_local_row(ContentSum& sum, const SetRow& row) {
    with_key<MapId::kLocals4, MapId::kLocals6>(
        row.scope, row.prefix, [&]<MapId map>(const auto& key) { sum.add<map>(key, settled(row.value)); });
}

}  // namespace

ContentSum sum_of(const InterfaceImage& image) {
    ContentSum sum;
    sum.add<MapId::kInterfaces>(image.slot, interface_record(image));
    for_each_local_row(image, [&](const SetRow& row) { add_local_row(sum, row); });
    return sum;
}

ContentSum sum_of_services(const SetTable& table) {
    ContentSum sum;
    for (const SetRow& row : table.rows) {
        add_local_row(sum, row);
    }
    return sum;
}

ContentSum sum_of(const ClassBlock& block) {
    ContentSum sum;
    for (const ClassBlock::NumberedClass& numbered : block.classes) {
        sum.add<MapId::kClasses>(numbered.number, numbered.content);
    }
    for (const ClassBlock::RefRun& run : block.ref_runs) {
        for (std::uint32_t i = 0; i < run.count; ++i) {
            sum.add<MapId::kRuleRefs>(run.first + i, sg_rule_ref{block.rules[run.begin + i], 0});
        }
    }
    return sum;
}

ContentSum sum_of(const PolicyImage& policy) {
    ContentSum sum = policy.block.sum;
    sum.add<MapId::kPolicies>(policy.number, policy.record);
    for (const auto& row : policy.cidr4) {
        sum.add<MapId::kCidr4>(row.key, row.class_number);
    }
    for (const auto& row : policy.cidr6) {
        sum.add<MapId::kCidr6>(row.key, row.class_number);
    }
    return sum;
}

ContentSum sum_of(const PolicyRows& rows, std::uint32_t policy) {
    ContentSum sum;
    for (const PolicyRows::Row& row : rows.rows) {
        sum.add<MapId::kSetClasses>({policy, row.set}, row.class_number);
    }
    for (const auto& subset : rows.classes) {
        sum += subset->block.sum;
    }
    return sum;
}

ContentSum sum_of(const IntervalRun& run) {
    ContentSum sum;
    for (std::uint32_t i = 0; i < run.intervals.size(); ++i) {
        sum.add<MapId::kIntervals>(run.first + i, run.intervals[i]);
    }
    return sum;
}

ContentSum sum_of(const SetTable& table, SetKind kind) {
    ContentSum sum;
    for (const SetRow& row : table.rows) {
        const auto add = [&]<MapId map>(const auto& key) { sum.add<map>(key, settled(row.value)); };
        if (kind == kListSets) {
            with_key<MapId::kLists4, MapId::kLists6>(row.scope, row.prefix, add);
        } else {
            with_key<MapId::kMembers4, MapId::kMembers6>(row.scope, row.prefix, add);
        }
    }
    return sum;
}

ContentSum sum_of(const MapImage& image) {
    ContentSum sum = image.intervals.sum;
    sum += image.rules.sum;
    for (std::size_t i = 0; i < image.interfaces.size(); ++i) {
        if (image.interfaces[i] != nullptr) {
            sum += image.interfaces[i]->sum;
        }
    }
    for (std::size_t i = 0; i < image.policy_slots.size(); ++i) {
        if (image.policy_slots[i].policy != 0) {
            sum.add<MapId::kPolicySlots>(static_cast<std::uint32_t>(i), settled(image.policy_slots[i].policy));
        }
    }
    for (std::size_t i = 0; i < image.policies.size(); ++i) {
        const PolicyEntry& entry = image.policies[i];
        if (entry.policy != nullptr) {
            sum += entry.policy->sum;
            sum += entry.rows->sum;
        }
    }
    for (const auto& family : image.sets) {
        for (const auto& table : family->tables) {
            sum += table->sum;
        }
    }
    for (const auto& table : image.services) {
        sum += table->sum;
    }
    return sum;
}

Digest digest(const MapImage& image) {
    Digest result;
    std::memcpy(result.data(), image.sum.lanes().data(), result.size());
    return result;
}

}  // namespace sgbpf
