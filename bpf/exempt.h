/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Traffic that groups never filter (section 6 of the specification), with its own checks of who sends it.
 * Accepted in both directions with no rules at all, makes no state, has a rate of its own (rate.h). Anything
 * that is not clearly one of these falls through to the rules.
 *
 *   ARP (0x0806)           requests and replies; out: sender MAC and address are the interface's (SG-6.6), a
 *                          probe (RFC 5227) asks for an address of its own
 *   ICMPv6 133-136         hop limit 255, code 0; out: no router advertisement, sender, target and link-layer
 *                          options are the interface's, duplicate address detection is for its own (RFC 4861
 *                          4, 7.1); in: a router's advertisement comes from a link-local address (6.1.2)
 *   ICMPv6 130-132, 143    multicast listener discovery: hop limit 1, to a group, from a link-local or no
 *                          address (RFC 2710 3, RFC 3810 5); out: reports only, who asks is a router (SG-6.7)
 *   DHCPv4                 out: 68 -> 67 to the broadcast address; in: 67 -> 68
 *   DHCPv6                 out: 546 -> 547 to ff02::1:2; in: 547 -> 546 to a link-local or own address
 *   services of the host   endpoints of host.yaml (SG-6.4): to address and port, from address and port
 *
 * A service's address in the source of an inbound packet is believed: who may send with it is decided where
 * packets enter the host (SG-6.5).
 */
#pragma once

#include "bpf/frame.h"
#include "bpf/rate.h"
#include "bpf/sender.h"

/* The interface as the checks need it. `config` NULL = no rule set: nothing to compare with. */
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
    return !side->config || !(side->config->flags & SG_IF_MAC) || sg_same_mac(mac, side->config->mac);
}

/* The link-local address that is made of a MAC (RFC 4291 appendix A). */
SG_INLINE int sg_is_link_local_of(const __u8* address, const __u8* mac) {
    const __u32 high = (__u32)(mac[0] ^ 0x02) << 24 | (__u32)mac[1] << 16 | (__u32)mac[2] << 8 | 0xff;
    const __u32 low = 0xfeu << 24 | (__u32)mac[3] << 16 | (__u32)mac[4] << 8 | mac[5];
    return *(const __u32*)(address + 8) == __builtin_bswap32(high) &&
           *(const __u32*)(address + 12) == __builtin_bswap32(low);
}

/*
 * An IPv6 address of the interface. Of link-local ones: with a known MAC the one made of it, as in EC2, or one
 * that the interface lists; without a MAC any, there is nothing to compare with.
 */
SG_INLINE int sg_owns_ipv6(const struct sg_side* side, const __u8* address) {
    const __u32 both = SG_IF_MAC | SG_IF_SOURCE_CHECK;
    if (sg_is_link_local(address) &&
        (!side->config || (side->config->flags & both) != both || sg_is_link_local_of(address, side->config->mac))) {
        return 1;
    }
    return sg_owns(side, SG_IPV6, address);
}

SG_INLINE int sg_is_unspecified(const __u8* address) {
    const __u64* words = (const __u64*)address;
    return (words[0] | words[1]) == 0;
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
} __attribute__((aligned(4)));
static_assert(sizeof(struct sg_arp) == 28, "ARP packet");

