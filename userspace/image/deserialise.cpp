// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The cached image back from bytes, in the order in which serialise.cpp writes. Anything odd is kCorrupt:
// the maps themselves are the truth.
#include <unordered_map>

#include "image/cache_bytes.hpp"
#include "image/encode.hpp"
#include "image/image.hpp"

namespace sgbpf {
namespace {

using cache::In;

Peer read_peer(In& in) {
    switch (in.pod<std::uint8_t>()) {
        case 0:
            return in.pod<Prefix>();
        case 1:
            return PrefixListRef{in.text()};
        case 2:
            return GroupRef{in.text()};
        default:
            in.fail();
            return Prefix{};
    }
}

GroupRules read_rules(In& in) {
    GroupRules group;
    group.group = in.text();
    group.direction = in.pod<std::uint32_t>();
    group.rules.resize(in.count(sizeof(FixedId)));
    for (CompiledRule& rule : group.rules) {
        rule.id = in.pod<FixedId>();
        rule.slot = in.pod<std::uint32_t>();
        rule.protocol = in.pod<std::int16_t>();
        rule.ports = in.pod<sg_interval>();
        rule.peer = read_peer(in);
    }
    return group;
}

using Runs = std::unordered_map<std::uint32_t, std::shared_ptr<const IntervalRun>>;

ClassBlock read_block(In& in, const Runs& runs) {
    ClassBlock block;
    block.classes = in.pods<ClassBlock::NumberedClass>();
    block.ref_runs = in.pods<ClassBlock::RefRun>();
    block.rules = in.pods<std::uint32_t>();
    for (const ClassBlock::RefRun& run : block.ref_runs) {
        if (run.begin > block.rules.size() || run.count > block.rules.size() - run.begin) {
            in.fail();
            return {};
        }
    }
    const std::size_t count = in.count(sizeof(std::uint32_t));
    for (std::size_t i = 0; i < count; ++i) {
        const auto run = runs.find(in.pod<std::uint32_t>());
        if (run == runs.end()) {
            in.fail();
            return {};
        }
        block.intervals.push_back(run->second);
    }
    block.sum = sum_of(block);
    return block;
}

// Slots and numbers come from a file: keep a damaged one from asking for gigabytes.
constexpr std::uint32_t kHighestNumber = 1U << 26;

class ImageReader {
public:
    explicit ImageReader(std::span<const std::byte> bytes) : in_(bytes) {}

    Result<MapImage> read() {
        read_intervals();
        read_groups();
        read_interfaces();
        read_policies();
        read_sets();
        const ContentSum stored = read_rest();
        if (in_.good() && in_.at_end()) {
            image_.sum = sum_of(image_);
            if (image_.sum == stored) {
                return std::move(image_);
            }
        }
        return unexpected(make_error(ErrorCode::kCorrupt, "the cached image does not make sense"));
    }

private:
    std::uint32_t number() {
        const auto value = in_.pod<std::uint32_t>();
        if (value >= kHighestNumber) {
            in_.fail();
            return 0;
        }
        return value;
    }
    std::shared_ptr<const GroupRules> rules_at(std::uint32_t position) {
        if (position >= rules_.size()) {
            in_.fail();
            return std::make_shared<const GroupRules>();
        }
        return rules_[position];
    }

    void read_intervals() {
        const std::size_t count = in_.count(sizeof(std::uint32_t));
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            IntervalRun run;
            run.first = in_.pod<std::uint32_t>();
            const auto blocks = in_.pod<std::uint32_t>();
            run.intervals = in_.pods<sg_interval>();
            std::vector<std::uint32_t> packed;
            for (const sg_interval& interval : run.intervals) {
                packed.push_back(std::uint32_t{interval.first} << 16 | interval.last);
            }
            image_.intervals.sum += sum_of(run);
            const auto shared = std::make_shared<const IntervalRun>(std::move(run));
            runs_.emplace(shared->first, shared);
            image_.intervals.by_content.edit(packed) = {shared, blocks};
        }
    }

