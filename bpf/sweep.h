/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: freeing flows. The sweeper is a bpf_timer in a pinned map: it needs no process of ours. The
 * flush of an operator runs the same reaper through BPF_PROG_TEST_RUN.
 */
#pragma once

#include "bpf/flow_table.h"
#include "bpf/reclaim.h"
#include "bpf/recount.h"

struct sg_sweep_pass {
    __u32 first_slot;
    __u32 pad;
    __u64 now;
    __u64 generation;
};

static long sg_sweep_one(__u32 index, struct sg_sweep_pass* pass) {
    const __u32 slot = pass->first_slot + index;
    struct sg_flow* flow = sg_flow_at(slot);
    if (!flow) {
        return 1;
    }
    const __u64 word = SG_READ(flow->word);
    if (!sg_flow_is_live(SG_WORD_STATE(word))) {
        return 0;
    }
    const struct sg_interface_config* config = sg_interface_at(flow->key.interface_slot, pass->generation);
    if (!config) {
        return 0;
    }
    /*
     * One second later than the lookup's own judgement: a CPU that found the flow alive has stored
     * last_seen long before, so no refresh that just happened can be undone.
     */
    if (!sg_flow_expired((__u32)pass->now, SG_READ(flow->last_seen), sg_flow_seconds(SG_WORD_STATE(word), config) + 1,
                         sg_config.ticks_per_second) ||
        !sg_flow_reap(slot, word)) {
        if (sg_is_recyclable(flow, word, config, (__u32)pass->now) && sg_flow_reap(slot, word)) {
            sg_count_recycled(flow->key.interface_slot);
            return 0;
        }
        sg_recount_one(flow->key.interface_slot, word);
    }
    return 0;
}

/* One tick: SG_SWEEP_RECORDS records from the cursor on, not across the end: a recount is of one pass. */
SG_INLINE void sg_sweep_slice(struct sg_sweeper* sweeper) {
    const __u32 slots = sg_config.flow_slots;
    struct sg_sweep_pass pass = {.first_slot = sweeper->next_slot, .now = sg_now(), .generation = sg_generation()};
    if (pass.first_slot >= slots) {
        pass.first_slot = 0;
    }
    const __u32 left = slots - pass.first_slot;
    const __u32 count = left < SG_SWEEP_RECORDS ? left : SG_SWEEP_RECORDS;
    bpf_loop(count, sg_sweep_one, &pass, 0);
    sweeper->next_slot = pass.first_slot + count;
    if (count == left) {
        sweeper->next_slot = 0;
        sweeper->passes++;
        bpf_loop(SG_MAX_INTERFACES, sg_recount_end, 0, 0);
    }
}

static int sg_sweep_tick(void* map, int* key, struct sg_sweeper* sweeper) {
    (void)map;
    (void)key;
    sg_sweep_slice(sweeper);
    bpf_timer_start(&sweeper->timer, (__u64)SG_SWEEP_MS * 1000000, 0);
    return 0;
}
