/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A value that changes with the host-wide generation (ARCHITECTURE.md, "Commit").
 *
 *   offset size
 *        0    8  values: low 32 bits = old, high 32 bits = new
 *        8    8  since: the generation from which `new` holds; 0 = settled (old == new)
 *
 * A reader loads the generation once per packet, then `values`, then `since`, and takes
 * `generation >= since ? new : old`. A writer (user space only, one at a time) starts from a settled
 * value {b,b}: it stores since = G+1, then values = {b,X}; settling stores values = {X,X}, then
 * since = 0. Both orders are safe for a reader at G and at G+1 on any CPU that keeps stores in
 * order for one writer (x86-64; elsewhere the writer uses release stores).
 */
#pragma once

#include <sgbpf/abi/abi.h>

struct sg_versioned {
    __u64 values;
    __u64 since;
};
SG_ABI_SIZE(struct sg_versioned, 16);

enum sg_confirm_state {
    SG_CONFIRM_NONE = 0,
    SG_CONFIRM_ARMED = 1,       /* the commit in force is undone at confirm_until */
    SG_CONFIRM_ROLLED_BACK = 2, /* it was; user space has not cleaned up after it yet */
};

/*
 * Map sg_control, one element: what the whole host shares.
 *
 *   offset size
 *        0    8  generation: the only word a commit flips; 0 = nothing ever committed
 *        8    8  pending: generation being written, 0 = none. Set without confirm_state: a commit was
 *                interrupted, repair first
 *       16    8  monitor: SG_MONITOR_* (event.h); 0 = nobody listens
 *       24    4  abi_version
 *       28    4  ticks_per_second
 *       32   32  digest: of the image in force; tells whether a cached copy is current
 *       64    8  confirm_state: enum sg_confirm_state, changed by compare-and-exchange
 *       72    8  confirm_from: generation to go back to
 *       80    8  confirm_until: CLOCK_BOOTTIME, nanoseconds
 *       88    8  hash_seed: random, of sg_flow_hints; the same for every program on these maps
 *       96   32  digest_before: of the image of confirm_from
 */
struct sg_control {
    __u64 generation;
    __u64 pending;
    __u64 monitor;
    __u32 abi_version; /* SG_ABI_VERSION */
    __u32 ticks_per_second;
    __u8 digest[32];
    __u64 confirm_state;
    __u64 confirm_from;
    __u64 confirm_until;
    __u64 hash_seed;
    __u8 digest_before[32];
};
SG_ABI_SIZE(struct sg_control, 128);
SG_ABI_OFFSET(struct sg_control, monitor, 16);
SG_ABI_OFFSET(struct sg_control, digest, 32);
SG_ABI_OFFSET(struct sg_control, confirm_state, 64);
