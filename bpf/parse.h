/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pure: a frame becomes a struct sg_packet, or the reason why it cannot be judged. Ethernet, VLAN,
 * IPv4, IPv6 with extension headers, TCP, UDP, ICMP. Reads through struct sg_frame, so that the same
 * code parses an skb, an XDP frame and a byte array in a unit test or fuzzer. Addresses are checked
 * after the exempt list (SG-4.1), in sg_addresses_sane.
 */
#pragma once

#include <sgbpf/abi/config.h>
#include <sgbpf/abi/verdict.h>

#include "bpf/compiler.h"
#include "bpf/packet.h"
#ifdef __bpf__
#include "bpf/context.h"
#endif

/*
 * A frame to read from. `length` is what the hook says the frame holds, headers and payload;
 * `gso` = it is an aggregate; `tags` = VLAN tags already taken out of the bytes (skb->vlan_tci).
 */
struct sg_frame {
#ifdef __bpf__
    sg_context* context;
#else
    const __u8* data;
#endif
    __u32 length;
    __u8 gso;
    __u8 tags;
};

/* 0, or negative when [offset, offset + bytes) is not in the frame. Non-linear skbs are fine. */
SG_INLINE int sg_load(const struct sg_frame* frame, __u32 offset, void* to, __u32 bytes) {
#ifdef __bpf__
    return sg_context_load(frame->context, offset, to, bytes);
#else
    if (offset > frame->length || bytes > frame->length - offset) {
        return -1;
    }
    sg_copy(to, frame->data + offset, bytes);
    return 0;
#endif
}

#define SG_ETHERTYPE_IPV4 0x0800
#define SG_ETHERTYPE_ARP 0x0806
#define SG_ETHERTYPE_VLAN 0x8100
#define SG_ETHERTYPE_IPV6 0x86dd
#define SG_ETHERTYPE_QINQ 0x88a8

#define SG_ETHERNET_BYTES 14
#define SG_IPV4_BYTES 20
#define SG_IPV6_BYTES 40

/* Byte offsets inside headers (RFC 791, 8200, 9293, 768, 792, 4443). */
struct sg_ethernet {
    __u8 destination[6];
    __u8 source[6];
    __be16 type;
};
struct sg_ipv4 {
    __u8 version_ihl;
    __u8 tos;
    __be16 total_length;
    __be16 id;
    __be16 fragment;
    __u8 ttl;
    __u8 protocol;
    __be16 checksum;
    __u8 source[4];
    __u8 destination[4];
};
struct sg_ipv6 {
    __u8 version_class;
    __u8 flow_label[3];
    __be16 payload_length;
    __u8 next_header;
    __u8 hop_limit;
    __u8 source[16];
    __u8 destination[16];
};
struct sg_tcp {
    __be16 source_port;
    __be16 destination_port;
    __be32 sequence;
    __be32 acknowledgement;
    __u8 offset_reserved;
    __u8 flags;
    __be16 window;
};
struct sg_icmp {
    __u8 type;
    __u8 code;
    __be16 checksum;
    __be16 identifier;
    __be16 sequence;
};
static_assert(sizeof(struct sg_ethernet) == SG_ETHERNET_BYTES, "Ethernet header");
static_assert(sizeof(struct sg_ipv4) == SG_IPV4_BYTES, "IPv4 header");
static_assert(sizeof(struct sg_ipv6) == SG_IPV6_BYTES, "IPv6 header");
static_assert(sizeof(struct sg_icmp) == 8, "ICMP header");

/* The request type of an ICMP query or reply (SG-5.5), or 0 for any other type (0 is a reply itself). */
SG_INLINE __u8 sg_icmp_request_type(__u8 protocol, __u8 type) {
    if (protocol == SG_PROTO_ICMPV6) {
        return type == 128 || type == 129 ? 128 : 0;
    }
    switch (type) {
        case 0:
        case 8:
            return 8;
        case 13:
        case 14:
            return 13;
        case 15:
        case 16:
            return 15;
        case 17:
        case 18:
            return 17;
        default:
            return 0;
    }
}

/* Copies the addresses into the key by side. */
SG_INLINE void sg_set_addresses(struct sg_packet* packet, const __u8* source, const __u8* destination, __u32 bytes,
                                __u32 direction) {
    if (direction == SG_IN) {
        sg_copy(packet->key.local, destination, bytes);
        sg_copy(packet->key.remote, source, bytes);
    } else {
        sg_copy(packet->key.local, source, bytes);
        sg_copy(packet->key.remote, destination, bytes);
    }
}

