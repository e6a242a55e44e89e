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

/* Adds one, unless that passes the limit. Looks before it adds: a counter at its limit is only read. */
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

SG_INLINE int sg_take_tier(struct sg_account* account, const struct sg_interface_config* config, __u32 tier) {
    switch (tier) {
        case SG_TIER_OPENING:
            return sg_take_one(&account->opening, sg_limit(config->max_opening));
        case SG_TIER_FRAGMENT:
            return sg_take_one(&account->fragments, SG_MAX_FRAGMENTS);
        default:
            return 1;
    }
}

SG_INLINE void sg_leave_tier(struct sg_account* account, __u32 tier) {
    if (tier == SG_TIER_OPENING) {
        SG_ADD(account->opening, -1);
    } else if (tier == SG_TIER_FRAGMENT) {
        SG_ADD(account->fragments, -1);
    }
}

/*
 * Room for one more flow in `tier`: the budget it is charged to, or minus the reason why there is none. The caller
 * says sg_charged() when the record is there, or sg_discharge() when there will be none.
 */
SG_GLOBAL int sg_charge(__u32 interface_slot, __u32 tier, __u64 generation) {
    struct sg_account* account = sg_account_at(interface_slot);
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    struct sg_account* pool = sg_account_at(0);
    if (!account || !config || !pool) {
        return -SG_REASON_INTERNAL;
    }
    enum sg_reason reason = SG_REASON_OPENING_LIMIT;
    SG_ADD(account->begun, 1);
    if (sg_take_tier(account, config, tier)) {
        reason = SG_REASON_NO_CAPACITY;
        if (sg_take_one(&account->flows, sg_limit(config->max_flows))) {
            if (sg_take_one(&account->reserved, config->reserved)) {
                return SG_BUDGET_RESERVED;
            }
            SG_ADD(pool->begun, 1);
            if (sg_take_one(&pool->flows, sg_limit(SG_READ(pool->limit)))) {
                return SG_BUDGET_POOL;
            }
            SG_ADD(pool->done, 1);
            SG_ADD(account->flows, -1);
        }
        sg_leave_tier(account, tier);
    }
    SG_ADD(account->done, 1);
    return -(int)reason;
}

/* What sg_charge would say, for dry runs. */
SG_INLINE enum sg_reason sg_would_charge(const struct sg_account* account, const struct sg_interface_config* config,
                                         __u32 tier) {
    const struct sg_account* pool = sg_account_at(0);
    if (tier == SG_TIER_OPENING && SG_READ(account->opening) >= sg_limit(config->max_opening)) {
        return SG_REASON_OPENING_LIMIT;
    }
    const int fragments = tier == SG_TIER_FRAGMENT && SG_READ(account->fragments) >= SG_MAX_FRAGMENTS;
    const int shared = SG_READ(account->reserved) >= config->reserved && pool &&
                       SG_READ(pool->flows) >= sg_limit(SG_READ(pool->limit));
    return fragments || shared || SG_READ(account->flows) >= sg_limit(config->max_flows) ? SG_REASON_NO_CAPACITY
                                                                                         : SG_REASON_RULE;
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
SG_GLOBAL int sg_discharge(__u32 interface_slot, __u32 tier, __u32 budget) {
    struct sg_account* account = sg_account_at(interface_slot);
    if (!account) {
        return 0;
    }
    sg_leave_tier(account, tier);
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
    return 0;
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
