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

/* Map sg_control, one element: what the whole host shares. */
struct sg_control {
    __u64 generation;  /* the only word a commit flips; 0 = nothing ever committed */
    __u64 pending;     /* generation being written, 0 = none; non-zero after a crash: repair first */
    __u8 digest[32];   /* of the image in force: tells whether a cached copy is current */
    __u32 abi_version; /* SG_ABI_VERSION */
    __u32 ticks_per_second;
    __u64 pad;
};
SG_ABI_SIZE(struct sg_control, 64);
