// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/flow_invariants.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "datapath/flows.hpp"

namespace sgbpf::test {

namespace {

constexpr std::size_t kMostFindings = 10;

class Findings {
public:
    template <typename... Args> void add(fmt::format_string<Args...> text, Args&&... args) {
        if (++count_ <= kMostFindings) {
            text_ += fmt::format(text, std::forward<Args>(args)...) + "\n";
        }
    }
    [[nodiscard]] std::string text() const {
        return count_ > kMostFindings ? text_ + fmt::format("... {} findings\n", count_) : text_;
    }

private:
    std::size_t count_ = 0;
    std::string text_;
};

std::uint32_t entries_of(int map) {
    bpf_map_info info{};
    std::uint32_t length = sizeof(info);
    return bpf_obj_get_info_by_fd(map, &info, &length) == 0 ? info.max_entries : 0;
}

// The free list as it is; put back in the same order.
std::vector<std::uint32_t> free_list(int map) {
    std::vector<std::uint32_t> slots;
    std::uint32_t slot = 0;
    while (bpf_map_lookup_and_delete_elem(map, nullptr, &slot) == 0) {
        slots.push_back(slot);
    }
    for (const std::uint32_t one : slots) {
        bpf_map_update_elem(map, nullptr, &one, BPF_ANY);
    }
    return slots;
}

void check_slots(const std::vector<sg_flow>& records, const std::vector<std::uint32_t>& free, Findings& findings) {
    std::vector<unsigned> seen(records.size());
    for (const std::uint32_t slot : free) {
        if (slot == 0 || slot >= records.size()) {
            findings.add("the free list holds slot {}", slot);
        } else if (++seen[slot] > 1) {
            findings.add("slot {} is on the free list {} times", slot, seen[slot]);
        }
    }
    for (std::uint32_t slot = 1; slot < records.size(); ++slot) {
        const auto state = SG_WORD_STATE(records[slot].word);
        if (is_flow(records[slot].word) == (seen[slot] != 0)) {
            findings.add("slot {} in state {} is {} the free list", slot, state, seen[slot] != 0 ? "on" : "not on");
        }
    }
}

void check_index(int index, const std::vector<sg_flow>& records, Findings& findings) {
    std::map<std::uint32_t, unsigned> named;
    sg_flow_key key{};
    sg_flow_key next{};
    for (const sg_flow_key* from = nullptr; bpf_map_get_next_key(index, from, &next) == 0; from = &key) {
        key = next;
        std::uint32_t slot = 0;
        if (bpf_map_lookup_elem(index, &key, &slot) != 0) {
            continue;
        }
        ++named[slot];
        if (slot == 0 || slot >= records.size() || !is_flow(records[slot].word)) {
            findings.add("the index leads to slot {}, which holds no flow", slot);
        } else if (std::memcmp(&records[slot].key, &key, sizeof(key)) != 0) {
            findings.add("the index leads to slot {}, which holds another key", slot);
        }
    }
    for (std::uint32_t slot = 1; slot < records.size(); ++slot) {
        const unsigned times = named.contains(slot) ? named[slot] : 0;
        if (is_flow(records[slot].word) && times != 1) {
            findings.add("the index names slot {} {} times", slot, times);
        }
    }
}

struct Counted {
    std::uint32_t opening = 0;
    std::uint32_t flows = 0;
    std::uint32_t reserved = 0;
};

void check_accounts(int map, const std::vector<sg_flow>& records, Findings& findings) {
    std::map<std::uint32_t, Counted> counted;
    for (const sg_flow& flow : records) {
        if (is_flow(flow.word) && SG_WORD_TIER(flow.word) != SG_TIER_NONE) {
            Counted& of = counted[flow.key.interface_slot];
            of.opening += SG_WORD_TIER(flow.word) == SG_TIER_OPENING ? 1 : 0;
            ++of.flows;
            of.reserved += SG_WORD_BUDGET(flow.word) == SG_BUDGET_RESERVED ? 1 : 0;
            counted[0].flows += SG_WORD_BUDGET(flow.word) == SG_BUDGET_POOL ? 1 : 0;
        }
    }
    const std::uint32_t slots = entries_of(map);
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
        sg_account account{};
        if (bpf_map_lookup_elem(map, &slot, &account) != 0) {
            continue;
        }
        const Counted& of = counted[slot];
        if (account.opening != of.opening || account.flows != of.flows || account.reserved != of.reserved) {
            findings.add("account {} says {} opening, {} flows, {} reserved; the records {}, {}, {}", slot,
                         account.opening, account.flows, account.reserved, of.opening, of.flows, of.reserved);
        }
        if (account.begun != account.done) {
            findings.add("account {} has {} begun and {} done", slot, account.begun, account.done);
        }
    }
}

}  // namespace

std::string flow_table_faults(const TestPrograms& programs) {
    const int flows = programs.map_fd("sg_flows");
    std::vector<sg_flow> records(entries_of(flows));
    for (std::uint32_t slot = 0; slot < records.size(); ++slot) {
        bpf_map_lookup_elem(flows, &slot, &records[slot]);
    }
    Findings findings;
    check_slots(records, free_list(programs.map_fd("sg_flow_free")), findings);
    check_index(programs.map_fd("sg_flow_index"), records, findings);
    check_accounts(programs.map_fd("sg_accounts"), records, findings);
    return findings.text();
}

}  // namespace sgbpf::test
