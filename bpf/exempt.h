/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Traffic that groups never filter (section 6 of the specification), by default ARP, neighbour discovery
 * and DHCP, with its own checks of who sends it. Accepted in both directions with no rules at all,
 * makes no state. Anything that is not clearly one of these falls through to the rules.
 *
 *   ARP (0x0806)           requests and replies; out: the sender's MAC and address are the interface's
 *                          (SG-6.6), a probe (RFC 5227) asks for an address of its own
 *   ICMPv6 133-136         hop limit 255; out: no router advertisement, sender and target are the
 *                          interface's (RFC 4861 7.1, 6.1), duplicate address detection is for its own
 *   ICMPv6 130-132, 143    multicast listener discovery: hop limit 1 (RFC 2710 3, RFC 3810 5; SG-6.7)
 *   DHCPv4                 out: 68 -> 67 to the broadcast address; in: 67 -> 68
 *   DHCPv6                 out: 546 -> 547 to ff02::1:2; in: 547 -> 546 to a link-local or own address
 */
#pragma once

#include "bpf/maps.h"
#include "bpf/parse.h"

/* 1 when `address` is one of the interface (addresses or allowed_addresses) at this generation. */
SG_INLINE int sg_is_local(__u32 slot, __u32 family, const __u8* address, __u64 generation) {
    const struct sg_versioned* found = 0;
    if (family == SG_IPV4) {
        struct sg_prefix4 key = {.prefix_bits = SG_SCOPE_BITS + 32, .scope = slot};
        __builtin_memcpy(key.address, address, 4);
        found = bpf_map_lookup_elem(&sg_locals4, &key);
    } else {
        struct sg_prefix6 key = {.prefix_bits = SG_SCOPE_BITS + 128, .scope = slot};
        __builtin_memcpy(key.address, address, 16);
        found = bpf_map_lookup_elem(&sg_locals6, &key);
    }
    return found && sg_value_at(found, generation) != 0;
}

/* The interface as the exempt checks need it. `config` NULL = no rule set: nothing to compare with. */
struct sg_side {
    const struct sg_interface_config* config;
    __u32 slot;
    __u32 direction;
    __u64 generation;
};

SG_INLINE int sg_owns(const struct sg_side* side, __u32 family, const __u8* address) {
    if (!side->config || !(side->config->flags & SG_IF_SOURCE_CHECK)) {
        return 1;
    }
    return sg_is_local(side->slot, family, address, side->generation);
}

SG_INLINE int sg_owns_mac(const struct sg_side* side, const __u8* mac) {
    if (!side->config || !(side->config->flags & SG_IF_MAC)) {
        return 1;
    }
    __u8 different = 0;
    for (int i = 0; i < 6; i++) {
        different |= mac[i] ^ side->config->mac[i];
    }
    return different == 0;
}

/*
 * A link-local address of the interface: with a known MAC the one made of it (RFC 4291 appendix A), as in
 * EC2, or one that the interface lists; without a MAC any, there is nothing to compare with.
 */
SG_INLINE int sg_owns_link_local(const struct sg_side* side, const __u8* address) {
    if (!sg_is_link_local(address)) {
        return 0;
    }
    if (!side->config || (side->config->flags & (SG_IF_MAC | SG_IF_SOURCE_CHECK)) != (SG_IF_MAC | SG_IF_SOURCE_CHECK)) {
        return 1;
    }
    const __u8* mac = side->config->mac;
    const __u8 different =
        (__u8)((address[8] ^ mac[0] ^ 0x02) | (address[9] ^ mac[1]) | (address[10] ^ mac[2]) | (address[11] ^ 0xff) |
               (address[12] ^ 0xfe) | (address[13] ^ mac[3]) | (address[14] ^ mac[4]) | (address[15] ^ mac[5]));
    return different == 0 || sg_is_local(side->slot, SG_IPV6, address, side->generation);
}

SG_INLINE int sg_owns_ipv6(const struct sg_side* side, const __u8* address) {
    return sg_is_link_local(address) ? sg_owns_link_local(side, address) : sg_owns(side, SG_IPV6, address);
}

/* RFC 826, for IPv4 over Ethernet. */
struct sg_arp {
    __be16 hardware;
    __be16 protocol;
    __u8 hardware_bytes;
    __u8 protocol_bytes;
    __be16 operation;
    __u8 sender_mac[6];
    __u8 sender[4];
    __u8 target_mac[6];
    __u8 target[4];
};
static_assert(sizeof(struct sg_arp) == 28, "ARP packet");

