// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <algorithm>
#include <cstring>

#include "compiler/workspace.hpp"
#include "image/encode.hpp"

namespace sgbpf {

std::shared_ptr<const IntervalRun> Workspace::intern(std::span<const sg_interval> intervals) {
    packed_.clear();
    for (const sg_interval& interval : intervals) {
        packed_.push_back(std::uint32_t{interval.first} << 16 | interval.last);
    }
    if (const IntervalRuns::Entry* found = next.intervals.by_content.find(packed_)) {
        return found->run;
    }
    IntervalRun run;
    run.intervals.assign(intervals.begin(), intervals.end());
    run.first = next.interval_pool.take(static_cast<std::uint32_t>(intervals.size()));
    next.intervals.sum += sum_of(run);
    IntervalRuns::Entry& entry = next.intervals.by_content.edit(packed_);
    entry.run = std::make_shared<const IntervalRun>(std::move(run));
    return entry.run;
}

namespace {

std::vector<std::uint32_t> content_key(const IntervalRun& run) {
    std::vector<std::uint32_t> packed;
    packed.reserve(run.intervals.size());
    for (const sg_interval& interval : run.intervals) {
        packed.push_back(std::uint32_t{interval.first} << 16 | interval.last);
    }
    return packed;
}

}  // namespace

void Workspace::use(const IntervalRun& run) {
    ++next.intervals.by_content.edit(content_key(run)).blocks;
}

std::uint32_t Workspace::rule_slot(const FixedId& id) {
    if (const std::uint32_t* known = next.rules.slots.find(id)) {
        const std::uint32_t slot = *known;
        sg_rule record = next.rules.records[slot];
        if (record.live == 0) {
            record.live = 1;
            next.rules.set(slot, record);
        }
        live_now_.insert(slot);
        return slot;
    }
    sg_rule record{};
    std::memcpy(record.id, id.data(), id.size());
    record.live = 1;
    std::uint32_t slot = next_rule_slot_;
    if (slot >= capacities().rules && input_.reusable_rule_slots != nullptr) {
        const std::vector<std::uint32_t>& reusable = *input_.reusable_rule_slots;
        for (; next_reusable_ < reusable.size(); ++next_reusable_) {
            const std::uint32_t candidate = reusable[next_reusable_];
            if (candidate != 0 && previous().rules.records.get(candidate).live == 0 &&
                next.rules.records.get(candidate).live == 0 && candidate < next_rule_slot_) {
                slot = candidate;
                ++next_reusable_;
                break;
            }
        }
    }
    if (slot == next_rule_slot_) {
        ++next_rule_slot_;
    } else {
        record.incarnation = next.rules.records[slot].incarnation + 1;
    }
    next.rules.set(slot, record);
    live_now_.insert(slot);
    return slot;
}

void Workspace::release(const ClassBlock& block) {
    for (const ClassBlock::NumberedClass& numbered : block.classes) {
        free_classes_.push_back({numbered.number, 1});
    }
    for (const ClassBlock::RefRun& run : block.ref_runs) {
        free_refs_.push_back({run.first, run.count});
    }
    released_runs_.insert(released_runs_.end(), block.intervals.begin(), block.intervals.end());
}

void Workspace::retire_rules() {
    const auto retire = [this](std::uint32_t slot) {
        sg_rule record = next.rules.records[slot];
        if (record.live != 0 && !live_now_.contains(slot)) {
            record.live = 0;
            next.rules.set(slot, record);
        }
    };
    for (const auto& group : changed_groups_) {
        for (const CompiledRule& rule : group->rules) {
            retire(rule.slot);
        }
    }
    if (retire_unnamed_) {
        for (std::uint32_t slot = 1; slot < next.rules.records.size(); ++slot) {
            retire(slot);
        }
    }
}

void Workspace::count_small_pools() {
    const auto used = [](const auto& slots, auto&& is_used) {
        std::vector<NumberPool::Range> ranges;
        for (std::size_t i = 0; i < slots.size(); ++i) {
            if (is_used(slots[i])) {
                ranges.push_back({static_cast<std::uint32_t>(i), 1});
            }
        }
        return ranges;
    };
    next.interface_pool = NumberPool::from_used(1, used(next.interfaces, [](const auto& p) { return p != nullptr; }));
    next.policy_slot_pool =
        NumberPool::from_used(1, used(next.policy_slots, [](const PolicySlot& slot) { return slot.policy != 0; }));
    next.policy_pool =
        NumberPool::from_used(1, used(next.policies, [](const PolicyEntry& entry) { return entry.policy != nullptr; }));
    std::vector<NumberPool::Range> numbers;
    for (const auto& family : next.sets) {
        for (const SetContent& set : family->sets) {
            numbers.push_back({set.number, 1});
        }
    }
    next.set_pool = NumberPool::from_used(1, std::move(numbers));
    numbers.clear();
    for (const auto& [name, number] : next.vpcs) {
        numbers.push_back({number, 1});
    }
    next.vpc_pool = NumberPool::from_used(1, std::move(numbers));
}

void Workspace::finish() {
    retire_rules();
    for (const auto& run : released_runs_) {
        const std::vector<std::uint32_t> key = content_key(*run);
        IntervalRuns::Entry& entry = next.intervals.by_content.edit(key);
        if (--entry.blocks == 0) {
            next.intervals.sum -= sum_of(*run);
            free_intervals_.push_back({run->first, static_cast<std::uint32_t>(run->intervals.size())});
            next.intervals.by_content.erase(key);
        }
    }
    next.class_pool.give_back(std::move(free_classes_));
    next.ref_pool.give_back(std::move(free_refs_));
    next.interval_pool.give_back(std::move(free_intervals_));
    count_small_pools();
    next.sum = sum_of(next);
}

}  // namespace sgbpf
