/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: hints where a flow's record is (sgbpf/abi/flow.h). Nothing here decides anything: a wrong or
 * missing hint costs a look into sg_flow_index.
 *
 * Two places for a key, in one cache line: the one its hash names and that one's neighbour. Collisions that an
 * attacker aims for would only cost what there was before; the seed keeps them from being aimed.
 */
#pragma once

#include "bpf/maps.h"

/* Sum of products with odd constants (multiply-shift), the high bits folded in. Fast first: see above. */
SG_INLINE __u64 sg_flow_hash(const struct sg_flow_key* key) {
    const __u64* words = (const __u64*)key;
    __u64 hash = (words[0] + sg_config.hash_seed) * 0x9e3779b97f4a7c15ull;
    hash += words[1] * 0xc2b2ae3d27d4eb4full;
    hash += words[2] * 0x165667b19e3779f9ull;
    hash += words[3] * 0xd6e8feb86659fd93ull;
    hash += words[4] * 0xff51afd7ed558ccdull;
    hash ^= hash >> 32;
    return hash * 0xc4ceb9fe1a85ec53ull;
}

SG_INLINE __u32 sg_hint_place(__u64 hash) {
    return (__u32)(hash >> 20) & sg_config.hint_mask;
}

/* A slot whose record may be the key's, or 0. `place`: where it was found; the caller's, to use its stack again. */
SG_INLINE __u32 sg_hint_find(__u64 hash, __u32* place) {
    const __u32 tag = (__u32)(hash >> 32);
    *place = sg_hint_place(hash);
    const __u64* hint = bpf_map_lookup_elem(&sg_flow_hints, place);
    __u64 word = hint ? SG_READ(*hint) : 0;
    if (SG_HINT_TAG(word) != tag) {
        *place ^= 1;
        hint = bpf_map_lookup_elem(&sg_flow_hints, place);
        word = hint ? SG_READ(*hint) : 0;
    }
    return SG_HINT_TAG(word) == tag ? SG_HINT_SLOT(word) : 0;
}

/* The first place if it is free or the key's own, else the second, whoever is there. */
SG_INLINE void sg_hint_store(__u64 hash, __u32 slot, __u32* place) {
    if (sg_config.dry_run) {
        return;
    }
    const __u32 tag = (__u32)(hash >> 32);
    *place = sg_hint_place(hash);
    __u64* hint = bpf_map_lookup_elem(&sg_flow_hints, place);
    const __u64 there = hint ? SG_READ(*hint) : 0;
    if (there != 0 && SG_HINT_TAG(there) != tag) {
        *place ^= 1;
        hint = bpf_map_lookup_elem(&sg_flow_hints, place);
    }
    if (hint) {
        SG_WRITE(*hint, SG_HINT(tag, slot));
    }
}

/* The hint at `place` leads to another flow's record. */
SG_INLINE void sg_hint_forget(__u32 slot, const __u32* place) {
    __u64* hint = bpf_map_lookup_elem(&sg_flow_hints, place);
    if (hint && SG_HINT_SLOT(SG_READ(*hint)) == slot && !sg_config.dry_run) {
        SG_WRITE(*hint, 0);
    }
}