SG_INLINE enum sg_reason sg_exempt_arp(const struct sg_frame* frame, const struct sg_packet* packet,
                                       const struct sg_side* side) {
    struct sg_arp arp = {};
    if (sg_load(frame, packet->network_offset, &arp, sizeof(arp)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    if (arp.hardware != sg_htons(1) || arp.protocol != sg_htons(SG_ETHERTYPE_IPV4) || arp.hardware_bytes != 6 ||
        arp.protocol_bytes != 4 || (arp.operation != sg_htons(1) && arp.operation != sg_htons(2))) {
        return SG_REASON_BAD_HEADER;
    }
    if (side->direction == SG_OUT) {
        if (!sg_owns_mac(side, arp.sender_mac) || !sg_owns_mac(side, packet->source_mac)) {
            return SG_REASON_EXEMPT_SENDER;
        }
        __u8 claimed[4];
        sg_copy(claimed, arp.sender, 4);
        if (sg_bytes_zero(arp.sender, 4) && arp.operation == sg_htons(1)) {
            sg_copy(claimed, arp.target, 4); /* the probe of RFC 5227, for an address that it is about to use */
        }
        if (!sg_owns(side, SG_IPV4, claimed)) {
            return SG_REASON_EXEMPT_SENDER;
        }
    }
    return SG_REASON_EXEMPT;
}

SG_INLINE enum sg_reason sg_exempt_icmpv6(const struct sg_frame* frame, const struct sg_packet* packet,
                                          const struct sg_side* side) {
    const __u8 type = packet->icmp_type;
    const int listener = (type >= 130 && type <= 132) || type == 143;
    const int discovery = type >= 133 && type <= 136;
    if (!listener && !discovery) {
        return SG_REASON_NONE;
    }
    if (packet->hop_limit != (discovery ? 255 : 1)) {
        return SG_REASON_NONE; /* came through a router, or is none: an ordinary packet for the rules */
    }
    if (side->direction == SG_IN) {
        return SG_REASON_EXEMPT;
    }
    const __u8* source = packet->key.local;
    const int unspecified = sg_bytes_zero(source, 16);
    if (type == 134 || !sg_owns_mac(side, packet->source_mac) || !(unspecified || sg_owns_ipv6(side, source))) {
        return SG_REASON_EXEMPT_SENDER;
    }
    if (type == 136 || (type == 135 && unspecified)) {
        __u8 target[16] = {};
        if (sg_load(frame, packet->transport_offset + 8u, target, sizeof(target)) < 0) {
            return SG_REASON_TRUNCATED;
        }
        if (!sg_owns_ipv6(side, target)) {
            return SG_REASON_EXEMPT_SENDER;
        }
    }
    return SG_REASON_EXEMPT;
}

SG_INLINE enum sg_reason sg_exempt_dhcp(const struct sg_packet* packet, const struct sg_side* side) {
    const __u16 from = packet->source_port;
    const __u16 to = packet->destination_port;
    const __u8* local = packet->key.local;
    const __u8* remote = packet->key.remote;
    if (packet->key.family == SG_IPV4) {
        if (side->direction == SG_IN) {
            return from == 67 && to == 68 ? SG_REASON_EXEMPT : SG_REASON_NONE;
        }
        if (from != 68 || to != 67 || !sg_ipv4_is(remote, 255, 255, 255, 255)) {
            return SG_REASON_NONE;
        }
        return sg_owns_mac(side, packet->source_mac) && (sg_bytes_zero(local, 4) || sg_owns(side, SG_IPV4, local))
                   ? SG_REASON_EXEMPT
                   : SG_REASON_EXEMPT_SENDER;
    }
    if (side->direction == SG_IN) {
        return from == 547 && to == 546 && (sg_is_link_local(local) || sg_owns(side, SG_IPV6, local)) ? SG_REASON_EXEMPT
                                                                                                      : SG_REASON_NONE;
    }
    /* ff02::1:2, All_DHCP_Relay_Agents_and_Servers (RFC 8415 7.1) */
    if (from != 546 || to != 547 || remote[0] != 0xff || remote[1] != 0x02 || !sg_bytes_zero(remote + 2, 11) ||
        remote[13] != 1 || remote[14] != 0 || remote[15] != 2) {
        return SG_REASON_NONE;
    }
    return sg_owns_mac(side, packet->source_mac) && sg_owns_ipv6(side, local) ? SG_REASON_EXEMPT
                                                                              : SG_REASON_EXEMPT_SENDER;
}

/* SG_REASON_EXEMPT, a drop reason, or SG_REASON_NONE: not on the list, go on. */
SG_INLINE enum sg_reason sg_exempt(const struct sg_frame* frame, const struct sg_packet* packet,
                                   const struct sg_side* side) {
    if (packet->flags & SG_PACKET_ARP) {
        return sg_exempt_arp(frame, packet, side);
    }
    if (packet->flags & (SG_PACKET_FRAGMENT_FIRST | SG_PACKET_FRAGMENT_LATER)) {
        return SG_REASON_NONE; /* RFC 6980: neighbour discovery is never fragmented */
    }
    if (packet->key.family == SG_IPV6 && packet->key.protocol == SG_PROTO_ICMPV6) {
        return sg_exempt_icmpv6(frame, packet, side);
    }
    if (packet->key.protocol == SG_PROTO_UDP) {
        return sg_exempt_dhcp(packet, side);
    }
    return SG_REASON_NONE;
}
