/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: the flow table. Look up, open, reap. The state machine is in flow_state.h.
 *
 * Shared words and their races (all CPUs write records; user space never does):
 * - `word` changes by compare-and-exchange only. The winner of a change to BUSY owns the record until
 *   it stores the next word. Everybody else treats BUSY and FREE as "no such flow".
 * - A record found through the index can be freed and become another flow's before it is read: the
 *   word is read, then the key compared, then the incarnation read again. Equal = the key is the one
 *   the word belongs to.
 * - last_seen: plain 32-bit store by any CPU. Worst case after the record changed hands: the new flow
 *   looks up to one packet time younger. Harmless.
 * - packets, bytes: plain additions; two CPUs handling one direction of one flow at the same instant
 *   may lose one. Interface and rule counters are per CPU and exact.
 */
#pragma once

#include "bpf/accounts.h"
#include "bpf/flow_hints.h"
#include "bpf/flow_state.h"
#include "bpf/maps.h"

SG_INLINE int sg_same_key(const struct sg_flow_key* a, const struct sg_flow_key* b) {
    const __u64* x = (const __u64*)a;
    const __u64* y = (const __u64*)b;
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

/* The record at a slot, or NULL. */
SG_INLINE struct sg_flow* sg_flow_at(__u32 slot) {
    return bpf_map_lookup_elem(&sg_flows, &slot);
}

SG_INLINE int sg_word_change(struct sg_flow* flow, __u64 from, __u64 to) {
    return __sync_val_compare_and_swap(&flow->word, from, to) == from;
}

/* The record at a slot if it lives and is the key's, with its word; else NULL. */
SG_INLINE struct sg_flow* sg_flow_of(const struct sg_flow_key* key, __u32 slot, __u64* word) {
    struct sg_flow* flow = sg_flow_at(slot);
    if (!flow) {
        return 0;
    }
    *word = SG_READ(flow->word);
    if (!sg_flow_is_live(SG_WORD_STATE(*word)) || !sg_same_key(&flow->key, key) ||
        SG_WORD_INCARNATION(SG_READ(flow->word)) != SG_WORD_INCARNATION(*word)) {
        return 0;
    }
    return flow;
}

/* Did the packets of the flow come before `since`? Epochs are compared modulo 2^32; 0 = never. */
SG_INLINE int sg_flow_is_older(const struct sg_flow* flow, __u32 since) {
    return since != 0 && (__s32)(flow->epoch - since) < 0;
}

SG_INLINE int sg_flow_is_expired(const struct sg_flow* flow, __u64 word, const struct sg_interface_config* config,
                                 __u64 now) {
    return sg_flow_expired((__u32)now, SG_READ(flow->last_seen), sg_flow_seconds(SG_WORD_STATE(word), config),
                           sg_config.ticks_per_second);
}

/* The live record of `key` and its word, or NULL. Expired counts as absent. */
SG_INLINE struct sg_flow* sg_flow_find(const struct sg_flow_key* key, const struct sg_interface_config* config,
                                       __u64 now, __u64* word, __u32* slot) {
    const __u32* found = bpf_map_lookup_elem(&sg_flow_index, key);
    if (!found) {
        return 0;
    }
    *slot = SG_READ(*found);
    struct sg_flow* flow = sg_flow_of(key, *slot, word);
    return flow && !sg_flow_is_expired(flow, *word, config, now) ? flow : 0;
}

/*
 * The same by a hint first: for the established path. A hint that leads elsewhere is forgotten, and the packet
 * takes the slow path, which asks the index.
 */
SG_INLINE struct sg_flow* sg_flow_find_fast(const struct sg_flow_key* key, const struct sg_interface_config* config,
                                            __u64 now, __u64* word, __u32* slot) {
    __u32 place = 0;
    *slot = sg_hint_find(sg_flow_hash(key), &place);
    if (*slot == 0) {
        const __u32* found = bpf_map_lookup_elem(&sg_flow_index, key);
        if (!found) {
            return 0;
        }
        *slot = SG_READ(*found);
        sg_hint_store(sg_flow_hash(key), *slot, &place); /* computed anew: held, it would cost stack */
    }
    struct sg_flow* flow = sg_flow_of(key, *slot, word);
    if (!flow) {
        sg_hint_forget(*slot, &place);
        return 0;
    }
    return sg_flow_is_expired(flow, *word, config, now) ? 0 : flow;
}

SG_INLINE void sg_count_rule(__u32 rule, __u32 length) {
    if (sg_config.dry_run) {
        return;
    }
    struct sg_rule_counters* counters = bpf_map_lookup_elem(&sg_rule_counts, &rule);
    if (counters) {
        counters->packets++;
        counters->bytes += length;
    }
}

SG_INLINE int sg_from_opener(__u64 word, __u32 direction) {
    return (direction == SG_OUT) == ((SG_WORD_FLAGS(word) & SG_FLOW_OPENED_OUT) != 0);
}

/* Idle timer and counters of a packet of the flow. */
SG_INLINE void sg_flow_touch(struct sg_flow* flow, int from_opener, __u32 length, __u64 now) {
    if (sg_config.dry_run) {
        return;
    }
    if (flow->last_seen != (__u32)now) {
        SG_WRITE(flow->last_seen, (__u32)now); /* no store when nothing changes: keeps the line shared */
    }
    if (!sg_config.bare) {
        flow->packets[!from_opener]++;
        flow->bytes[!from_opener] += length;
    }
    sg_count_rule(flow->rule, length);
}

/* How often a transition is tried again when another CPU changes the state of the same flow. */
#define SG_TRANSITION_TRIES 4

/*
 * Does a segment open the next connection on the ports of this flow? After the last one's end (SG-5.63); or of one
 * that was adopted: a SYN shows that it was none.
 */
SG_INLINE int sg_is_taken_over(__u64 word, __u8 tcp_flags) {
    return (sg_flow_is_closing(SG_WORD_STATE(word)) || (SG_WORD_FLAGS(word) & SG_FLOW_ADOPTED)) &&
           sg_tcp_opens(tcp_flags);
}

/* Has the other side answered with this packet? (One-sided traffic never promotes: SG-5.44.) */
SG_INLINE int sg_flow_is_answered(__u8 state, int from_opener) {
    return state <= SG_FLOW_RESET ? state == SG_FLOW_ESTABLISHED : state == SG_FLOW_UDP_ASKED ? 0 : !from_opener;
}

/* The low 16 bits of the word, state and tier, after a packet of the flow. */
SG_GLOBAL int sg_flow_moves(__u32 word, __u32 from_opener, __u32 tcp_flags) {
    __u8 state = sg_flow_next(SG_WORD_STATE(word), from_opener != 0, (__u8)tcp_flags);
    if (state == SG_FLOW_SYN_SENT && (SG_WORD_FLAGS(word) & SG_FLOW_ADOPTED) && !from_opener &&
        (tcp_flags & SG_TCP_ACK)) {
        state = SG_FLOW_ESTABLISHED; /* its handshake was before our time */
    }
    const int answered = sg_flow_is_answered(state, from_opener != 0) && SG_WORD_TIER(word) == SG_TIER_OPENING;
    return (answered ? SG_TIER_ESTABLISHED : SG_WORD_TIER(word)) << 8 | state;
}

/* 1 when `to` took the place of `from`. A flow that leaves the opening tier is counted there. */
SG_GLOBAL int sg_word_promote(__u32 slot, __u64 from, __u64 to) {
    struct sg_flow* flow = sg_flow_at(slot);
    struct sg_account* account = flow ? sg_account_at(flow->key.interface_slot) : 0;
    if (!account) {
        return 0;
    }
    if (SG_WORD_TIER(from) == SG_WORD_TIER(to)) {
        return sg_word_change(flow, from, to);
    }
    SG_ADD(account->begun, 1);
    const int changed = sg_word_change(flow, from, to);
    if (changed) {
        SG_ADD(account->opening, -1);
    }
    SG_ADD(account->done, 1);
    return changed;
}

/*
 * Takes a live flow to the state after this packet, and from the opening tier to the established one when it is
 * answered. Returns 0 when the record stopped being this flow meanwhile: the caller starts again as a miss. Losing
 * only the race for the state is no reason to refuse a packet of the flow: the transition is computed anew from
 * the state that won.
 */
SG_GLOBAL int sg_flow_advance(__u32 slot, __u64 word, __u32 from_opener, __u32 tcp_flags) {
    struct sg_flow* flow = sg_flow_at(slot);
    if (!flow) {
        return 0;
    }
    __u64 seen = word;
    for (int i = 0; i < SG_TRANSITION_TRIES; i++) {
        const __u64 next = (seen & ~0xffffull) | ((__u32)sg_flow_moves((__u32)seen, from_opener, tcp_flags) & 0xffff);
        if (next == seen || sg_config.dry_run) {
            return 1;
        }
        if (sg_word_promote(slot, seen, next)) {
            return 1;
        }
        const __u64 found = SG_READ(flow->word);
        if (SG_WORD_INCARNATION(found) != SG_WORD_INCARNATION(word) || !sg_flow_is_live(SG_WORD_STATE(found))) {
            return 0;
        }
        seen = found;
    }
    return 1;
}

/* What opens a flow besides the packet; on the stack of the slow path. */
struct sg_opening {
    __u64 now;
    __u64 generation; /* that the rules were asked at */
    __u32 direction;  /* of the opener: SG_OUT = the workload; an adopted flow's packet may go the other way */
    __u32 epoch;
    __u32 rule;
    __u32 slot; /* out: the record */
    __u8 adopted;
    __u8 strict;
    __u8 from_opener;
    __u8 fragment; /* no flow: the context of a datagram */
};

SG_INLINE void sg_flow_fill(struct sg_flow* flow, const struct sg_packet* packet, const struct sg_opening* opening) {
    SG_WRITE(flow->last_seen, (__u32)opening->now);
    flow->epoch = opening->epoch;
    flow->rule = opening->rule;
    flow->icmp_type = packet->icmp_type;
    flow->icmp_code = packet->icmp_code;
    flow->created = (__u32)opening->now;
    flow->packets[0] = opening->from_opener;
    flow->packets[1] = !opening->from_opener && !opening->fragment; /* sg_fragment_ranges begin with zeros */
    flow->bytes[0] = opening->from_opener ? packet->length : 0;
    flow->bytes[1] = opening->from_opener || opening->fragment ? 0 : packet->length;
    flow->sequence[0] = 0;
    flow->sequence[1] = 0;
    flow->window[0] = 0;
    flow->window[1] = 0;
    flow->scale[0] = 0;
    flow->scale[1] = 0;
}

SG_INLINE __u8 sg_opening_tier(const struct sg_opening* opening) {
    return opening->fragment ? SG_TIER_FRAGMENT : SG_TIER_OPENING;
}

SG_INLINE __u64 sg_first_word(const struct sg_packet* packet, const struct sg_opening* opening, __u32 incarnation,
                              __u8 budget) {
    const int tcp = packet->key.protocol == SG_PROTO_TCP;
    const __u64 flags = (opening->direction == SG_OUT ? SG_FLOW_OPENED_OUT : 0) |
                        (opening->adopted ? SG_FLOW_ADOPTED : 0) |
                        (opening->strict && tcp && !opening->adopted ? SG_FLOW_WINDOWS : 0);
    /* Adopted: the one side was seen, the other one completes it. */
    const __u8 state = opening->fragment                           ? SG_FLOW_FRAGMENT
                       : !opening->adopted || opening->from_opener ? sg_flow_first(packet->key.protocol)
                       : tcp                                       ? SG_FLOW_SYN_RECEIVED
                       : packet->key.protocol == SG_PROTO_UDP      ? SG_FLOW_UDP_ANSWERED
                                                                   : SG_FLOW_OTHER;
    return ((__u64)incarnation << 32) | (flags << 24) | ((__u64)budget << 16) | ((__u64)sg_opening_tier(opening) << 8) |
           state;
}

/* A record that is being written, and will be a flow of its key in a moment. */
SG_INLINE __u64 sg_word_opening(__u32 incarnation) {
    return ((__u64)incarnation << 32) | (SG_TIER_OPENING << 8) | SG_FLOW_BUSY;
}

/* How often an opening is tried when another CPU changes the same tuple, and how often it looks at a record in change.
 */
#define SG_OPEN_TRIES 3
#define SG_BUSY_LOOKS 32

/*
 * The record that the index has for the packet's key becomes the new flow's: it is expired, or closing and the
 * tuple is used again (SG-5.63). Its place in the budgets stays, only the tier may change. SG_REASON_NONE: look
 * again.
 */
SG_INLINE enum sg_reason sg_flow_replace(const struct sg_packet* packet, struct sg_opening* opening,
                                         const struct sg_interface_config* config, struct sg_account* account,
                                         __u32 slot) {
    struct sg_flow* flow = sg_flow_at(slot);
    if (!flow) {
        return SG_REASON_INTERNAL;
    }
    __u64 word = SG_READ(flow->word);
    for (int i = 0; i < SG_BUSY_LOOKS && SG_WORD_STATE(word) == SG_FLOW_BUSY; i++) {
        word = SG_READ(flow->word);
    }
    const __u8 state = SG_WORD_STATE(word);
    if (state == SG_FLOW_BUSY && SG_WORD_TIER(word) == SG_TIER_OPENING && sg_same_key(&flow->key, &packet->key)) {
        opening->slot = slot;
        return SG_REASON_RULE; /* another CPU is opening it */
    }
    if (!sg_flow_is_live(state) || (SG_WORD_FLAGS(word) & SG_FLOW_LOCKED) || !sg_same_key(&flow->key, &packet->key)) {
        return SG_REASON_NONE; /* being freed or rewritten */
    }
    opening->slot = slot;
    const int expired = sg_flow_expired((__u32)opening->now, SG_READ(flow->last_seen), sg_flow_seconds(state, config),
                                        sg_config.ticks_per_second);
    if (!expired && !sg_is_taken_over(word, packet->tcp_flags)) {
        return SG_REASON_RULE; /* another CPU opened it: this packet is one of it */
    }
    const int tier = sg_opening_tier(opening);
    const int more = tier == SG_TIER_OPENING && SG_WORD_TIER(word) != SG_TIER_OPENING;
    if (sg_config.dry_run) {
        opening->slot = 0; /* it would be a new flow */
        return more && SG_READ(account->opening) >= sg_limit(config->max_opening) ? SG_REASON_OPENING_LIMIT
                                                                                  : SG_REASON_RULE;
    }
    const __u8 budget = SG_WORD_BUDGET(word);
    sg_end_begins(account, budget); /* the pool's too: while it is BUSY no recount sees the record */
    enum sg_reason reason = SG_REASON_OPENING_LIMIT;
    if (!more || sg_take_one(&account->opening, sg_limit(config->max_opening))) {
        const __u32 incarnation = SG_WORD_INCARNATION(word) + 1;
        reason = SG_REASON_NONE;
        if (sg_word_change(flow, word, sg_word_opening(incarnation))) {
            sg_flow_fill(flow, packet, opening);
            SG_WRITE(flow->word, sg_first_word(packet, opening, incarnation, budget));
            if (tier != SG_TIER_OPENING && SG_WORD_TIER(word) == SG_TIER_OPENING) {
                SG_ADD(account->opening, -1);
            }
            reason = SG_REASON_RULE;
        } else if (more) {
            SG_ADD(account->opening, -1);
        }
    }
    sg_charged(account, budget);
    return reason;
}

/*
 * A new record for the packet's key, charged to the interface. Its fields are complete before its word says that it
 * lives. SG_REASON_NONE: another CPU was first, or the bucket's lock is taken on this CPU (before Linux 6.15).
 */
SG_INLINE enum sg_reason sg_flow_create(const struct sg_packet* packet, const struct sg_flow_key* key,
                                        struct sg_opening* opening, const struct sg_interface_config* config,
                                        struct sg_account* account) {
    __u32 slot = 0;
    if (sg_config.dry_run) {
        const enum sg_reason room = sg_would_charge(account, config, sg_opening_tier(opening));
        return room == SG_REASON_RULE && bpf_map_peek_elem(&sg_flow_free, &slot) < 0 ? SG_REASON_NO_CAPACITY : room;
    }
    const __u32 owner = key->interface_slot;
    const __u8 tier = sg_opening_tier(opening);
    const int charged = sg_charge(owner, tier, opening->generation);
    if (charged < 0) {
        return (enum sg_reason) - charged;
    }
    const __u8 budget = (__u8)charged;
    struct sg_flow* flow = bpf_map_pop_elem(&sg_flow_free, &slot) < 0 ? 0 : sg_flow_at(slot);
    if (!flow) {
        sg_discharge(owner, tier, budget);
        return SG_REASON_NO_CAPACITY;
    }
    const __u32 incarnation = SG_WORD_INCARNATION(SG_READ(flow->word)) + 1;
    flow->key = packet->key;
    sg_flow_fill(flow, packet, opening);
    SG_WRITE(flow->word, sg_word_opening(incarnation)); /* nobody ends it before it is indexed */
    const long error = bpf_map_update_elem(&sg_flow_index, key, &slot, BPF_NOEXIST);
    if (error == 0) {
        SG_WRITE(flow->word, sg_first_word(packet, opening, incarnation, budget));
        opening->slot = slot;
        sg_charged(account, budget);
        return SG_REASON_RULE;
    }
    SG_WRITE(flow->word, ((__u64)incarnation << 32) | SG_FLOW_FREE);
    bpf_map_push_elem(&sg_flow_free, &slot, 0);
    sg_discharge(owner, tier, budget);
    return error == -7 /* E2BIG */ || error == -12 /* ENOMEM */ ? SG_REASON_NO_CAPACITY : SG_REASON_NONE;
}

/*
 * Opens the flow, or finds that another CPU just did. Returns SG_REASON_RULE, SG_REASON_OPENING_LIMIT,
 * SG_REASON_NO_CAPACITY or SG_REASON_FLOW_BUSY. The rules have admitted the packet.
 */
SG_GLOBAL int sg_flow_open(const struct sg_packet* packet, struct sg_opening* opening) {
    if (!packet || !opening) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(packet->key.interface_slot, opening->generation);
    struct sg_account* account = sg_account_at(packet->key.interface_slot);
    if (!config || !account) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_flow_key key = packet->key; /* Linux 6.1 takes map keys from the stack, not from an argument */
    for (int i = 0; i < SG_OPEN_TRIES; i++) {
        const __u32* found = bpf_map_lookup_elem(&sg_flow_index, &key);
        const enum sg_reason reason = found ? sg_flow_replace(packet, opening, config, account, SG_READ(*found))
                                            : sg_flow_create(packet, &key, opening, config, account);
        if (reason != SG_REASON_NONE) {
            return reason;
        }
    }
    return SG_REASON_FLOW_BUSY;
}

/*
 * Ends the flow of a record whose word is `word`, unless it changed. Only the CPU that wins the change to BUSY
 * deletes the key, gives the slot back, and the budget.
 */
SG_GLOBAL int sg_flow_reap(__u32 slot, __u64 word) {
    struct sg_flow* flow = sg_flow_at(slot);
    if (!flow || (SG_WORD_FLAGS(word) & SG_FLOW_LOCKED)) {
        return 0;
    }
    const struct sg_flow_key key = flow->key;
    struct sg_account* account = sg_account_at(key.interface_slot);
    if (!account) {
        return 0;
    }
    const __u64 incarnation = (__u64)(SG_WORD_INCARNATION(word) + 1) << 32;
    sg_end_begins(account, SG_WORD_BUDGET(word));
    if (sg_word_change(flow, word, incarnation | SG_FLOW_BUSY)) {
        const long error = bpf_map_delete_elem(&sg_flow_index, &key);
        if (error == 0 || error == -2 /* ENOENT */) {
            SG_WRITE(flow->word, incarnation | SG_FLOW_FREE);
            bpf_map_push_elem(&sg_flow_free, &slot, 0);
            sg_discharge(key.interface_slot, SG_WORD_TIER(word), SG_WORD_BUDGET(word));
            return 1;
        }
        /* EBUSY: the bucket's lock is taken on this CPU. A key left behind would refuse its tuple for ever. */
        SG_WRITE(flow->word, incarnation | (word & 0xffffffff));
    }
    sg_charged(account, SG_WORD_BUDGET(word));
    return 0;
}
