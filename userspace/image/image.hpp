// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// MapImage: what the policy maps hold in force at one generation, and which number stands for what.
// A value; copies share all parts that did not change, so that compiling and planning cost what the
// change costs. Not for versions: plan.hpp turns two images into versioned edits.
//
// An image that came from the kernel (image_from_maps) is anonymous: it knows every number and every
// row, but not the names behind policies and sets. Interfaces and rules keep their ids there too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/policy.h>
#include <sgbpf/prefix.hpp>
#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "image/content_sum.hpp"
#include "image/maps.hpp"
#include "image/number_pool.hpp"
#include "image/raw_maps.hpp"
#include "image/shared_containers.hpp"

namespace sgbpf {

// An id as it stands in the maps: text, filled up with zeros. Compares like the text.
using FixedId = std::array<char, SG_ID_BYTES>;
FixedId fixed_id(std::string_view text);
std::string_view id_text(const FixedId& id);
std::string_view id_text(const char (&id)[SG_ID_BYTES]);

// --- Rules, in the form in which policies are made of them ---------------------------------------

struct CompiledRule {
    FixedId id{};
    std::uint32_t slot = 0;
    std::int16_t protocol = -1;  // as Protocol
    sg_interval ports{};         // tcp, udp: ports; icmp, icmpv6: type<<8|code; else 0..65535
    Peer peer;
};

// The rules of one group in one direction. Unchanged rules keep the object: policies made of the same
// objects are the same.
struct GroupRules {
    std::string group;  // key
    std::uint32_t direction = 0;
    std::vector<CompiledRule> rules;  // in the order of the state
};
struct GroupImage {
    std::string key;
    std::array<std::shared_ptr<const GroupRules>, SG_DIRECTIONS> rules;
};

// Rule slots. Slots of rules that are gone stay (live = 0) until the compiler is told that no flow
// names them.
struct IdHash {
    std::size_t operator()(const FixedId& id) const noexcept;
};
struct RuleSlots {
    PagedVector<sg_rule> records;  // by slot; slot 0 is never used
    ShardedMap<FixedId, std::uint32_t, IdHash> slots;
    ContentSum sum;

    void set(std::uint32_t slot, const sg_rule& record);
};

// --- Classes and policies ------------------------------------------------------------------------

// One sequence of intervals, shared by every class of the host that has the same.
struct IntervalRun {
    std::uint32_t first = 0;
    std::vector<sg_interval> intervals;
};
struct IntervalContentHash {
    std::size_t operator()(const std::vector<std::uint32_t>& packed) const noexcept;
};
struct IntervalRuns {
    struct Entry {
        std::shared_ptr<const IntervalRun> run;
        std::uint32_t blocks = 0;  // class blocks that use it
    };
    ShardedMap<std::vector<std::uint32_t>, Entry, IntervalContentHash, 64> by_content;  // first << 16 | last
    ContentSum sum;
};

// Classes that live and die together, with the rule references that are theirs alone.
struct ClassBlock {
    struct NumberedClass {
        std::uint32_t number = 0;
        sg_class content{};
    };
    struct RefRun {
        std::uint32_t first = 0;  // in sg_rule_refs
        std::uint32_t begin = 0;  // in `rules`
        std::uint32_t count = 0;
    };
    std::vector<NumberedClass> classes;
    std::vector<RefRun> ref_runs;
    std::vector<std::uint32_t> rules;                           // slots
    std::vector<std::shared_ptr<const IntervalRun>> intervals;  // each once
    ContentSum sum;                                             // of classes and rule references
};

// Immutable once published: another content gets another number.
struct PolicyImage {
    template <typename Key> struct CidrRow {
        Key key{};
        std::uint32_t class_number = 0;
    };
    std::uint32_t number = 0;
    sg_policy record{};
    std::vector<CidrRow<sg_prefix4>> cidr4;
    std::vector<CidrRow<sg_prefix6>> cidr6;
    ClassBlock block;
    ContentSum sum;  // of record, cidr rows and block

