// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Ids of objects and rules (SG-1.1, SG-1.2): what stays keeps its id, what is new gets one never seen.
#pragma once

#include <string>
#include <string_view>

#include <sgbpf/state.hpp>

namespace sgbpf {

// True for `prefix` + 17 lower-case hex digits, or the legacy 8 (SG-1.2). `prefix` ends in '-'.
bool is_id(std::string_view text, std::string_view prefix);

class IdSource {
public:
    IdSource() = default;
    IdSource(const IdSource&) = delete;
    IdSource& operator=(const IdSource&) = delete;
    virtual ~IdSource() = default;
    // `prefix` ("sgr-") + 17 hex digits. Need not be unique: assign_ids asks again.
    virtual std::string next(std::string_view prefix) = 0;
};

// getrandom(2): 68 random bits.
class RandomIds final : public IdSource {
public:
    std::string next(std::string_view prefix) override;
};

// 0, 1, 2 ... over all prefixes: for tests and for `check`, which must print the same text each time.
class CountingIds final : public IdSource {
public:
    explicit CountingIds(std::uint64_t first = 1) : next_(first) {}
    std::string next(std::string_view prefix) override;

private:
    std::uint64_t next_;
};

// Fills every empty id of `desired`. Ids written in the file stand. An object keeps the id it has in
// `applied` (null = nothing applied yet) if it is the same one: VPC by name, peering by name and VPCs,
// list by name and family, group by key, interface by name and VPC, rule by identity inside its group
// (SG-2.32). An id that occurs anywhere in `applied` or `desired` is never given to anything else.
void assign_ids(State& desired, const State* applied, IdSource& ids);

// Order of rule identities: protocol, canonical port or ICMP selector, peer. Never ids, descriptions, tags.
bool same_rule(const Rule& a, const Rule& b);
bool rule_less(const Rule& a, const Rule& b);

}  // namespace sgbpf
