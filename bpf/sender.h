/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: whose addresses are these? The interface's own (addresses, allowed_addresses, MAC) and the peers that
 * it always tracks. Not for what follows from it.
 */
#pragma once

#include "bpf/maps.h"
#include "bpf/parse.h"

/* The value that a scope of sg_locals4/6 has for an address at this generation; 0 = none. */
SG_INLINE __u32 sg_scoped_value(__u32 scope, __u32 family, const __u8* address, __u64 generation) {
    const struct sg_versioned* found = 0;
    if (family == SG_IPV4) {
        struct sg_prefix4 key = {.prefix_bits = SG_SCOPE_BITS + 32, .scope = scope};
        __builtin_memcpy(key.address, address, 4);
        found = bpf_map_lookup_elem(&sg_locals4, &key);
    } else {
        struct sg_prefix6 key = {.prefix_bits = SG_SCOPE_BITS + 128, .scope = scope};
        __builtin_memcpy(key.address, address, 16);
        found = bpf_map_lookup_elem(&sg_locals6, &key);
    }
    return found ? sg_value_at(found, generation) : 0;
}

/* 1 when `address` is one of the interface (addresses or allowed_addresses) at this generation. */
SG_INLINE int sg_is_local(__u32 slot, __u32 family, const __u8* address, __u64 generation) {
    return sg_scoped_value(slot, family, address, generation) != 0;
}

/* 1 when flows with this peer are never untracked (always_track_peers, SG-5.19). */
SG_INLINE int sg_is_tracked_peer(const struct sg_interface_config* config, __u32 slot, __u32 family,
                                 const __u8* address, __u64 generation) {
    return (config->flags & SG_IF_TRACK_PEERS) != 0 &&
           sg_scoped_value(SG_SCOPE_ALWAYS_TRACK(slot), family, address, generation) != 0;
}

SG_INLINE int sg_same_mac(const __u8* a, const __u8* b) {
    return *(const __u32*)a == *(const __u32*)b && *(const __u16*)(a + 4) == *(const __u16*)(b + 4);
}

/*
 * 1 when a frame that the interface sends has not its MAC as source (SG-6.6), whatever it carries, and with
 * the source/dest check off as well. `mac` = the six bytes in the frame; for a pointer into the packet, the
 * caller has checked that they are there.
 */
SG_INLINE int sg_source_mac_wrong(const struct sg_interface_config* config, __u32 direction, const __u8* mac) {
    return direction == SG_OUT && (config->flags & SG_IF_MAC) != 0 && !sg_same_mac(mac, config->mac);
}
