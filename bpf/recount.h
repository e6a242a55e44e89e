/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: the sweeper counts the records of each interface as it passes them, and compares at the end of its pass. It
 * can only believe its count of an interface where nothing was opened or ended meanwhile: what had begun by the
 * end was done before the start.
 */
#pragma once

#include "bpf/accounts.h"

/* The sweeper saw a live record. */
SG_INLINE void sg_recount_one(__u32 slot, __u64 word) {
    struct sg_account* account = sg_account_at(slot);
    if (!account) {
        return;
    }
    account->seen_flows++;
    account->seen_opening += SG_WORD_TIER(word) == SG_TIER_OPENING;
    account->seen_fragments += SG_WORD_TIER(word) == SG_TIER_FRAGMENT;
    if (SG_WORD_BUDGET(word) == SG_BUDGET_RESERVED) {
        account->seen_reserved++;
    } else if (SG_WORD_BUDGET(word) == SG_BUDGET_POOL) {
        struct sg_account* pool = sg_account_at(0);
        if (pool) {
            pool->seen_flows++;
        }
    }
}

/* Added, not stored: what was opened or ended since the counter was read stays counted. */
SG_INLINE int sg_correct(__u32* counter, __u32 was, __u32 seen) {
    if (was != seen) {
        SG_ADD(*counter, seen - was);
    }
    return was != seen;
}

/* A pass over the table ended: compare, and begin anew. Callback of bpf_loop. */
static long sg_recount_end(__u32 slot, void* unused) {
    (void)unused;
    struct sg_account* account = sg_account_at(slot);
    if (!account) {
        return 1;
    }
    const __u64 done = SG_READ(account->done);
    /* The counters are read before `begun` is: what changed them until then has raised it. */
    const __u32 flows = SG_READ(account->flows);
    const __u32 opening = SG_READ(account->opening);
    const __u32 reserved = SG_READ(account->reserved);
    const __u32 fragments = SG_READ(account->fragments);
    const int quiet = account->quiet == done && SG_READ(account->begun) == done;
    /* More than there are records: a count below zero would refuse every flow until a pass is quiet. */
    const int impossible = flows > sg_config.flow_slots || opening > sg_config.flow_slots ||
                           reserved > sg_config.flow_slots || fragments > sg_config.flow_slots;
    if (quiet || impossible) {
        int wrong = sg_correct(&account->flows, flows, account->seen_flows);
        wrong |= sg_correct(&account->opening, opening, account->seen_opening);
        wrong |= sg_correct(&account->reserved, reserved, account->seen_reserved);
        wrong |= sg_correct(&account->fragments, fragments, account->seen_fragments);
        account->corrected += wrong != 0;
    }
    account->seen_flows = 0;
    account->seen_opening = 0;
    account->seen_fragments = 0;
    account->seen_reserved = 0;
    account->quiet = done;
    return 0;
}