/*
 * Where the fragment of `bytes` bytes belongs. `place`: offset in units of 8 bytes << 3 | more, as in the IPv6 fragment
 * header. All but the last are multiples of 8 bytes, none is empty, none ends beyond 65,535 (RFC 791, 8200 4.5).
 */
SG_INLINE enum sg_reason sg_set_fragment(struct sg_packet* packet, __u32 id, __u32 place, __u32 bytes) {
    const __u32 first = place & 0xfff8;
    packet->flags = (__u8)(packet->flags | (first != 0 ? SG_PACKET_FRAGMENT_LATER : SG_PACKET_FRAGMENT_FIRST) |
                           (place & 1 ? SG_PACKET_FRAGMENT_MORE : 0));
    packet->fragment_id = id;
    packet->fragment_first = (__u16)first;
    packet->fragment_bytes = (__u16)bytes;
    return bytes == 0 || first + bytes > 0xffff || ((place & 1) && (bytes & 7)) ? SG_REASON_BAD_HEADER : SG_REASON_NONE;
}

/* Ports and ICMP fields at `offset`; `end` = where the IP packet ends. */
SG_INLINE enum sg_reason sg_parse_transport(const struct sg_frame* frame, struct sg_packet* packet, __u32 offset,
                                            __u32 end, __u32 direction) {
    const enum sg_reason short_reason =
        packet->flags & SG_PACKET_FRAGMENT_FIRST ? SG_REASON_FRAGMENT_TINY : SG_REASON_TRUNCATED;
    const __u8 protocol = packet->key.protocol;
    packet->transport_offset = (__u16)offset;
    packet->transport_bytes = end - offset;

    if (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) {
        struct sg_tcp tcp = {};
        if (protocol == SG_PROTO_TCP) {
            if (offset + 20 > end || sg_load(frame, offset, &tcp, sizeof(tcp)) < 0) {
                return short_reason;
            }
            const __u32 header = (__u32)(tcp.offset_reserved >> 4) * 4;
            if (header < 20) {
                return SG_REASON_BAD_HEADER;
            }
            if (offset + header > end && !(packet->flags & SG_PACKET_FRAGMENT_FIRST)) {
                return SG_REASON_TRUNCATED;
            }
            packet->tcp_flags = tcp.flags;
        } else if (offset + 8 > end || sg_load(frame, offset, &tcp, 8) < 0) {
            return short_reason;
        }
        packet->source_port = sg_ntohs(tcp.source_port);
        packet->destination_port = sg_ntohs(tcp.destination_port);
        packet->key.local_port = direction == SG_IN ? tcp.destination_port : tcp.source_port;
        packet->key.remote_port = direction == SG_IN ? tcp.source_port : tcp.destination_port;
        return SG_REASON_NONE;
    }
    if ((protocol == SG_PROTO_ICMP && packet->key.family == SG_IPV4) ||
        (protocol == SG_PROTO_ICMPV6 && packet->key.family == SG_IPV6)) {
        struct sg_icmp icmp = {};
        if (offset + 8 > end || sg_load(frame, offset, &icmp, sizeof(icmp)) < 0) {
            return short_reason;
        }
        packet->icmp_type = icmp.type;
        packet->icmp_code = icmp.code;
        const __u8 request = sg_icmp_request_type(protocol, icmp.type);
        if (request != 0) {
            const int is_request = icmp.type == request;
            packet->flags |= SG_PACKET_QUERY | (is_request ? SG_PACKET_REQUEST : 0);
            packet->key.local_port = icmp.identifier;
            packet->key.remote_port = SG_ICMP_KEY(request, (direction == SG_OUT) == is_request);
        }
    }
    return SG_REASON_NONE;
}

