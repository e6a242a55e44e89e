/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: what the flows of an interface use of the table (struct sg_account), so that nobody takes another's
 * share. A new flow is charged to the interface's reserve first, then to the pool of all; no counter ever
 * passes its limit for longer than it takes to undo one addition. Nothing live is evicted to make room (SG-5.50).
 * `begun` is raised before the first counter or record changes, `done` after the last: see bpf/recount.h.
 */
#pragma once

#include "bpf/maps.h"

SG_INLINE struct sg_account* sg_account_at(__u32 slot) {
    return bpf_map_lookup_elem(&sg_accounts, &slot);
}

#define SG_ADD(counter, amount) __sync_fetch_and_add(&(counter), amount)

/* Adds one, unless that passes the limit. Looks before it adds: a flood of refused openings writes nothing. */
SG_INLINE int sg_take_one(__u32* counter, __u32 limit) {
    if (SG_READ(*counter) >= limit) {
        return 0;
    }
    if (SG_ADD(*counter, 1) < limit) {
        return 1;
    }
    SG_ADD(*counter, -1);
    return 0;
}

SG_INLINE __u32 sg_limit(__u32 configured) {
    return configured != 0 ? configured : 0xffffffff;
}

/*
 * Room for one more flow in `tier`: SG_REASON_RULE and *budget, or why there is none. The caller says
 * sg_charged() when the record is there, or sg_discharge() when there will be none.
 */
SG_INLINE enum sg_reason sg_charge(struct sg_account* account, const struct sg_interface_config* config, __u8 tier,
                                   __u8* budget) {
    struct sg_account* pool = sg_account_at(0);
    if (!pool) {
        return SG_REASON_INTERNAL;
    }
    enum sg_reason reason = SG_REASON_OPENING_LIMIT;
    SG_ADD(account->begun, 1);
    if (tier != SG_TIER_OPENING || sg_take_one(&account->opening, sg_limit(config->max_opening))) {
        reason = SG_REASON_NO_CAPACITY;
        if (sg_take_one(&account->flows, sg_limit(config->max_flows))) {
            if (sg_take_one(&account->reserved, config->reserved)) {
                *budget = SG_BUDGET_RESERVED;
                return SG_REASON_RULE;
            }
            SG_ADD(pool->begun, 1);
            if (sg_take_one(&pool->flows, sg_limit(SG_READ(pool->limit)))) {
                *budget = SG_BUDGET_POOL;
                return SG_REASON_RULE;
            }
            SG_ADD(pool->done, 1);
            SG_ADD(account->flows, -1);
        }
        if (tier == SG_TIER_OPENING) {
            SG_ADD(account->opening, -1);
        }
    }
    SG_ADD(account->done, 1);
    return reason;
}

SG_INLINE void sg_charged(struct sg_account* account, __u8 budget) {
    if (budget == SG_BUDGET_POOL) {
        struct sg_account* pool = sg_account_at(0);
        if (pool) {
            SG_ADD(pool->done, 1);
        }
    }
    SG_ADD(account->done, 1);
}

/* Gives back what sg_charge took, and closes what it began. */
SG_INLINE void sg_discharge(struct sg_account* account, __u8 tier, __u8 budget) {
    if (tier == SG_TIER_OPENING) {
        SG_ADD(account->opening, -1);
    }
    SG_ADD(account->flows, -1);
    if (budget == SG_BUDGET_RESERVED) {
        SG_ADD(account->reserved, -1);
    } else if (budget == SG_BUDGET_POOL) {
        struct sg_account* pool = sg_account_at(0);
        if (pool) {
            SG_ADD(pool->flows, -1);
            SG_ADD(pool->done, 1);
        }
    }
    SG_ADD(account->done, 1);
}

/* A flow is about to end: before its record changes. sg_discharge() follows, or sg_charged() if it does not end. */
SG_INLINE void sg_end_begins(struct sg_account* account, __u8 budget) {
    SG_ADD(account->begun, 1);
    if (budget == SG_BUDGET_POOL) {
        struct sg_account* pool = sg_account_at(0);
        if (pool) {
            SG_ADD(pool->begun, 1);
        }
    }
}
