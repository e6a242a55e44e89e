/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: undoing a commit that nobody confirmed. A bpf_timer in a pinned map: it needs no process of
 * ours. The commit has left every old value in place (no clean-up before confirmation), so that storing
 * the old generation is all there is to do; the next command of user space tidies up.
 */
#pragma once

#include "bpf/maps.h"

#define SG_CONFIRM_AGAIN_NS 1000000000ull

/*
 * Goes back to confirm_from, and again each second until user space has seen it: a flip that user space
 * was about to make when the time was over cannot stay.
 */
static int sg_confirm_tick(void* map, int* key, struct sg_confirm_timer* confirm) {
    (void)map;
    (void)key;
    struct sg_control* control = sg_control_record();
    if (!control) {
        return 0;
    }
    if (__sync_val_compare_and_swap(&control->confirm_state, SG_CONFIRM_ARMED, SG_CONFIRM_ROLLED_BACK) ==
        SG_CONFIRM_NONE) {
        return 0; /* confirmed */
    }
    __builtin_memcpy(control->digest, control->digest_before, sizeof(control->digest));
    SG_WRITE(control->generation, SG_READ(control->confirm_from));
    bpf_timer_start(&confirm->timer, SG_CONFIRM_AGAIN_NS, 0);
    return 0;
}

/* Starts the timer for sg_control.confirm_until, which user space has stored. 0 or a negative errno. */
SG_INLINE int sg_confirm_start(void) {
    const __u32 zero = 0;
    struct sg_confirm_timer* confirm = bpf_map_lookup_elem(&sg_confirm, &zero);
    const struct sg_control* control = sg_control_record();
    if (!confirm || !control) {
        return -1;
    }
    const __u64 now = bpf_ktime_get_boot_ns();
    const __u64 until = SG_READ(control->confirm_until);
    bpf_timer_init(&confirm->timer, &sg_confirm, 7 /* CLOCK_BOOTTIME */); /* EBUSY: exists already */
    long error = bpf_timer_set_callback(&confirm->timer, sg_confirm_tick);
    if (error == 0) {
        error = bpf_timer_start(&confirm->timer, until > now ? until - now : 0, 0);
    }
    return (int)error;
}

/* Stops the timer; a callback that runs is waited for. */
SG_INLINE int sg_confirm_stop(void) {
    const __u32 zero = 0;
    struct sg_confirm_timer* confirm = bpf_map_lookup_elem(&sg_confirm, &zero);
    if (!confirm) {
        return -1;
    }
    const long stopped = bpf_timer_cancel(&confirm->timer); /* 0, 1, or EINVAL: never initialised */
    return stopped < 0 && stopped != -22 ? (int)stopped : 0;
}
