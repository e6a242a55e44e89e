// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The image as bytes, for the cache in the state directory. Host byte order and native sizes: the file
// never leaves the machine. Anything odd is kCorrupt: the maps themselves are the truth. Long because the
// writer and the reader of one format stay side by side.
#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "image/encode.hpp"
#include "image/image.hpp"

namespace sgbpf {
namespace {

constexpr std::uint64_t kMagic = 0x6765'6d69'6670'6273;  // "sbpfimeg" in memory
constexpr std::uint32_t kFormat = 1;
// Neither strings nor vectors of an image come near; larger is damage.
constexpr std::uint64_t kMostElements = 1U << 28;

std::uint64_t checksum(std::span<const std::byte> bytes) {
    ContentSum sum;
    const std::uint64_t size = bytes.size();
    sum.add(MapId::kInterfaces, &size, sizeof(size), bytes.data(), bytes.size());
    return sum.lanes()[3];
}

class Out {
public:
    template <typename T> void pod(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        raw(&value, sizeof(value));
    }
    void text(const std::string& value) {
        pod(static_cast<std::uint64_t>(value.size()));
        raw(value.data(), value.size());
    }
    template <typename T> void pods(const std::vector<T>& values) {
        static_assert(std::is_trivially_copyable_v<T>);
        pod(static_cast<std::uint64_t>(values.size()));
        raw(values.data(), values.size() * sizeof(T));
    }
    void texts(const std::vector<std::string>& values) {
        pod(static_cast<std::uint64_t>(values.size()));
        for (const std::string& value : values) {
            text(value);
        }
    }
    void pool(const NumberPool& pool) { pods(pool.free_ranges()); }
    std::vector<std::byte> bytes;

private:
    void raw(const void* data, std::size_t size) {
        const auto* from = static_cast<const std::byte*>(data);
        bytes.insert(bytes.end(), from, from + size);
    }
};

class In {
public:
    explicit In(std::span<const std::byte> bytes) : rest_(bytes) {}