    // Where it comes from; empty when anonymous.
    std::vector<std::shared_ptr<const GroupRules>> groups;
    std::vector<std::string> list_refs;   // lists that its rules name, sorted
    std::vector<std::string> group_refs;  // groups that its rules name, sorted
};

// What a policy grants to the members of sets. Rows come and go with the sets; the class of a (policy,
// set) never changes.
struct SubsetClass {
    std::vector<std::uint32_t> refs;  // indexes into list_refs, or group_refs + list_refs.size(); sorted
    ClassBlock block;                 // one class
};
struct PolicyRows {
    struct Row {
        std::uint32_t set = 0;
        std::uint32_t class_number = 0;
    };
    std::vector<Row> rows;  // by set
    std::vector<std::shared_ptr<const SubsetClass>> classes;
    ContentSum sum;  // of rows and classes
};

struct PolicyEntry {
    std::shared_ptr<const PolicyImage> policy;  // nullptr = number not in use
    std::shared_ptr<const PolicyRows> rows;
};

// (VPC, sorted groups, direction): what a policy slot stands for.
struct PolicyKey {
    std::string vpc;
    std::vector<std::string> groups;
    std::uint32_t direction = 0;
    auto operator<=>(const PolicyKey&) const = default;
};
struct PolicySlot {
    std::uint32_t policy = 0;              // 0 = slot not in use
    std::shared_ptr<const PolicyKey> key;  // nullptr = anonymous
};

// --- Sets: which lists, or which groups, an address belongs to -------------------------------------

struct SetRow {
    std::uint32_t scope = 0;  // band, VPC number, interface slot or SG_SCOPE_* of sgbpf/abi/interface.h
    Prefix prefix;
    std::uint32_t value = 0;  // set number; 1 for a local address; SG_SERVICE_WAY bits
    auto operator<=>(const SetRow&) const = default;
};
// Sorted by (scope, prefix): covering prefixes come before covered ones.
struct SetTable {
    std::vector<SetRow> rows;
    ContentSum sum;
};
struct SetContent {
    std::uint32_t number = 0;
    std::vector<std::string> names;  // sorted; empty = anonymous
    auto operator<=>(const SetContent&) const = default;
};
struct ListImage {
    std::string name;
    Family family = Family::kIpv4;
    std::vector<Prefix> given;   // as the state says
    std::vector<Prefix> sorted;  // without duplicates; empty if `given` is so already
    [[nodiscard]] const std::vector<Prefix>& prefixes() const { return sorted.empty() ? given : sorted; }
};
struct SetFamily {
    std::array<std::shared_ptr<const SetTable>, SG_FAMILIES> tables;  // never nullptr in a built image
    std::vector<SetContent> sets;                                     // by number
};

// --- Interfaces ------------------------------------------------------------------------------------

struct InterfaceImage {
    std::string name;  // empty when anonymous
    FixedId id{};
    std::uint32_t slot = 0;
    std::uint32_t copy = 0;  // which config of the record is current
    sg_interface_config config{};
    std::vector<Prefix> locals;         // addresses and allowed addresses, sorted
    std::vector<Prefix> tracked_peers;  // flows with them are never untracked (SG-5.19); sorted
    ContentSum sum;                     // of the record (other copy zero) and of both
};

// ---------------------------------------------------------------------------------------------------

struct MapImage {
    PagedVector<std::shared_ptr<const InterfaceImage>> interfaces;  // by slot
    PagedVector<PolicySlot> policy_slots;                           // by slot
    PagedVector<PolicyEntry> policies;                              // by number
    IntervalRuns intervals;
    RuleSlots rules;
    std::array<std::shared_ptr<const SetFamily>, 2> sets;  // kListSets, kGroupSets
    // Endpoints that groups never filter, by family: rows of sg_locals4/6 with scope SG_SCOPE_SERVICE.
    std::array<std::shared_ptr<const SetTable>, SG_FAMILIES> services;  // never nullptr
    ContentSum sum;                                                     // of everything

    // Numbering and inputs, for the next compile.
    std::vector<std::shared_ptr<const GroupImage>> groups;  // by key; groups that an interface carries
    std::vector<std::shared_ptr<const ListImage>> lists;    // by name; lists that a policy names
    std::map<std::string, std::uint32_t> vpcs;              // name -> VPC number
    // Slots of interfaces that this image no longer has and the one before had: flush their flows
    // before the next compile, which may give the slots to others.
    std::vector<std::uint32_t> retired_interfaces;

    NumberPool interface_pool{1};
    NumberPool policy_slot_pool{1};
    NumberPool policy_pool{1};
    NumberPool class_pool{1};
    NumberPool interval_pool{0};
    NumberPool ref_pool{0};
    NumberPool set_pool{1};
    NumberPool vpc_pool{1};

    MapImage();

    [[nodiscard]] std::optional<std::uint32_t> interface_slot(std::string_view id) const;  // linear
    [[nodiscard]] const InterfaceImage* interface_at(std::uint32_t slot) const;            // nullptr = none
    [[nodiscard]] std::optional<std::uint32_t> rule_slot(std::string_view id) const;
    [[nodiscard]] std::string_view rule_id(std::uint32_t slot) const;  // empty = never used
    // Slots with live = 0: those that no flow names may go into CompileInput::reusable_rule_slots.
    [[nodiscard]] std::vector<std::uint32_t> retired_rule_slots() const;
};

enum SetKind : std::size_t { kListSets = 0, kGroupSets = 1 };

// Equal contents have equal digests, however they came about (compiled, cached or read back).
Digest digest(const MapImage& image);

// For people and golden tests: sections in a fixed order, one fact per line.
std::string to_text(const MapImage& image);

// A cache: format versioned and checksummed; anything else is kCorrupt, and the maps are read instead.
std::vector<std::byte> serialise(const MapImage& image);
Result<MapImage> deserialise(std::span<const std::byte> bytes);

}  // namespace sgbpf
