/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: does a rule admit this packet? Asked on a flow miss only; the first "yes" ends it. Stages:
 * literal /0 rules, CIDRs of the policy, prefix lists, group references (ARCHITECTURE.md, "Match").
 * Nothing here depends on how many rules, lists or groups exist, except through tree depth.
 */
#pragma once

#include "bpf/maps.h"
#include "bpf/packet.h"

/* The question besides the packet, and the answer; on the stack of the slow path. */
struct sg_match {
    __u64 generation;
    __u32 policy_slot;
    __u32 kind;      /* enum sg_kind; sg_policy_match derives it from the packet */
    __u32 value;     /* port, type<<8|code, or protocol; likewise */
    __u32 stage;     /* out: enum sg_stage */
    __u32 rule;      /* out: rule slot */
    __u32 walked_ah; /* also try protocol 51 (SG-2.12) */
    __u32 by_ah;     /* out: only a rule about protocol 51 admits it */
    __u32 pad;
};

/* The most steps a binary search over 65,536 intervals takes, and one to end on. */
#define SG_SEARCH_STEPS 17

/*
 * The rule slot that admits `value` in kind `kind` of a class, or 0. `kind` and the bounds of the search
 * are unknown to the verifier on purpose: from a constant start it would enumerate every position.
 */
SG_GLOBAL int sg_class_admits(__u32 class, __u32 kind, __u32 value) {
    const struct sg_class* found = bpf_map_lookup_elem(&sg_classes, &class);
    if (!found || kind >= SG_KINDS) {
        return 0;
    }
    const struct sg_ports ports = found->kind[kind];
    __u32 low = ports.first_interval;
    __u32 count = ports.intervals;
    for (int i = 0; i < SG_SEARCH_STEPS && count > 0; i++) {
        const __u32 middle = low + count / 2;
        const struct sg_interval* interval = bpf_map_lookup_elem(&sg_intervals, &middle);
        if (!interval) {
            return 0;
        }
        if (value < interval->first) {
            count = count / 2;
        } else if (value > interval->last) {
            count -= count / 2 + 1;
            low = middle + 1;
        } else {
            const __u32 index = ports.first_rule + (middle - ports.first_interval);
            const struct sg_rule_ref* reference = bpf_map_lookup_elem(&sg_rule_refs, &index);
            return reference ? (int)reference->rule : 0;
        }
    }
    return 0;
}

/* What the rules are asked: which kind of interval, and which number in it. */
SG_INLINE void sg_set_question(struct sg_match* match, const struct sg_packet* packet) {
    const __u8 protocol = packet->key.protocol;
    match->walked_ah = (packet->flags & SG_PACKET_AH) != 0;
    match->kind = SG_KIND_PROTOCOL;
    match->value = protocol;
    if (packet->flags & SG_PACKET_FRAGMENT_LATER) {
        return; /* no ports: only rules that ask for none (SG-13.20) */
    }
    if (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) {
        match->kind = protocol == SG_PROTO_TCP ? SG_KIND_TCP : SG_KIND_UDP;
        match->value = packet->destination_port;
    } else if ((protocol == SG_PROTO_ICMP && packet->key.family == SG_IPV4) ||
               (protocol == SG_PROTO_ICMPV6 && packet->key.family == SG_IPV6)) {
        match->kind = protocol == SG_PROTO_ICMP ? SG_KIND_ICMP : SG_KIND_ICMPV6;
        match->value = ((__u32)packet->icmp_type << 8) | packet->icmp_code;
    }
}

SG_INLINE int sg_try_class(struct sg_match* match, __u32 class, __u32 stage) {
    int rule = sg_class_admits(class, match->kind, match->value);
    if (rule == 0 && match->walked_ah) {
        rule = sg_class_admits(class, SG_KIND_PROTOCOL, SG_PROTO_AH);
        match->by_ah = rule != 0;
    }
    if (rule == 0) {
        return 0;
    }
    match->rule = (__u32)rule;
    match->stage = stage;
    return 1;
}

SG_INLINE int sg_try_set(struct sg_match* match, __u32 policy, const struct sg_versioned* versioned, __u32 stage) {
    if (!versioned) {
        return 0;
    }
    const struct sg_set_key key = {.policy = policy, .set = sg_value_at(versioned, match->generation)};
    if (key.set == 0) {
        return 0;
    }
    const __u32* class = bpf_map_lookup_elem(&sg_set_class, &key);
    return class && sg_try_class(match, *class, stage);
}