SG_INLINE enum sg_reason sg_parse_ipv4(const struct sg_frame* frame, struct sg_packet* packet, __u32 offset,
                                       __u32 direction) {
    struct sg_ipv4 ip = {};
    if (sg_load(frame, offset, &ip, sizeof(ip)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    const __u32 header = (__u32)(ip.version_ihl & 0x0f) * 4;
    if (ip.version_ihl >> 4 != 4 || header < SG_IPV4_BYTES) {
        return SG_REASON_BAD_HEADER;
    }
    __u32 total = sg_ntohs(ip.total_length);
    if (frame->gso && total < header) {
        total = frame->length - offset; /* BIG TCP: the field cannot hold the length and is 0 */
    }
    if (total < header) {
        return SG_REASON_BAD_HEADER;
    }
    if (offset + total > frame->length) {
        return SG_REASON_TRUNCATED;
    }
    packet->key.family = SG_IPV4;
    packet->key.protocol = ip.protocol;
    packet->hop_limit = ip.ttl;
    sg_set_addresses(packet, ip.source, ip.destination, 4, direction);

    const __u16 fragment = sg_ntohs(ip.fragment);
    if (fragment & 0x3fff) {
        const __u32 place = (__u32)(fragment & 0x1fff) << 3 | ((fragment & 0x2000) != 0);
        const enum sg_reason reason = sg_set_fragment(packet, ip.id, place, total - header);
        if (reason != SG_REASON_NONE || (fragment & 0x1fff)) {
            /* Offset 1 can only overwrite the flags of a TCP header (RFC 3128). */
            return ip.protocol == SG_PROTO_TCP && (fragment & 0x1fff) == 1 ? SG_REASON_FRAGMENT_TINY : reason;
        }
    }
    return sg_parse_transport(frame, packet, offset + header, offset + total, direction);
}

SG_INLINE enum sg_reason sg_parse_ipv6(const struct sg_frame* frame, struct sg_packet* packet, __u32 offset,
                                       __u32 direction) {
    struct sg_ipv6 ip = {};
    if (sg_load(frame, offset, &ip, sizeof(ip)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    if (ip.version_class >> 4 != 6) {
        return SG_REASON_BAD_HEADER;
    }
    __u32 end = offset + SG_IPV6_BYTES + sg_ntohs(ip.payload_length);
    if (frame->gso && ip.payload_length == 0) {
        end = frame->length; /* BIG TCP (RFC 2675 length, or none at all) */
    }
    if (end > frame->length) {
        return SG_REASON_TRUNCATED;
    }
    packet->key.family = SG_IPV6;
    packet->hop_limit = ip.hop_limit;
    sg_set_addresses(packet, ip.source, ip.destination, 16, direction);

    /* RFC 8200 4: every header says the next one. One round more than headers, to end on the upper layer. */
    __u8 next = ip.next_header;
    __u32 at = offset + SG_IPV6_BYTES;
    SG_UNROLL
    for (int i = 0; i <= SG_MAX_EXT_HEADERS; i++) {
        const int known = next == 0 || next == 43 || next == 44 || next == 60 || next == 135 || next == 139 ||
                          next == 140 || next == SG_PROTO_AH;
        if (!known) {
            packet->key.protocol = next;
            if (at > end) { /* the last header was said to be longer than what is there */
                return packet->flags & SG_PACKET_FRAGMENT_FIRST ? SG_REASON_FRAGMENT_TINY : SG_REASON_TRUNCATED;
            }
            return sg_parse_transport(frame, packet, at, end, direction);
        }
        if (i == SG_MAX_EXT_HEADERS || (next == 0 && i != 0)) {
            return SG_REASON_EXT_HEADERS; /* too many, or hop-by-hop options not directly after IPv6 */
        }
        __u8 extension[8] = {};
        if (at + sizeof(extension) > end || sg_load(frame, at, extension, sizeof(extension)) < 0) {
            /* RFC 7112: a first fragment must hold the whole chain. */
            return packet->flags & SG_PACKET_FRAGMENT_FIRST ? SG_REASON_FRAGMENT_TINY : SG_REASON_EXT_HEADERS;
        }
        if (next == 44) {
            /* RFC 8200 4.5; the reserved byte says nothing. RFC 6946: offset 0 and no more = unfragmented. */
            const __u32 bits = ((__u32)extension[2] << 8) | extension[3];
            next = extension[0];
            at += 8;
            if (bits & 0xfff9) {
                const __u32 id = (__u32)extension[4] | (__u32)extension[5] << 8 | (__u32)extension[6] << 16 |
                                 (__u32)extension[7] << 24;
                const enum sg_reason reason = sg_set_fragment(packet, id, bits & 0xfff9, end - at);
                if (reason != SG_REASON_NONE) {
                    return reason;
                }
            }
            if (packet->flags & SG_PACKET_FRAGMENT_LATER) {
                packet->key.protocol = next;
                return SG_REASON_NONE;
            }
            continue;
        }
        if (next == SG_PROTO_AH) {
            packet->flags |= SG_PACKET_AH;
            at += ((__u32)extension[1] + 2) * 4; /* RFC 4302 2.2: in 4-byte units, minus 2 */
        } else {
            if (next == 0 && extension[2] == 0xc2 && !frame->gso) {
                return SG_REASON_BAD_HEADER; /* jumbo payload option (RFC 2675): SG-13.15 */
            }
            at += ((__u32)extension[1] + 1) * 8;
        }
        next = extension[0];
    }
    return SG_REASON_EXT_HEADERS;
}

/*
 * Fills *packet (zeroed by the caller) from the frame. Returns SG_REASON_NONE, or the drop reason.
 * Cost: a handful of bounded loads; at most SG_MAX_EXT_HEADERS extension headers.
 */
SG_INLINE enum sg_reason sg_parse_frame(const struct sg_frame* frame, struct sg_packet* packet, __u32 direction) {
    struct sg_ethernet ethernet = {};
    packet->length = frame->length;
    packet->flags = frame->gso ? SG_PACKET_GSO : 0;
    if (sg_load(frame, 0, &ethernet, sizeof(ethernet)) < 0) {
        return SG_REASON_TRUNCATED;
    }
    sg_copy(packet->source_mac, ethernet.source, 6);

    __u32 offset = SG_ETHERNET_BYTES;
    __u32 tags = frame->tags;
    __u16 type = sg_ntohs(ethernet.type);
    for (int i = 0; i <= SG_MAX_VLAN_TAGS; i++) {
        if (type != SG_ETHERTYPE_VLAN && type != SG_ETHERTYPE_QINQ) {
            break;
        }
        __be16 tag[2] = {};
        if (sg_load(frame, offset, tag, sizeof(tag)) < 0) {
            return SG_REASON_TRUNCATED;
        }
        type = sg_ntohs(tag[1]);
        offset += 4;
        tags++;
    }
    if (tags > SG_MAX_VLAN_TAGS || type == SG_ETHERTYPE_VLAN || type == SG_ETHERTYPE_QINQ) {
        return SG_REASON_VLAN;
    }
    packet->network_offset = (__u16)offset;
    if (type == SG_ETHERTYPE_IPV4) {
        return sg_parse_ipv4(frame, packet, offset, direction);
    }
    if (type == SG_ETHERTYPE_IPV6) {
        return sg_parse_ipv6(frame, packet, offset, direction);
    }
    if (type == SG_ETHERTYPE_ARP) {
        packet->flags |= SG_PACKET_ARP;
        return SG_REASON_NONE;
    }
    return SG_REASON_NOT_IP;
}

SG_INLINE int sg_ipv4_is(const __u8* address, __u8 a, __u8 b, __u8 c, __u8 d) {
    return address[0] == a && address[1] == b && address[2] == c && address[3] == d;
}

SG_INLINE int sg_bytes_zero(const __u8* bytes, int count) {
    __u8 any = 0;
    for (int i = 0; i < count; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* fe80::/10 */
SG_INLINE int sg_is_link_local(const __u8* address) {
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* IPv4 224.0.0.0/4 and the limited broadcast; IPv6 ff00::/8. */
SG_INLINE int sg_is_group_address(const __u8* address, __u32 family) {
    if (family == SG_IPV4) {
        return (address[0] & 0xf0) == 0xe0 || sg_ipv4_is(address, 255, 255, 255, 255);
    }
    return address[0] == 0xff;
}

/* Loopback and unspecified, 0.0.0.0/8 and ::, ::1. */
SG_INLINE int sg_is_never_on_wire(const __u8* address, __u32 family) {
    if (family == SG_IPV4) {
        return address[0] == 127 || address[0] == 0;
    }
    return sg_bytes_zero(address, 15) && address[15] <= 1;
}

/* SG-13.15: a source that cannot be one, or an address that is never on a wire. */
SG_INLINE int sg_addresses_sane(const struct sg_packet* packet, __u32 direction) {
    const __u32 family = packet->key.family;
    const __u8* source = direction == SG_IN ? packet->key.remote : packet->key.local;
    return !sg_is_group_address(source, family) && !sg_is_never_on_wire(packet->key.local, family) &&
           !sg_is_never_on_wire(packet->key.remote, family);
}
