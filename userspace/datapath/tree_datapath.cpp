// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/tree_datapath.hpp"

#include <array>
#include <cassert>
#include <chrono>
#include <cstring>
#include <thread>

#include "datapath/events.hpp"
#include "datapath/flows.hpp"
#include "datapath/usage.hpp"
#include "datapath/writer.hpp"

namespace sgbpf {

Result<sg_control*> TreeDatapath::control_record() {
    auto open_tree = tree();
    return open_tree ? (*open_tree)->control() : Result<sg_control*>(unexpected(open_tree.error()));
}

Result<ControlState> TreeDatapath::control() {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    ControlState state;
    state.generation = load_word((*record)->generation);
    state.pending = load_word((*record)->pending);
    state.ticks_per_second = (*record)->ticks_per_second;
    state.confirm_state = load_word((*record)->confirm_state);
    state.confirm_from = (*record)->confirm_from;
    state.confirm_until = (*record)->confirm_until;
    std::memcpy(state.digest_before.data(), &(*record)->digest_before[0], sizeof(state.digest_before));
    static_assert(sizeof((*record)->digest) == sizeof(state.digest));
    std::memcpy(state.digest.data(), &(*record)->digest[0], sizeof(state.digest));
    return state;
}

Result<RawMaps> TreeDatapath::read_maps() {
    auto open_tree = tree();
    return open_tree ? read_policy_maps(**open_tree) : Result<RawMaps>(unexpected(open_tree.error()));
}

Result<void> TreeDatapath::write(const EditList& edits, std::size_t first, std::size_t count) {
    auto open_tree = tree();
    return open_tree ? write_edits(**open_tree, edits, first, count) : Result<void>(unexpected(open_tree.error()));
}

Result<void> TreeDatapath::set_reserved_flows(std::uint64_t reserved) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    auto accounts = elements<sg_account>((*open_tree)->map(HostMap::kAccounts));
    if (!accounts) {
        return unexpected(accounts.error());
    }
    const std::uint64_t slots = (*open_tree)->map(HostMap::kFlows).max_entries() - 1;  // slot 0 is never used
    const std::uint64_t pool = slots > reserved ? slots - reserved : 1;                // 0 would mean: no limit
    __atomic_store_n(&(*accounts)[0].limit, static_cast<std::uint32_t>(pool), __ATOMIC_RELEASE);
    return {};
}

Result<void> TreeDatapath::set_pending(std::uint64_t generation) {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    store_word((*record)->pending, generation);
    return {};
}

// Digest first: a crash between the two leaves pending set, and a reader that finds this digest with the
// old generation reads the maps themselves.
Result<void> TreeDatapath::flip(std::uint64_t generation, const Digest& digest) {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    std::array<std::uint64_t, sizeof(Digest) / 8> words{};
    std::memcpy(words.data(), digest.data(), sizeof(digest));
    static_assert(offsetof(sg_control, digest) % 8 == 0);
    auto* stored = reinterpret_cast<std::uint64_t*>(&(*record)->digest[0]);
    for (std::size_t i = 0; i < words.size(); ++i) {
        store_word(stored[i], words[i]);
    }
    store_word((*record)->generation, generation);
    return {};
}

// The state word last: a timer of an earlier commit that still runs finds nothing armed until all is there.
Result<void> TreeDatapath::arm_rollback(std::uint64_t until) {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    sg_control& control = **record;
    static_assert(sizeof(control.digest_before) == sizeof(control.digest));
    std::memcpy(&control.digest_before[0], &control.digest[0], sizeof(control.digest));
    store_word(control.confirm_from, load_word(control.generation));
    store_word(control.confirm_until, until);
    store_word(control.confirm_state, SG_CONFIRM_ARMED);
    auto armed = run_on(**tree(), "sg_confirm_arm");
    if (!armed) {
        store_word(control.confirm_state, SG_CONFIRM_NONE);
    }
    return armed;
}

Result<bool> TreeDatapath::disarm_rollback() {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    // Whoever changes the word first decides: this, or the timer.
    std::uint64_t state = SG_CONFIRM_ARMED;
    auto* word = reinterpret_cast<std::uint64_t*>(&(*record)->confirm_state);
    const bool armed = __atomic_compare_exchange_n(word, &state, std::uint64_t{SG_CONFIRM_NONE}, false,
                                                   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    auto stopped = run_on(**tree(), "sg_confirm_disarm");
    if (!stopped && !armed) {
        return unexpected(stopped.error());
    }
    return armed;  // a timer that could not be stopped finds nothing armed
}

// One implementation of going back: the timer's, which is made to fire now.
Result<bool> TreeDatapath::roll_back_now() {
    constexpr std::chrono::milliseconds kPause{5};
    constexpr int kPatience = 400;
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    if (load_word((*record)->confirm_state) == SG_CONFIRM_NONE) {
        return false;
    }
    store_word((*record)->confirm_until, 0);
    if (auto armed = run_on(**tree(), "sg_confirm_arm"); !armed) {
        return unexpected(armed.error());
    }
    for (int i = 0; i < kPatience; ++i) {
        if (load_word((*record)->confirm_state) == SG_CONFIRM_ROLLED_BACK &&
            load_word((*record)->generation) == load_word((*record)->confirm_from)) {
            return true;
        }
        std::this_thread::sleep_for(kPause);
    }
    return unexpected(make_error(ErrorCode::kSystem, "the kernel's timer does not run; the new rules are in force"));
}

Result<void> TreeDatapath::forget_rollback() {
    auto record = control_record();
    if (!record) {
        return unexpected(record.error());
    }
    store_word((*record)->confirm_state, SG_CONFIRM_NONE);
    return {};
}

Result<sg_counters> TreeDatapath::read_counters(std::uint32_t interface_slot) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    std::array<std::uint64_t, sizeof(sg_counters) / 8> sums{};
    auto summed = sum_over_cpus((*open_tree)->map(HostMap::kCounters), interface_slot, sums);
    if (!summed) {
        return unexpected(summed.error());
    }
    sg_counters counters{};
    std::memcpy(&counters, sums.data(), sizeof(counters));
    return counters;
}

