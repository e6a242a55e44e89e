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
    flow->packets[!from_opener]++;
    flow->bytes[!from_opener] += length;
    sg_count_rule(flow->rule, length);
}

/* How often a transition is tried again when another CPU changes the state of the same flow. */
#define SG_TRANSITION_TRIES 4

/*
 * Takes a live flow to the state after this packet. Returns 0 when the record stopped being this flow
 * meanwhile: the caller starts again as a miss. Losing only the race for the state is no reason to
 * refuse a packet of the flow: the transition is computed anew from the state that won.
 */
SG_INLINE int sg_flow_advance(struct sg_flow* flow, __u64 word, int from_opener, __u8 tcp_flags) {
    __u64 seen = word;
    for (int i = 0; i < SG_TRANSITION_TRIES; i++) {
        const __u8 state = SG_WORD_STATE(seen);
        const __u8 next = sg_flow_next(state, from_opener, tcp_flags);
        if (next == state || sg_config.dry_run) {
            return 1;
        }
        const __u64 found = __sync_val_compare_and_swap(&flow->word, seen, (seen & ~0xffull) | next);
        if (found == seen) {
            return 1;
        }
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
    __u32 direction;
    __u32 epoch;
    __u32 rule;
    __u32 slot; /* out: the record */
};

SG_INLINE void sg_flow_fill(struct sg_flow* flow, const struct sg_packet* packet, const struct sg_opening* opening) {
    SG_WRITE(flow->last_seen, (__u32)opening->now);
    flow->epoch = opening->epoch;
    flow->rule = opening->rule;
    flow->icmp_type = packet->icmp_type;
    flow->icmp_code = packet->icmp_code;
    flow->created = (__u32)opening->now;
    flow->packets[0] = 1;
    flow->packets[1] = 0;
    flow->bytes[0] = packet->length;
    flow->bytes[1] = 0;
    flow->sequence[0] = 0;
    flow->sequence[1] = 0;
    flow->window[0] = 0;
    flow->window[1] = 0;
    flow->scale[0] = 0;
    flow->scale[1] = 0;
}

SG_INLINE __u64 sg_first_word(const struct sg_packet* packet, const struct sg_opening* opening, __u32 incarnation) {
    const __u64 flags = opening->direction == SG_OUT ? SG_FLOW_OPENED_OUT : 0;
    return ((__u64)incarnation << 32) | (flags << 24) | sg_flow_first(packet->key.protocol);
}

/* How often an opening is tried when another CPU is rewriting the same record (~0.1 us each). */
#define SG_OPEN_TRIES 4

/*
 * Opens the flow, or finds that another CPU just did. Returns SG_REASON_RULE, SG_REASON_NO_CAPACITY or
 * SG_REASON_FLOW_BUSY. The rules have admitted the packet. The record's fields are complete before its
 * word says that it lives.
 */
SG_GLOBAL int sg_flow_open(const struct sg_packet* packet, struct sg_opening* opening) {
    if (!packet || !opening) {
        return SG_REASON_INTERNAL;
    }
    const __u64 generation = sg_generation();
    const struct sg_interface_config* config = sg_interface_at(packet->key.interface_slot, generation);
    if (!config) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_flow_key key = packet->key; /* Linux 6.1 takes map keys from the stack, not from an argument */
    for (int i = 0; i < SG_OPEN_TRIES; i++) {
        const __u32* found = bpf_map_lookup_elem(&sg_flow_index, &key);
        if (found) {
            const __u32 slot = SG_READ(*found);
            struct sg_flow* flow = sg_flow_at(slot);
            if (!flow) {
                return SG_REASON_INTERNAL;
            }
            const __u64 word = SG_READ(flow->word);
            const __u8 state = SG_WORD_STATE(word);
            if (!sg_flow_is_live(state) || !sg_same_key(&flow->key, &packet->key)) {
                continue; /* being freed or rewritten: look again */
            }
            opening->slot = slot;
            const int expired = sg_flow_expired((__u32)opening->now, SG_READ(flow->last_seen),
                                                sg_flow_seconds(state, config), sg_config.ticks_per_second);
            if (!expired && !(sg_flow_is_closing(state) && sg_tcp_opens(packet->tcp_flags))) {
                return SG_REASON_RULE; /* another CPU opened it: this packet is one of it */
            }
            if (sg_config.dry_run) {
                return SG_REASON_RULE;
            }
            const __u32 incarnation = SG_WORD_INCARNATION(word) + 1;
            if (!sg_word_change(flow, word, ((__u64)incarnation << 32) | SG_FLOW_BUSY)) {
                continue;
            }
            sg_flow_fill(flow, packet, opening);
            SG_WRITE(flow->word, sg_first_word(packet, opening, incarnation));
            return SG_REASON_RULE;
        }
        __u32 slot = 0;
        if (sg_config.dry_run) {
            return bpf_map_peek_elem(&sg_flow_free, &slot) < 0 ? SG_REASON_NO_CAPACITY : SG_REASON_RULE;
        }
        if (bpf_map_pop_elem(&sg_flow_free, &slot) < 0) {
            return SG_REASON_NO_CAPACITY;
        }
        struct sg_flow* flow = sg_flow_at(slot);
        if (!flow) {
            return SG_REASON_INTERNAL;
        }
        const __u32 incarnation = SG_WORD_INCARNATION(SG_READ(flow->word)) + 1;
        flow->key = packet->key;
        sg_flow_fill(flow, packet, opening);
        SG_WRITE(flow->word, sg_first_word(packet, opening, incarnation));
        const long error = bpf_map_update_elem(&sg_flow_index, &key, &slot, BPF_NOEXIST);
        if (error == 0) {
            opening->slot = slot;
            return SG_REASON_RULE;
        }
        SG_WRITE(flow->word, ((__u64)incarnation << 32) | SG_FLOW_FREE);
        bpf_map_push_elem(&sg_flow_free, &slot, 0);
        if (error == -7 /* E2BIG */ || error == -12 /* ENOMEM */) {
            return SG_REASON_NO_CAPACITY;
        }
        /* EEXIST: another CPU was first; EBUSY: bucket lock taken on this CPU (kernels before 6.15). */
    }
    return SG_REASON_FLOW_BUSY;
}

/*
 * Frees a record whose word is `word`, unless it changed. Only the CPU that wins the change to BUSY
 * deletes the key and gives the slot back, once.
 */
SG_INLINE int sg_flow_reap(struct sg_flow* flow, __u32 slot, __u64 word) {
    const __u64 incarnation = (__u64)(SG_WORD_INCARNATION(word) + 1) << 32;
    if (!sg_word_change(flow, word, incarnation | SG_FLOW_BUSY)) {
        return 0;
    }
    const struct sg_flow_key key = flow->key;
    const long error = bpf_map_delete_elem(&sg_flow_index, &key);
    if (error != 0 && error != -2 /* ENOENT */) {
        /* EBUSY: the bucket's lock is taken on this CPU. A key left behind would refuse its tuple for ever. */
        SG_WRITE(flow->word, incarnation | (word & 0xffffffff));
        return 0;
    }
    SG_WRITE(flow->word, incarnation | SG_FLOW_FREE);
    bpf_map_push_elem(&sg_flow_free, &slot, 0);
    return 1;
}
