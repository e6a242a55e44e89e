/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Pure: reading a versioned value at a generation (sgbpf/abi/version.h says who writes how). */
#pragma once

#include <sgbpf/abi/version.h>

#include "bpf/compiler.h"

/* `values` is loaded before `since`: see the writer's order in sgbpf/abi/version.h. */
SG_INLINE __u32 sg_value_at(const struct sg_versioned* versioned, __u64 generation) {
    const __u64 values = SG_READ(versioned->values);
#ifdef __bpf__
    asm volatile("" ::: "memory");
#endif
    const __u64 since = SG_READ(versioned->since);
    return generation >= since ? (__u32)(values >> 32) : (__u32)values;
}
