/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: how much unfiltered traffic an interface may have (SG-6.9, 5.49). A token bucket per enum sg_bucket,
 * one word {tokens:32, ticks:32} (low, high) changed by compare-and-exchange. Tokens are counted in
 * 1/ticks_per_second of a packet, so that no refill is rounded away. A bucket holds one second's worth.
 */
#pragma once

#include "bpf/maps.h"

#define SG_BUCKET_TOKENS(word) ((__u32)(word))
#define SG_BUCKET_TICKS(word) ((__u32)((word) >> 32))

/* The word after one packet at `now`, or 0: no token left. 0 as `word`: never used, full. */
SG_INLINE __u64 sg_bucket_take(__u64 word, __u32 now, __u32 rate, __u32 ticks_per_second) {
    const __u64 full = (__u64)rate * ticks_per_second;
    __u32 elapsed = now - SG_BUCKET_TICKS(word);
    if ((__s32)elapsed < 0 && elapsed > -ticks_per_second) { /* another CPU's clock is a tick ahead */
        elapsed = 0;
        now = SG_BUCKET_TICKS(word);
    }
    __u64 tokens = full;
    if (word != 0 && elapsed < ticks_per_second) {
        tokens = SG_BUCKET_TOKENS(word) + (__u64)elapsed * rate;
        tokens = tokens < full ? tokens : full;
    }
    if (tokens < ticks_per_second) {
        return 0;
    }
    tokens -= ticks_per_second;
    /* Never 0, which would mean full: one part of a token more at most once in 2^32 ticks. */
    return ((__u64)now << 32) | (tokens | (now == 0 && tokens == 0));
}

/* How often a packet tries again when another CPU took a token at the same instant. */
#define SG_BUCKET_TRIES 4

/*
 * 1 when the packet is within the rate. Each try that is lost means that another packet got a token, so passing
 * after the last one exceeds the rate by a fifth at most. Dry runs take nothing. Rate 0 = no limit.
 */
SG_INLINE int sg_within_rate(__u32 slot, __u32 bucket, __u32 rate) {
    struct sg_account* account = rate != 0 ? bpf_map_lookup_elem(&sg_accounts, &slot) : 0;
    if (!account) {
        return 1;
    }
    __u64* word = &account->bucket[bucket < SG_BUCKETS ? bucket : 0];
    const __u32 now = (__u32)sg_now();
    __u64 seen = SG_READ(*word);
    for (int i = 0; i < SG_BUCKET_TRIES; i++) {
        const __u64 next = sg_bucket_take(seen, now, rate, sg_config.ticks_per_second);
        if (next == 0) {
            return 0;
        }
        if (sg_config.dry_run) {
            return 1;
        }
        const __u64 found = __sync_val_compare_and_swap(word, seen, next);
        if (found == seen) {
            return 1;
        }
        seen = found;
    }
    return 1;
}
