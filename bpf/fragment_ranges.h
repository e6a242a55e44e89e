/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pure: which bytes of a datagram have passed. A fragment that overlaps any that passed spoils the datagram (RFC 5722
 * for IPv6, and the same for IPv4); fragments in any order fit as long as the holes between them can be remembered.
 *
 * Without branches: in a loop over the ranges each branch would double the paths that the verifier walks; and not
 * unrolled, which would keep all of them on the stack.
 */
#pragma once

#include <sgbpf/abi/flow.h>

#include "bpf/compiler.h"

enum sg_fragment_fit { SG_FRAGMENT_FITS = 0, SG_FRAGMENT_COMPLETES, SG_FRAGMENT_OVERLAPS, SG_FRAGMENT_SCATTERED };

/* 1 or 0. Both arguments below 2^31. */
SG_INLINE __u32 sg_is_less(__u32 a, __u32 b) {
    __u64 difference = (__u64)a - b;
    SG_HIDE(difference);
    return (__u32)(difference >> 63);
}
SG_INLINE __u32 sg_is_equal(__u32 a, __u32 b) {
    __u64 difference = (__u64)(a ^ b) - 1;
    SG_HIDE(difference);
    return (__u32)(difference >> 63);
}

/*
 * A fragment of bytes [first, last) of which more follow or not; last > first, both at most 65535. It is noted in
 * *seen unless `only_ask`.
 */
SG_INLINE enum sg_fragment_fit sg_fragment_add(struct sg_fragment_ranges* seen, __u32 first, __u32 last, __u32 more,
                                               int only_ask) {
    __u32 overlaps = 0;
    __u32 before = 0; /* bit i: range i ends where the fragment begins; at most one does */
    __u32 after = 0;  /* range i begins where it ends */
    __u32 unused = 0;
    __u32 low = first;
    __u32 high = last;
    SG_KEEP_LOOP
    for (__u32 i = 0; i < SG_FRAGMENT_RANGES; i++) {
        const __u32 from = seen->range[i].first;
        const __u32 to = seen->range[i].last;
        const __u32 empty = sg_is_equal(to, 0);
        const __u32 joins = sg_is_equal(to, first) & ~empty & 1;
        const __u32 joined = sg_is_equal(from, last);
        overlaps |= (sg_is_less(first, to) & sg_is_less(from, last)) | (sg_is_less(last, to) & ~more & 1);
        unused |= empty << i;
        before |= joins << i;
        after |= joined << i;
        low -= joins * (first - from);
        high += joined * (to - last);
    }
    if (seen->spoilt || overlaps || (seen->total != 0 && (last > seen->total || (!more && last != seen->total)))) {
        return SG_FRAGMENT_OVERLAPS;
    }
    if ((before | after | unused) == 0) {
        return SG_FRAGMENT_SCATTERED;
    }
    if (only_ask) {
        return SG_FRAGMENT_FITS;
    }
    if (!more) {
        seen->total = (__u16)last;
    }
    const __u32 chosen = before != 0 ? before : after != 0 ? after : unused & -unused;
    const __u32 merged = after & ~chosen;
    SG_KEEP_LOOP
    for (__u32 i = 0; i < SG_FRAGMENT_RANGES; i++) {
        const __u32 set = (chosen >> i) & 1;
        const __u32 keep = 1 - set - ((merged >> i) & 1);
        seen->range[i].first = (__u16)(seen->range[i].first * keep + low * set);
        seen->range[i].last = (__u16)(seen->range[i].last * keep + high * set);
    }
    return low == 0 && high == seen->total ? SG_FRAGMENT_COMPLETES : SG_FRAGMENT_FITS;
}