/* Policy number that a slot holds at a generation; 0 = none. */
SG_INLINE __u32 sg_policy_number(__u32 slot, __u64 generation) {
    const struct sg_versioned* versioned = bpf_map_lookup_elem(&sg_policy_slots, &slot);
    return versioned ? sg_value_at(versioned, generation) : 0;
}

SG_INLINE int sg_match_ipv4(struct sg_match* match, const struct sg_packet* packet, const struct sg_policy* policy,
                            __u32 number) {
    struct sg_prefix4 key = {.prefix_bits = SG_SCOPE_BITS + 32, .scope = number};
    __builtin_memcpy(key.address, packet->key.remote, 4);
    if (policy->tables & SG_TABLE_CIDR4) {
        const __u32* class = bpf_map_lookup_elem(&sg_cidr4, &key);
        if (class && sg_try_class(match, *class, SG_STAGE_CIDR)) {
            return 1;
        }
    }
    if (policy->tables & SG_TABLE_LIST4) {
        key.scope = SG_BAND_LONG;
        if (sg_try_set(match, number, bpf_map_lookup_elem(&sg_lists4, &key), SG_STAGE_LIST)) {
            return 1;
        }
        key.scope = SG_BAND_SHORT;
        if (sg_try_set(match, number, bpf_map_lookup_elem(&sg_lists4, &key), SG_STAGE_LIST)) {
            return 1;
        }
    }
    if (policy->tables & SG_TABLE_GROUPS) {
        key.scope = policy->vpc;
        return sg_try_set(match, number, bpf_map_lookup_elem(&sg_members4, &key), SG_STAGE_GROUP);
    }
    return 0;
}

SG_INLINE int sg_match_ipv6(struct sg_match* match, const struct sg_packet* packet, const struct sg_policy* policy,
                            __u32 number) {
    struct sg_prefix6 key = {.prefix_bits = SG_SCOPE_BITS + 128, .scope = number};
    __builtin_memcpy(key.address, packet->key.remote, 16);
    if (policy->tables & SG_TABLE_CIDR6) {
        const __u32* class = bpf_map_lookup_elem(&sg_cidr6, &key);
        if (class && sg_try_class(match, *class, SG_STAGE_CIDR)) {
            return 1;
        }
    }
    if (policy->tables & SG_TABLE_LIST6) {
        key.scope = SG_BAND_LONG;
        if (sg_try_set(match, number, bpf_map_lookup_elem(&sg_lists6, &key), SG_STAGE_LIST)) {
            return 1;
        }
        key.scope = SG_BAND_SHORT;
        if (sg_try_set(match, number, bpf_map_lookup_elem(&sg_lists6, &key), SG_STAGE_LIST)) {
            return 1;
        }
    }
    if (policy->tables & SG_TABLE_GROUPS) {
        key.scope = policy->vpc;
        return sg_try_set(match, number, bpf_map_lookup_elem(&sg_members6, &key), SG_STAGE_GROUP);
    }
    return 0;
}

/* 1 and match->rule, match->stage set when a rule of the policy admits the packet; else 0. */
SG_GLOBAL int sg_policy_match(const struct sg_packet* packet, struct sg_match* match) {
    if (!packet || !match) {
        return 0;
    }
    sg_set_question(match, packet);
    match->stage = SG_STAGE_NONE;
    match->rule = 0;
    const __u32 number = sg_policy_number(match->policy_slot, match->generation);
    const struct sg_policy* policy = bpf_map_lookup_elem(&sg_policies, &number);
    if (!policy || number == 0) {
        return 0;
    }
    const __u32 any = packet->key.family == SG_IPV4 ? policy->any_class[SG_IPV4] : policy->any_class[SG_IPV6];
    if (any != 0 && sg_try_class(match, any, SG_STAGE_ANY)) {
        return 1;
    }
    return packet->key.family == SG_IPV4 ? sg_match_ipv4(match, packet, policy, number)
                                         : sg_match_ipv6(match, packet, policy, number);
}

/* Does one literal /0 rule of the policy in `slot` cover all ports of TCP or UDP (SG-5.11..5.14)? */
SG_INLINE int sg_policy_is_open(__u32 slot, __u64 generation, __u32 family, int is_udp) {
    const __u32 number = sg_policy_number(slot, generation);
    const struct sg_policy* policy = bpf_map_lookup_elem(&sg_policies, &number);
    return policy && number != 0 && (policy->open & SG_POLICY_OPEN(family, is_udp)) != 0;
}