SG_INLINE enum sg_reason sg_exempt_arp(sg_context* context, const struct sg_packet* packet,
                                       const struct sg_side* side) {
    struct sg_arp arp = {};
    if (sg_context_load(context, packet->network_offset, &arp, sizeof(arp)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    if (arp.hardware != sg_htons(1) || arp.protocol != sg_htons(SG_ETHERTYPE_IPV4) || arp.hardware_bytes != 6 ||
        arp.protocol_bytes != 4 || (arp.operation != sg_htons(1) && arp.operation != sg_htons(2))) {
        return SG_REASON_BAD_HEADER;
    }
    if (side->direction == SG_IN) {
        return SG_REASON_EXEMPT;
    }
    const int probe = sg_bytes_zero(arp.sender, 4) && arp.operation == sg_htons(1);
    if (probe) {
        sg_copy(arp.sender, arp.target, 4); /* for an address that it is about to use (RFC 5227) */
    }
    return sg_owns_mac(side, arp.sender_mac) && sg_owns(side, SG_IPV4, arp.sender) ? SG_REASON_EXEMPT
                                                                                   : SG_REASON_EXEMPT_SENDER;
}

/* Options of one message: stacks send one or two, SEND (RFC 3971) five. */
#define SG_MAX_ND_OPTIONS 6

/*
 * The link-layer addresses in the options of a message that the interface sends, from `at` on. Someone else's
 * would lead its neighbours' packets astray whatever the rest of the message says.
 */
SG_INLINE enum sg_reason sg_nd_options(sg_context* context, const struct sg_packet* packet, const struct sg_side* side,
                                       __u32 at) {
    __be16 payload = 0;
    if (sg_context_load(context, packet->network_offset + 4u, &payload, sizeof(payload)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    const __u32 end = packet->network_offset + SG_IPV6_BYTES + sg_ntohs(payload);
    SG_UNROLL
    for (int i = 0; i < SG_MAX_ND_OPTIONS; i++) {
        if (at >= end) {
            return at == end ? SG_REASON_EXEMPT : SG_REASON_BAD_HEADER;
        }
        __u8 option[8] __attribute__((aligned(4))) = {};
        if (at + sizeof(option) > end || sg_context_load(context, at, option, sizeof(option)) < 0 || option[1] == 0) {
            return SG_REASON_BAD_HEADER; /* RFC 4861 4.6: a length of 0 makes the message invalid */
        }
        if (option[0] == 1 || option[0] == 2) {
            __u8 mac[8] __attribute__((aligned(4)));
            sg_copy(mac, option + 2, 6);
            if (option[1] != 1 || !sg_owns_mac(side, mac)) {
                return SG_REASON_EXEMPT_SENDER;
            }
        }
        at += (__u32)option[1] * 8;
    }
    return at == end ? SG_REASON_EXEMPT : SG_REASON_BAD_HEADER;
}

/* A message that the interface sends: RFC 4861 4.1, 4.3, 4.4. */
SG_INLINE enum sg_reason sg_nd_out(sg_context* context, const struct sg_packet* packet, const struct sg_side* side) {
    const __u8 type = packet->icmp_type;
    const int unspecified = sg_is_unspecified(packet->key.local);
    if (type == 134) {
        /* What routes the guests is no guest: SG-6.6 knows no exception for the source/dest check being off. */
        return side->config && (side->config->flags & SG_IF_HOST) ? SG_REASON_NONE : SG_REASON_EXEMPT_SENDER;
    }
    if (!unspecified && !sg_owns_ipv6(side, packet->key.local)) {
        return SG_REASON_EXEMPT_SENDER;
    }
    if (type == 133) {
        return sg_nd_options(context, packet, side, packet->transport_offset + 8u);
    }
    __u64 target[2] = {};
    if (sg_context_load(context, packet->transport_offset + 8u, target, sizeof(target)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    if ((type == 136 || unspecified) && !sg_owns_ipv6(side, (const __u8*)target)) {
        return SG_REASON_EXEMPT_SENDER;
    }
    return sg_nd_options(context, packet, side, packet->transport_offset + 24u);
}

/* ff02::1:ff00:0/104, where who asks for an address with no address of its own must send (RFC 4861 7.1.1) */
SG_INLINE int sg_is_solicited_node(const __u8* address) {
    const __u32* words = (const __u32*)address;
    return address[0] == 0xff && address[1] == 0x02 && address[2] == 0 && address[3] == 0 && words[1] == 0 &&
           words[2] == __builtin_bswap32(1) && address[12] == 0xff;
}

SG_INLINE enum sg_reason sg_exempt_icmpv6(sg_context* context, const struct sg_packet* packet,
                                          const struct sg_side* side) {
    const __u8 type = packet->icmp_type;
    const __u8* source = side->direction == SG_IN ? packet->key.remote : packet->key.local;
    const __u8* destination = side->direction == SG_IN ? packet->key.local : packet->key.remote;
    if (type >= 133 && type <= 136) {
        if (packet->hop_limit != 255 || packet->icmp_code != 0) {
            return SG_REASON_NONE; /* came through a router, or is none: an ordinary packet for the rules */
        }
        if (side->direction == SG_OUT) {
            return sg_nd_out(context, packet, side);
        }
        if (type == 134) {
            return sg_is_link_local(source) ? SG_REASON_EXEMPT : SG_REASON_NONE;
        }
        if (type == 136 || type == 133) {
            return type == 133 || !sg_is_unspecified(source) ? SG_REASON_EXEMPT : SG_REASON_NONE;
        }
        return !sg_is_unspecified(source) || sg_is_solicited_node(destination) ? SG_REASON_EXEMPT : SG_REASON_NONE;
    }
    if ((type >= 130 && type <= 132) || type == 143) {
        if (packet->hop_limit != 1 || destination[0] != 0xff || (side->direction == SG_OUT && type == 130)) {
            return SG_REASON_NONE;
        }
        /* A report may come before its sender has an address (RFC 3590). */
        if (sg_is_unspecified(source)) {
            return type == 130 ? SG_REASON_NONE : SG_REASON_EXEMPT;
        }
        if (!sg_is_link_local(source)) {
            return SG_REASON_NONE;
        }
        return side->direction == SG_IN || sg_owns_ipv6(side, source) ? SG_REASON_EXEMPT : SG_REASON_EXEMPT_SENDER;
    }
    return SG_REASON_NONE;
}

SG_INLINE enum sg_reason sg_exempt_dhcp(const struct sg_packet* packet, const struct sg_side* side) {
    const __u16 from = packet->source_port;
    const __u16 to = packet->destination_port;
    const __u8* local = packet->key.local;
    const __u8* remote = packet->key.remote;
    const int ipv4 = packet->key.family == SG_IPV4;
    if (side->direction == SG_IN) {
        if (ipv4) {
            return from == 67 && to == 68 ? SG_REASON_EXEMPT : SG_REASON_NONE;
        }
        return from == 547 && to == 546 && sg_is_link_local(remote) &&
                       (sg_is_link_local(local) || sg_owns(side, SG_IPV6, local))
                   ? SG_REASON_EXEMPT
                   : SG_REASON_NONE;
    }
    if (from == (ipv4 ? 67 : 547) && side->config && !(side->config->flags & SG_IF_HOST)) {
        return SG_REASON_DHCP_SERVER; /* rules that admit it do not make a guest the network's server */
    }
    if (ipv4) {
        if (from != 68 || to != 67 || *(const __u32*)remote != 0xffffffff) {
            return SG_REASON_NONE;
        }
        return *(const __u32*)local == 0 || sg_owns(side, SG_IPV4, local) ? SG_REASON_EXEMPT : SG_REASON_EXEMPT_SENDER;
    }
    /* ff02::1:2, All_DHCP_Relay_Agents_and_Servers (RFC 8415 7.1) */
    const __u32* words = (const __u32*)remote;
    if (from != 546 || to != 547 || words[0] != __builtin_bswap32(0xff020000) || (words[1] | words[2]) != 0 ||
        words[3] != __builtin_bswap32(0x00010002)) {
        return SG_REASON_NONE;
    }
    return sg_owns_ipv6(side, local) ? SG_REASON_EXEMPT : SG_REASON_EXEMPT_SENDER;
}

/* Redirects and neighbour discovery are about the link, whoever sends them: no service (SG-6.7). */
SG_INLINE int sg_is_link_message(const struct sg_packet* packet) {
    return packet->key.family == SG_IPV4 ? packet->icmp_type == 5 : packet->icmp_type >= 130;
}

/* A service endpoint of the VPC (SG-6.1..6.5): the request to it, or what it sends from there. */
SG_INLINE enum sg_reason sg_exempt_service(const struct sg_packet* packet, const struct sg_side* side) {
    if (!side->config || !(side->config->flags & SG_IF_SERVICES)) {
        return SG_REASON_NONE;
    }
    const __u8 protocol = packet->key.protocol;
    const __u32 family = packet->key.family;
    __u32 kind = SG_SERVICE_ANY;
    __u32 port = 0;
    if (packet->flags & SG_PACKET_FRAGMENT_LATER) {
        /* no ports: only an endpoint that needs none */
    } else if (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) {
        kind = protocol == SG_PROTO_TCP ? SG_SERVICE_TCP : SG_SERVICE_UDP;
        port = side->direction == SG_IN ? packet->source_port : packet->destination_port;
    } else if (protocol == (family == SG_IPV4 ? SG_PROTO_ICMP : SG_PROTO_ICMPV6)) {
        if (sg_is_link_message(packet)) {
            return SG_REASON_NONE;
        }
        kind = SG_SERVICE_ICMP;
    }
    __u32 ways = 0;
    const __u32 vpc = side->config->vpc;
    if (kind != SG_SERVICE_ANY) {
        ways = sg_scoped_value(SG_SCOPE_SERVICE(vpc, kind, port), family, packet->key.remote, side->generation);
    }
    if (!(ways & SG_SERVICE_WAY(side->direction))) {
        ways = sg_scoped_value(SG_SCOPE_SERVICE(vpc, SG_SERVICE_ANY, 0), family, packet->key.remote, side->generation);
    }
    if (!(ways & SG_SERVICE_WAY(side->direction)) || !sg_addresses_sane(packet, side->direction)) {
        return SG_REASON_NONE;
    }
    if (side->direction == SG_OUT) {
        return sg_owns(side, family, packet->key.local) ? SG_REASON_EXEMPT : SG_REASON_EXEMPT_SENDER;
    }
    /* The endpoint answers, it opens nothing: a SYN from it is for the rules. So is a foreign destination. */
    if (protocol == SG_PROTO_TCP && (packet->tcp_flags & (SG_TCP_SYN | SG_TCP_ACK)) == SG_TCP_SYN) {
        return SG_REASON_NONE;
    }
    return sg_owns(side, family, packet->key.local) ? SG_REASON_EXEMPT : SG_REASON_NONE;
}

/*
 * SG_REASON_EXEMPT, a drop reason, or SG_REASON_NONE: not on the list, go on. Every frame that could be parsed
 * comes by here, so the source MAC is checked here too. A function of its own: its stack
 * and its paths are not added to those of the slow path.
 */
SG_GLOBAL int sg_exempt(sg_context* context, const struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                        __u64 generation) {
    if (!packet) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    const struct sg_side side = {
        .config = config && (config->flags & SG_IF_READY) ? config : 0,
        .slot = interface_slot,
        .direction = direction,
        .generation = generation,
    };
    if (side.config && sg_source_mac_wrong(side.config, direction, packet->source_mac)) {
        return SG_REASON_SOURCE_MAC;
    }
    const int fragment = packet->flags & (SG_PACKET_FRAGMENT_FIRST | SG_PACKET_FRAGMENT_LATER);
    enum sg_reason reason = SG_REASON_NONE;
    __u32 bucket = direction == SG_IN ? SG_BUCKET_LINK_IN : SG_BUCKET_LINK_OUT;
    if (packet->flags & SG_PACKET_ARP) {
        reason = sg_exempt_arp(context, packet, &side);
    } else if (packet->key.protocol == SG_PROTO_ICMPV6 && packet->key.family == SG_IPV6 && !fragment) {
        reason = sg_exempt_icmpv6(context, packet, &side); /* RFC 6980: never fragmented */
    } else if (packet->key.protocol == SG_PROTO_UDP && !(fragment & SG_PACKET_FRAGMENT_LATER)) {
        reason = sg_exempt_dhcp(packet, &side);
        bucket = direction == SG_IN ? SG_BUCKET_DHCP_IN : SG_BUCKET_LINK_OUT;
    }
    if (reason == SG_REASON_NONE && !(packet->flags & SG_PACKET_ARP)) {
        reason = sg_exempt_service(packet, &side);
        bucket = direction == SG_IN ? SG_BUCKET_SERVICE_IN : SG_BUCKET_SERVICE_OUT;
    }
    if (reason == SG_REASON_EXEMPT && side.config &&
        !sg_within_rate(interface_slot, bucket, side.config->exempt_rate)) {
        return SG_REASON_EXEMPT_RATE;
    }
    return reason;
}
