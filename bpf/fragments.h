/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: contexts of fragmented datagrams (SG-5.54..5.61, RFC 8200 4.5). A first fragment that passes leaves one; later
 * fragments pass with it. It is a record of the flow table, of a state and a tier of its own: the same index,
 * budgets and sweeper. It is never refreshed, so that it ends by its age.
 *
 * The ranges change under a lock, a flag of the word: nobody ends or rewrites the record meanwhile. Who holds it cannot
 * be preempted by another packet, and needs some 100 ns.
 */
#pragma once

#include "bpf/flow_table.h"
#include "bpf/fragment_ranges.h"

#define SG_LOCK_TRIES 32

/* The key of the datagram that a fragment is of; IPv6 datagrams have no protocol until they are whole. */
SG_INLINE void sg_fragment_key(struct sg_flow_key* key, const struct sg_packet* packet, __u32 direction) {
    *key = packet->key;
    if (packet->key.family == SG_IPV6) {
        key->protocol = 0;
    }
    key->local_port = (__u16)packet->fragment_id;
    key->remote_port = (__u16)(packet->fragment_id >> 16);
    key->family |= SG_FAMILY_FRAGMENT(direction);
}

/* Notes the fragment in the context. Returns SG_REASON_FRAGMENT, or why it may not pass. */
SG_GLOBAL int sg_fragment_note(const struct sg_packet* packet, __u32 slot, __u64 word) {
    struct sg_flow* flow = sg_flow_at(slot);
    if (!packet || !flow) {
        return SG_REASON_INTERNAL;
    }
    const __u64 open = word & ~((__u64)SG_FLOW_LOCKED << 24);
    int mine = sg_config.dry_run;
    for (int i = 0; i < SG_LOCK_TRIES && !mine; i++) {
        mine = sg_word_change(flow, open, open | (__u64)SG_FLOW_LOCKED << 24);
    }
    if (!mine) {
        return SG_REASON_FLOW_BUSY;
    }
    struct sg_fragment_ranges* seen = (struct sg_fragment_ranges*)flow->packets;
    const __u32 first = packet->fragment_first;
    const enum sg_fragment_fit fit = sg_fragment_add(seen, first, first + packet->fragment_bytes,
                                                     (packet->flags & SG_PACKET_FRAGMENT_MORE) != 0, sg_config.dry_run);
    if (!sg_config.dry_run) {
        if (fit == SG_FRAGMENT_OVERLAPS) {
            seen->spoilt = 1;
        }
        SG_WRITE(flow->word, open);
        if (fit == SG_FRAGMENT_COMPLETES) {
            sg_flow_reap(slot, open);
        }
    }
    return fit == SG_FRAGMENT_OVERLAPS    ? SG_REASON_FRAGMENT_OVERLAP
           : fit == SG_FRAGMENT_SCATTERED ? SG_REASON_FRAGMENT_LIMIT
                                          : SG_REASON_FRAGMENT;
}

/*
 * A first fragment is about to pass by `outcome`: remember that. *packet becomes the context's; nobody asks it
 * afterwards. Returns SG_REASON_FRAGMENT when the rest can follow, or why the datagram may not pass.
 */
SG_GLOBAL int sg_fragment_first(struct sg_packet* packet, __u32 direction, const struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(packet->key.interface_slot, outcome->generation);
    if (!config) {
        return SG_REASON_INTERNAL;
    }
    struct sg_opening opening = {.now = sg_now(),
                                 .generation = outcome->generation,
                                 .direction = direction,
                                 .epoch = config->epoch,
                                 .rule = outcome->rule,
                                 .fragment = 1};
    struct sg_flow_key key;
    sg_fragment_key(&key, packet, direction);
    packet->key = key;
    packet->tcp_flags = 0;
    const int reason = sg_flow_open(packet, &opening);
    if (sg_config.dry_run && reason == SG_REASON_RULE && opening.slot == 0) {
        return SG_REASON_FRAGMENT; /* would be remembered */
    }
    struct sg_flow* flow = reason == SG_REASON_RULE ? sg_flow_at(opening.slot) : 0;
    if (!flow) {
        return reason == SG_REASON_RULE || reason == SG_REASON_FLOW_BUSY ? SG_REASON_FLOW_BUSY
                                                                         : SG_REASON_FRAGMENT_LIMIT;
    }
    return sg_fragment_note(packet, opening.slot, SG_READ(flow->word));
}

/* A later fragment: SG_REASON_FRAGMENT or a drop reason when there is a context, else SG_REASON_NONE (SG-13.20). */
SG_GLOBAL int sg_judge_fragment(const struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                                struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(interface_slot, outcome->generation);
    struct sg_flow_key key;
    sg_fragment_key(&key, packet, direction);
    __u64 word = 0;
    __u32 slot = 0;
    struct sg_flow* flow = config ? sg_flow_find(&key, config, sg_now(), &word, &slot) : 0;
    if (!flow || flow->epoch != config->epoch) {
        return SG_REASON_NONE;
    }
    outcome->rule = flow->rule;
    const int reason = sg_fragment_note(packet, slot, word);
    if (reason == SG_REASON_FRAGMENT) {
        sg_count_rule(outcome->rule, packet->length);
    } else {
        outcome->rule = 0;
    }
    return reason;
}
