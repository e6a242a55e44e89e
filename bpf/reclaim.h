/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bound: room for a new flow when there is none, without touching what is alive (SG-5.50). */
#pragma once

#include "bpf/flow_table.h"

/* Records that an opening without room looks at. */
#define SG_RECLAIM_RECORDS 8

/*
 * opening_recycle, a named deviation from SG-5.50, off by default: unanswered for so long, while the interface has no
 * room for another unanswered flow.
 */
SG_INLINE int sg_is_recyclable(const struct sg_flow* flow, __u64 word, const struct sg_interface_config* config,
                               __u32 now) {
    const struct sg_account* account = sg_account_at(flow->key.interface_slot);
    return config->opening_recycle != 0 && SG_WORD_TIER(word) == SG_TIER_OPENING && account &&
           (SG_READ(account->opening) >= sg_limit(config->max_opening) ||
            SG_READ(account->flows) >= sg_limit(config->max_flows)) &&
           sg_flow_expired(now, SG_READ(flow->last_seen), config->opening_recycle, sg_config.ticks_per_second);
}

SG_INLINE void sg_count_recycled(__u32 interface_slot) {
    struct sg_account* account = sg_account_at(interface_slot);
    if (account) {
        SG_ADD(account->recycled, 1);
    }
}

struct sg_reclaim_pass {
    __u32 first_slot;
    __u32 interface_slot;
    __u64 now;
    __u32 reclaimed;
    __u32 opening; /* the interface needs room among its unanswered flows */
};

static long sg_reclaim_one(__u32 index, struct sg_reclaim_pass* pass) {
    const __u32 slot = (pass->first_slot + index) % sg_config.flow_slots;
    const struct sg_flow* flow = sg_flow_at(slot);
    if (!flow) {
        return 0;
    }
    const __u64 word = SG_READ(flow->word);
    if (!sg_flow_is_live(SG_WORD_STATE(word))) {
        return 0;
    }
    const __u32 owner = flow->key.interface_slot;
    const struct sg_interface_config* config = sg_interface_at(owner, sg_generation());
    if (!config) {
        return 0;
    }
    const __u32 last_seen = SG_READ(flow->last_seen);
    const int expired = sg_flow_expired((__u32)pass->now, last_seen, sg_flow_seconds(SG_WORD_STATE(word), config) + 1,
                                        sg_config.ticks_per_second);
    const int recycled =
        !expired && owner == pass->interface_slot && sg_is_recyclable(flow, word, config, (__u32)pass->now);
    const int helps =
        owner == pass->interface_slot ? !pass->opening || SG_WORD_TIER(word) == SG_TIER_OPENING : !pass->opening;
    if ((expired || recycled) && (sg_config.dry_run || sg_flow_reap(slot, word))) {
        pass->reclaimed += (__u32)helps;
        if (recycled && !sg_config.dry_run) {
            sg_count_recycled(owner);
        }
    }
    return 0;
}

/*
 * An opening found no room: look at a few records, from where the last one stopped, for expired ones, and with
 * opening_recycle (a named deviation from SG-5.50, off by default) for the interface's own that nobody answered for so
 * long. Returns how many made room (`opening`: among those). The sweeper finds the rest.
 */
SG_GLOBAL int sg_reclaim(__u32 interface_slot, __u64 now, __u32 opening) {
    struct sg_account* pool = sg_account_at(0);
    const struct sg_interface_config* config = sg_interface_at(interface_slot, sg_generation());
    if (!pool || !config) {
        return 0;
    }
    struct sg_reclaim_pass pass = {
        .first_slot = sg_config.dry_run ? SG_READ(pool->cursor) : SG_ADD(pool->cursor, SG_RECLAIM_RECORDS),
        .interface_slot = interface_slot,
        .now = now,
        .opening = opening,
    };
    bpf_loop(SG_RECLAIM_RECORDS, sg_reclaim_one, &pass, 0);
    return (int)pass.reclaimed;
}