    template <typename T> T pod() {
        T value{};
        raw(&value, sizeof(value));
        return value;
    }
    std::string text() {
        std::string value(count(1), '\0');
        raw(value.data(), value.size());
        return value;
    }
    template <typename T> std::vector<T> pods() {
        std::vector<T> values(count(sizeof(T)));
        raw(values.data(), values.size() * sizeof(T));
        return values;
    }
    std::vector<std::string> texts() {
        std::vector<std::string> values(count(sizeof(std::uint64_t)));
        for (std::string& value : values) {
            value = text();
        }
        return values;
    }
    NumberPool pool() {
        auto ranges = pods<NumberPool::Range>();
        good_ = good_ && !ranges.empty();
        return good_ ? NumberPool::from_free_ranges(std::move(ranges)) : NumberPool();
    }
    // Length of what follows; never more than the bytes left could hold.
    std::size_t count(std::size_t element_bytes) {
        const auto value = pod<std::uint64_t>();
        if (value > kMostElements || value * element_bytes > rest_.size()) {
            good_ = false;
            return 0;
        }
        return static_cast<std::size_t>(value);
    }
    void fail() { good_ = false; }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

private:
    void raw(void* data, std::size_t size) {
        if (!good_ || size > rest_.size()) {
            good_ = false;
            return;
        }
        if (size > 0) {
            std::memcpy(data, rest_.data(), size);
            rest_ = rest_.subspan(size);
        }
    }
    std::span<const std::byte> rest_;
    bool good_ = true;
};

void write_peer(Out& out, const Peer& peer) {
    out.pod(static_cast<std::uint8_t>(peer.index()));
    if (const auto* prefix = std::get_if<Prefix>(&peer)) {
        out.pod(*prefix);
    } else if (const auto* list = std::get_if<PrefixListRef>(&peer)) {
        out.text(list->name);
    } else {
        out.text(std::get<GroupRef>(peer).key);
    }
}

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

void write_rules(Out& out, const GroupRules& group) {
    out.text(group.group);
    out.pod(group.direction);
    out.pod(static_cast<std::uint64_t>(group.rules.size()));
    for (const CompiledRule& rule : group.rules) {
        out.pod(rule.id);
        out.pod(rule.slot);
        out.pod(rule.protocol);
        out.pod(rule.ports);
        write_peer(out, rule.peer);
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

void write_block(Out& out, const ClassBlock& block) {
    out.pods(block.classes);
    out.pods(block.ref_runs);
    out.pods(block.rules);
    out.pod(static_cast<std::uint64_t>(block.intervals.size()));
    for (const auto& run : block.intervals) {
        out.pod(run->first);
    }
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

// Rules of groups by position in the file: policies name them by it, so that sharing survives.
class ImageWriter {
public:
    explicit ImageWriter(const MapImage& image) : image_(image) {}

    std::vector<std::byte> write() {
        write_intervals();
        write_groups();
        write_interfaces();
        write_policies();
        write_sets();
        write_rest();
        return std::move(out_.bytes);
    }

private:
    void write_intervals() {
        out_.pod(static_cast<std::uint64_t>(image_.intervals.by_content.size()));
        image_.intervals.by_content.for_each([&](const auto&, const IntervalRuns::Entry& entry) {
            out_.pod(entry.run->first);
            out_.pod(entry.blocks);
            out_.pods(entry.run->intervals);
        });
    }

    void write_groups() {
        // A policy may hold rules that no group of the image has any more: none today, but cheap to allow.
        std::vector<const GroupRules*> all;
        const auto add = [&](const std::shared_ptr<const GroupRules>& rules) {
            if (position_.emplace(rules.get(), static_cast<std::uint32_t>(all.size())).second) {
                all.push_back(rules.get());
            }
        };
        for (const auto& group : image_.groups) {
            add(group->rules[SG_IN]);
            add(group->rules[SG_OUT]);
        }
        for (std::size_t i = 0; i < image_.policies.size(); ++i) {
            if (image_.policies[i].policy != nullptr) {
                for (const auto& rules : image_.policies[i].policy->groups) {
                    add(rules);
                }
            }
        }
        out_.pod(static_cast<std::uint64_t>(all.size()));
        for (const GroupRules* rules : all) {
            write_rules(out_, *rules);
        }
        out_.pod(static_cast<std::uint64_t>(image_.groups.size()));
        for (const auto& group : image_.groups) {
            out_.text(group->key);
            out_.pod(position_.at(group->rules[SG_IN].get()));
            out_.pod(position_.at(group->rules[SG_OUT].get()));
        }
    }

    void write_interfaces() {
        std::vector<const InterfaceImage*> all;
        for (std::size_t slot = 0; slot < image_.interfaces.size(); ++slot) {
            if (image_.interfaces[slot] != nullptr) {
                all.push_back(image_.interfaces[slot].get());
            }
        }
        out_.pod(static_cast<std::uint64_t>(all.size()));
        for (const InterfaceImage* interface : all) {
            out_.text(interface->name);
            out_.pod(interface->id);
            out_.pod(interface->slot);
            out_.pod(interface->copy);
            out_.pod(interface->config);
            out_.pods(interface->locals);
        }
    }

    void write_policies() {
        std::vector<std::uint32_t> slots;
        for (std::uint32_t slot = 0; slot < image_.policy_slots.size(); ++slot) {
            if (image_.policy_slots[slot].policy != 0) {
                slots.push_back(slot);
            }
        }
        out_.pod(static_cast<std::uint64_t>(slots.size()));
        for (const std::uint32_t slot : slots) {
            const PolicySlot& entry = image_.policy_slots[slot];
            out_.pod(slot);
            out_.pod(entry.policy);
            out_.pod(static_cast<std::uint8_t>(entry.key != nullptr));
            if (entry.key != nullptr) {
                out_.text(entry.key->vpc);
                out_.texts(entry.key->groups);
                out_.pod(entry.key->direction);
            }
        }
        std::vector<const PolicyEntry*> policies;
        for (std::size_t i = 0; i < image_.policies.size(); ++i) {
            if (image_.policies[i].policy != nullptr) {
                policies.push_back(&image_.policies[i]);
            }
        }
        out_.pod(static_cast<std::uint64_t>(policies.size()));
        for (const PolicyEntry* entry : policies) {
            write_policy(*entry->policy, *entry->rows);
        }
    }

    void write_policy(const PolicyImage& policy, const PolicyRows& rows) {
        out_.pod(policy.number);
        out_.pod(policy.record);
        out_.pods(policy.cidr4);
        out_.pods(policy.cidr6);
        write_block(out_, policy.block);
        out_.pod(static_cast<std::uint64_t>(policy.groups.size()));
        for (const auto& rules : policy.groups) {
            out_.pod(position_.at(rules.get()));
        }
        out_.texts(policy.list_refs);
        out_.texts(policy.group_refs);
        out_.pods(rows.rows);
        out_.pod(static_cast<std::uint64_t>(rows.classes.size()));
        for (const auto& subset : rows.classes) {
            out_.pods(subset->refs);
            write_block(out_, subset->block);
        }
    }

    void write_sets() {
        for (const auto& family : image_.sets) {
            for (const auto& table : family->tables) {
                out_.pods(table->rows);
            }
            out_.pod(static_cast<std::uint64_t>(family->sets.size()));
            for (const SetContent& set : family->sets) {
                out_.pod(set.number);
                out_.texts(set.names);
            }
        }
        out_.pod(static_cast<std::uint64_t>(image_.lists.size()));
        for (const auto& list : image_.lists) {
            out_.text(list->name);
            out_.pod(list->family);
            out_.pods(list->given);
            out_.pods(list->sorted);
        }
    }

    void write_rest() {
        std::vector<sg_rule> rules;
        for (std::size_t slot = 0; slot < image_.rules.records.size(); ++slot) {
            rules.push_back(image_.rules.records[slot]);
        }
        out_.pods(rules);
        out_.pod(static_cast<std::uint64_t>(image_.vpcs.size()));
        for (const auto& [name, number] : image_.vpcs) {
            out_.text(name);
            out_.pod(number);
        }
        out_.pods(image_.retired_interfaces);
        for (const NumberPool* pool :
             {&image_.interface_pool, &image_.policy_slot_pool, &image_.policy_pool, &image_.class_pool,
              &image_.interval_pool, &image_.ref_pool, &image_.set_pool, &image_.vpc_pool}) {
            out_.pool(*pool);
        }
        out_.pod(image_.sum.lanes());
    }

    const MapImage& image_;
    Out out_;
    std::unordered_map<const GroupRules*, std::uint32_t> position_;
};

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

std::vector<std::byte> serialise(const MapImage& image) {
    const std::vector<std::byte> body = ImageWriter(image).write();
    Out out;
    out.pod(kMagic);
    out.pod(kFormat);
    out.pod(std::uint32_t{SG_ABI_VERSION});
    out.pod(checksum(body));
    out.bytes.insert(out.bytes.end(), body.begin(), body.end());
    return std::move(out.bytes);
}

Result<MapImage> deserialise(std::span<const std::byte> bytes) {
    In head(bytes);
    const auto magic = head.pod<std::uint64_t>();
    const auto format = head.pod<std::uint32_t>();
    const auto abi = head.pod<std::uint32_t>();
    const auto sum = head.pod<std::uint64_t>();
    if (!head.good() || magic != kMagic || format != kFormat || abi != SG_ABI_VERSION) {
        return unexpected(make_error(ErrorCode::kCorrupt, "the cached image is not one, or of another version"));
    }
    const std::span<const std::byte> body = bytes.subspan(2 * sizeof(std::uint64_t) + 2 * sizeof(std::uint32_t));
    if (checksum(body) != sum) {
        return unexpected(make_error(ErrorCode::kCorrupt, "the cached image is damaged: its checksum does not match"));
    }
    return ImageReader(body).read();
}

}  // namespace sgbpf
