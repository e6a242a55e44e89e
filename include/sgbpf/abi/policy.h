/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policies as the packet path reads them: interface -> policy slot -> policy -> classes -> intervals.
 * A policy is (VPC, set of groups, direction) and is immutable once published; everything that is
 * edited in place holds a struct sg_versioned.
 *
 * Number 0 means "none" for policies, classes, sets and rule slots; slot 0 of interfaces is "unbound".
 */
#pragma once

#include <sgbpf/abi/version.h>

/*
 * Keys of all LPM tries. `scope` is matched whole: policy number (cidr tries), band (list tries),
 * VPC number (member tries) or interface slot (local tries). Address in wire order.
 * prefix_bits = 32 + prefix length (Documentation/bpf/map_lpm_trie.rst).
 */
struct sg_prefix4 {
    __u32 prefix_bits;
    __u32 scope;
    __u8 address[4];
};
SG_ABI_SIZE(struct sg_prefix4, 12);

struct sg_prefix6 {
    __u32 prefix_bits;
    __u32 scope;
    __u8 address[16];
};
SG_ABI_SIZE(struct sg_prefix6, 24);

#define SG_SCOPE_BITS 32

/*
 * Prefix lists live in two bands of length, both asked: adding a short prefix then rewrites only the
 * short prefixes of other lists. IPv4 /0-/8 and IPv6 /0-/19 are band SHORT.
 */
enum sg_band { SG_BAND_SHORT = 0, SG_BAND_LONG = 1, SG_BANDS = 2 };
#define SG_BAND_SHORT_MAX_V4 8
#define SG_BAND_SHORT_MAX_V6 19

/* Key of sg_set_class: what a policy grants to the addresses of one set (of lists or of groups). */
struct sg_set_key {
    __u32 policy;
    __u32 set;
};
SG_ABI_SIZE(struct sg_set_key, 8);

/* What an interval's numbers are. tcp/udp: destination port; icmp: type<<8|code; protocol: IP protocol. */
enum sg_kind { SG_KIND_TCP = 0, SG_KIND_UDP, SG_KIND_ICMP, SG_KIND_ICMPV6, SG_KIND_PROTOCOL, SG_KINDS };

/*
 * A port set (shared by content across the host) and the rules that its intervals are attributed to.
 * Interval i of the set is sg_intervals[first_interval + i]; the rule that admits it (lowest rule id
 * among those of the class that do) is sg_rule_refs[first_rule + i]. intervals == 0: admits nothing.
 */
struct sg_ports {
    __u32 first_interval;
    __u32 intervals;
    __u32 first_rule;
};
SG_ABI_SIZE(struct sg_ports, 12);

/*
 * A class: what a set of rules admits, for every protocol. The first four kinds are complete for
 * their protocol (a "-1" rule is in each of them); SG_KIND_PROTOCOL holds protocols admitted whole,
 * which decides all other protocols and fragments without ports (SG-13.20).
 */
struct sg_class {
    struct sg_ports kind[SG_KINDS];
    __u32 pad;
};
SG_ABI_SIZE(struct sg_class, 64);

/* Sorted, disjoint, inclusive at both ends, host byte order. */
struct sg_interval {
    __u16 first;
    __u16 last;
    __u32 pad;
};
SG_ABI_SIZE(struct sg_interval, 8);

/* An element of sg_rule_refs: a rule slot. */
struct sg_rule_ref {
    __u32 rule;
    __u32 pad;
};
SG_ABI_SIZE(struct sg_rule_ref, 8);

/* sg_policy.tables: which lookups can find anything at all; the others are skipped. */
enum sg_policy_tables {
    SG_TABLE_CIDR4 = 1 << 0,
    SG_TABLE_CIDR6 = 1 << 1,
    SG_TABLE_LIST4 = 1 << 2,
    SG_TABLE_LIST6 = 1 << 3,
    SG_TABLE_GROUPS = 1 << 4,
};

/* sg_policy.open: bit (family * 2 + is_udp): one literal /0 rule covers ports 0-65535 (SG-5.11..5.14). */
#define SG_POLICY_OPEN(family, is_udp) (1u << ((family) * 2 + ((is_udp) ? 1 : 0)))

/*
 *   offset size
 *        0    8  any_class: class of the literal /0 rules of each family, 0 = none
 *        8    4  tables: enum sg_policy_tables
 *       12    4  open: SG_POLICY_OPEN bits
 *       16    4  vpc: VPC number, scope of the member tries
 *       20    4  live: 1 while the number is in use (read by repair only)
 *       24    8  pad
 */
struct sg_policy {
    __u32 any_class[SG_FAMILIES];
    __u32 tables;
    __u32 open;
    __u32 vpc;
    __u32 live;
    __u64 pad;
};
SG_ABI_SIZE(struct sg_policy, 32);

/* Ids are text in the maps ("sgr-" + 17 hex, SG-1.1), so that what is pinned explains itself. */
#define SG_ID_BYTES 24

/*
 * A rule slot. Kept (live = 0) after its rule is gone for as long as a flow may name it, so that
 * `show flows` can still say which rule admitted it. `incarnation` changes when the slot is reused.
 */
struct sg_rule {
    char id[SG_ID_BYTES];
    __u32 incarnation;
    __u32 live;
};
SG_ABI_SIZE(struct sg_rule, 32);

/* Per-CPU, indexed by rule slot: every packet of a flow counts for the rule that admitted the flow. */
struct sg_rule_counters {
    __u64 packets;
    __u64 bytes;
};
SG_ABI_SIZE(struct sg_rule_counters, 16);
