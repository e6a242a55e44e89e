/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the BPF programs and user space: every map key, map value and .rodata
 * record, once, for clang -target bpf (C23) and C++20. Not for functions or policy.
 *
 * Rules of this directory: fixed-width integers only, padding explicit (keys are hashed by byte),
 * size asserted under each struct. Any layout change bumps SG_ABI_VERSION, which is part of the pin
 * path (/sys/fs/bpf/sgbpf/v<N>/): old maps are never reinterpreted.
 */
#pragma once

#include <linux/types.h>

#define SG_ABI_VERSION 3

#define SG_ABI_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type " changed its size: bump SG_ABI_VERSION")
#define SG_ABI_OFFSET(type, field, bytes)                                                                              \
    static_assert(__builtin_offsetof(type, field) == (bytes), #type "." #field " moved: bump SG_ABI_VERSION")

/* Direction as the workload sees it (never the hook's): in = towards the workload. */
enum sg_direction { SG_IN = 0, SG_OUT = 1, SG_DIRECTIONS = 2 };

/* Address family as an index; the wire's 4 and 6 never appear in maps. */
enum sg_family { SG_IPV4 = 0, SG_IPV6 = 1, SG_FAMILIES = 2 };