Result<std::vector<sg_rule_counters>> TreeDatapath::read_rule_counters(const std::vector<std::uint32_t>& slots) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    std::vector<sg_rule_counters> all;
    all.reserve(slots.size());
    for (const std::uint32_t slot : slots) {
        std::array<std::uint64_t, sizeof(sg_rule_counters) / 8> sums{};
        auto summed = sum_over_cpus((*open_tree)->map(HostMap::kRuleCounts), slot, sums);
        if (!summed) {
            return unexpected(summed.error());
        }
        all.push_back({sums[0], sums[1]});
    }
    return all;
}

Result<AccountsSnapshot> TreeDatapath::read_accounts() {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    auto accounts = elements<sg_account>((*open_tree)->map(HostMap::kAccounts));
    auto config = (*open_tree)->config();
    auto now = ticks_now();
    if (!accounts || !config || !now) {
        return unexpected(!accounts ? accounts.error() : !config ? config.error() : now.error());
    }
    return AccountsSnapshot{{accounts->begin(), accounts->end()}, *now, config->ticks_per_second};
}

Result<void> TreeDatapath::adopt(std::uint32_t interface_slot, std::uint32_t seconds) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    auto accounts = elements<sg_account>((*open_tree)->map(HostMap::kAccounts));
    auto config = (*open_tree)->config();
    auto now = ticks_now();
    if (!accounts || !config || !now) {
        return unexpected(!accounts ? accounts.error() : !config ? config.error() : now.error());
    }
    assert(interface_slot != 0 && interface_slot < accounts->size());
    const std::uint64_t until = seconds == 0 ? 0 : *now + std::uint64_t{seconds} * config->ticks_per_second;
    store_word((*accounts)[interface_slot].adopt_until, until);
    return {};
}

Result<void> TreeDatapath::reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                          const std::vector<std::uint32_t>& interface_slots) {
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    auto accounts = elements<sg_account>((*open_tree)->map(HostMap::kAccounts));
    if (!accounts) {
        return unexpected(accounts.error());
    }
    for (const std::uint32_t slot : interface_slots) {
        if (slot != 0 && slot < accounts->size()) {
            (*accounts)[slot] = sg_account{};
        }
    }
    auto rules = zero_on_all_cpus((*open_tree)->map(HostMap::kRuleCounts), rule_slots);
    return rules ? zero_on_all_cpus((*open_tree)->map(HostMap::kCounters), interface_slots) : rules;
}

Result<std::unique_ptr<EventStream>> TreeDatapath::listen(std::uint16_t what, std::uint32_t interface_slot) {
    auto open_tree = tree();
    return open_tree ? listen_on(**open_tree, what, interface_slot)
                     : Result<std::unique_ptr<EventStream>>(unexpected(open_tree.error()));
}

Result<std::uint64_t> TreeDatapath::reap_flows(const std::vector<FlowRef>& flows) {
    auto open_tree = tree();
    return open_tree ? reap_flow_records(**open_tree, flows) : Result<std::uint64_t>(unexpected(open_tree.error()));
}

Result<void> TreeDatapath::read_last_sequences(FlowSnapshot& ended) {
    auto open_tree = tree();
    return open_tree ? read_ended_records(**open_tree, ended) : Result<void>(unexpected(open_tree.error()));
}

Result<std::uint64_t> TreeDatapath::flush_flows(const FlowFilter& what) {
    // A flow whose record another CPU rewrites is missed by one look. New ones may open all the time.
    constexpr int kLooks = 3;
    auto open_tree = tree();
    if (!open_tree) {
        return unexpected(open_tree.error());
    }
    FlowFilter all = what;
    all.contexts = true;  // what fragments pass by ends too
    std::uint64_t ended = 0;
    for (int look = 0; look < kLooks; ++look) {
        auto found = read_flow_records(**open_tree, all);
        if (!found) {
            return unexpected(found.error());
        }
        if (found->refs.empty()) {
            break;
        }
        auto reaped = reap_flow_records(**open_tree, found->refs);
        if (!reaped) {
            return unexpected(reaped.error());
        }
        ended += *reaped;
        if (*reaped == found->refs.size()) {
            break;
        }
    }
    return ended;
}

}  // namespace sgbpf