    void read_groups() {
        std::size_t count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            rules_.push_back(std::make_shared<const GroupRules>(read_rules(in_)));
        }
        count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            GroupImage group;
            group.key = in_.text();
            group.rules[SG_IN] = rules_at(in_.pod<std::uint32_t>());
            group.rules[SG_OUT] = rules_at(in_.pod<std::uint32_t>());
            image_.groups.push_back(std::make_shared<const GroupImage>(std::move(group)));
        }
    }

    void read_interfaces() {
        const std::size_t count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            InterfaceImage interface;
            interface.name = in_.text();
            interface.id = in_.pod<FixedId>();
            interface.slot = number();
            interface.copy = in_.pod<std::uint32_t>() & 1;
            interface.config = in_.pod<sg_interface_config>();
            interface.locals = in_.pods<Prefix>();
            interface.tracked_peers = in_.pods<Prefix>();
            interface.sum = sum_of(interface);
            const std::uint32_t slot = interface.slot;
            image_.interfaces.set(slot, std::make_shared<const InterfaceImage>(std::move(interface)));
        }
    }

    void read_policies() {
        std::size_t count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            const std::uint32_t slot = number();
            PolicySlot entry;
            entry.policy = number();
            if (in_.pod<std::uint8_t>() != 0) {
                PolicyKey key;
                key.vpc = in_.text();
                key.groups = in_.texts();
                key.direction = in_.pod<std::uint32_t>();
                entry.key = std::make_shared<const PolicyKey>(std::move(key));
            }
            image_.policy_slots.set(slot, std::move(entry));
        }
        count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            read_policy();
        }
        for (std::size_t slot = 0; slot < image_.policy_slots.size(); ++slot) {
            const std::uint32_t policy = image_.policy_slots[slot].policy;
            if (policy != 0 && image_.policies.get(policy).policy == nullptr) {
                in_.fail();
            }
        }
    }

    void read_policy() {
        PolicyImage policy;
        policy.number = number();
        policy.record = in_.pod<sg_policy>();
        policy.cidr4 = in_.pods<PolicyImage::CidrRow<sg_prefix4>>();
        policy.cidr6 = in_.pods<PolicyImage::CidrRow<sg_prefix6>>();
        policy.block = read_block(in_, runs_);
        const std::size_t groups = in_.count(sizeof(std::uint32_t));
        for (std::size_t i = 0; i < groups && in_.good(); ++i) {
            policy.groups.push_back(rules_at(in_.pod<std::uint32_t>()));
        }
        policy.list_refs = in_.texts();
        policy.group_refs = in_.texts();
        policy.sum = sum_of(policy);
        PolicyRows rows;
        rows.rows = in_.pods<PolicyRows::Row>();
        const std::size_t classes = in_.count(1);
        for (std::size_t i = 0; i < classes && in_.good(); ++i) {
            SubsetClass subset;
            subset.refs = in_.pods<std::uint32_t>();
            subset.block = read_block(in_, runs_);
            if (subset.block.classes.size() != 1) {
                in_.fail();
            }
            rows.classes.push_back(std::make_shared<const SubsetClass>(std::move(subset)));
        }
        rows.sum = sum_of(rows, policy.number);
        const std::uint32_t number = policy.number;
        image_.policies.set(number, {std::make_shared<const PolicyImage>(std::move(policy)),
                                     std::make_shared<const PolicyRows>(std::move(rows))});
    }

    void read_sets() {
        for (const SetKind kind : {kListSets, kGroupSets}) {
            SetFamily family;
            for (auto& table : family.tables) {
                SetTable read;
                read.rows = in_.pods<SetRow>();
                read.sum = sum_of(read, kind);
                table = std::make_shared<const SetTable>(std::move(read));
            }
            const std::size_t count = in_.count(sizeof(std::uint32_t));
            for (std::size_t i = 0; i < count && in_.good(); ++i) {
                SetContent set;
                set.number = in_.pod<std::uint32_t>();
                set.names = in_.texts();
                family.sets.push_back(std::move(set));
            }
            image_.sets[kind] = std::make_shared<const SetFamily>(std::move(family));
        }
        for (auto& table : image_.services) {
            SetTable read;
            read.rows = in_.pods<SetRow>();
            read.sum = sum_of_services(read);
            table = std::make_shared<const SetTable>(std::move(read));
        }
        const std::size_t count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            ListImage list;
            list.name = in_.text();
            list.family = in_.pod<Family>();
            list.given = in_.pods<Prefix>();
            list.sorted = in_.pods<Prefix>();
            image_.lists.push_back(std::make_shared<const ListImage>(std::move(list)));
        }
    }

    ContentSum read_rest() {
        const auto rules = in_.pods<sg_rule>();
        for (std::uint32_t slot = 1; slot < rules.size(); ++slot) {
            image_.rules.set(slot, rules[slot]);
        }
        const std::size_t count = in_.count(1);
        for (std::size_t i = 0; i < count && in_.good(); ++i) {
            std::string name = in_.text();
            image_.vpcs.emplace(std::move(name), number());
        }
        image_.retired_interfaces = in_.pods<std::uint32_t>();
        for (NumberPool* pool :
             {&image_.interface_pool, &image_.policy_slot_pool, &image_.policy_pool, &image_.class_pool,
              &image_.interval_pool, &image_.ref_pool, &image_.set_pool, &image_.vpc_pool}) {
            *pool = in_.pool();
        }
        return ContentSum(in_.pod<ContentSum::Lanes>());
    }

    In in_;
    MapImage image_;
    Runs runs_;
    std::vector<std::shared_ptr<const GroupRules>> rules_;
};

}  // namespace

Result<MapImage> deserialise(std::span<const std::byte> bytes) {
    In head(bytes);
    const auto magic = head.pod<std::uint64_t>();
    const auto format = head.pod<std::uint32_t>();
    const auto abi = head.pod<std::uint32_t>();
    const auto sum = head.pod<std::uint64_t>();
    if (!head.good() || magic != cache::kMagic || format != cache::kFormat || abi != SG_ABI_VERSION) {
        return unexpected(make_error(ErrorCode::kCorrupt, "the cached image is not one, or of another version"));
    }
    const std::span<const std::byte> body = bytes.subspan(2 * sizeof(std::uint64_t) + 2 * sizeof(std::uint32_t));
    if (cache::checksum(body) != sum) {
        return unexpected(make_error(ErrorCode::kCorrupt, "the cached image is damaged: its checksum does not match"));
    }
    return ImageReader(body).read();
}

}  // namespace sgbpf
