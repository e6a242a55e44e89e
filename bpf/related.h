/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: ICMP errors about a tracked flow (SG-5.36..5.41). The quote must be the head of a packet that the receiver of
 * the error has sent in a flow of this interface; who reports it may be any router. Whatever cannot be told from the
 * quote is left to the rules.
 */
#pragma once

#include "bpf/flow_table.h"
#include "bpf/frame.h"
#include "bpf/tcp_window.h"

/* Errors that may belong to a flow; redirects never do (SG-5.37). */
SG_INLINE int sg_is_icmp_error(const struct sg_packet* packet) {
    const __u8 type = packet->icmp_type;
    if (packet->flags & (SG_PACKET_FRAGMENT_FIRST | SG_PACKET_FRAGMENT_LATER)) {
        return 0;
    }
    if (packet->key.family == SG_IPV4) {
        return packet->key.protocol == SG_PROTO_ICMP && (type == 3 || type == 11 || type == 12);
    }
    return packet->key.protocol == SG_PROTO_ICMPV6 && type >= 1 && type <= 4;
}

/* The quoted packet: where its transport header is, and its protocol. */
struct sg_quote {
    __u32 offset;
    __u32 end; /* of the outer packet, and so of the quote */
    __u8 protocol;
};

/*
 * The quoted IP header by the side that sent it. 0: too short, damaged, or of a fragment without ports (SG-5.39).
 * The error travels in `direction`; what it quotes travelled the other way.
 */
SG_INLINE int sg_quote_ipv4(sg_context* context, __u32 direction, struct sg_quote* quote, struct sg_flow_key* key) {
    struct sg_ipv4 ip = {};
    if (sg_context_load(context, quote->offset, &ip, sizeof(ip)) < 0) {
        return 0;
    }
    const __u32 header = (__u32)(ip.version_ihl & 0x0f) * 4;
    if (ip.version_ihl >> 4 != 4 || header < SG_IPV4_BYTES || (ip.fragment & sg_htons(0x1fff))) {
        return 0;
    }
    sg_copy(direction == SG_IN ? key->local : key->remote, ip.source, 4);
    sg_copy(direction == SG_IN ? key->remote : key->local, ip.destination, 4);
    quote->offset += header;
    quote->protocol = ip.protocol;
    return 1;
}

SG_INLINE int sg_quote_ipv6(sg_context* context, __u32 direction, struct sg_quote* quote, struct sg_flow_key* key) {
    __u8 head[8] = {};
    if (sg_context_load(context, quote->offset, head, sizeof(head)) < 0 || head[0] >> 4 != 6 ||
        sg_context_load(context, quote->offset + 8, direction == SG_IN ? key->local : key->remote, 16) < 0 ||
        sg_context_load(context, quote->offset + 24, direction == SG_IN ? key->remote : key->local, 16) < 0) {
        return 0;
    }
    __u8 next = head[6];
    quote->offset += SG_IPV6_BYTES;
    SG_UNROLL
    for (int i = 0; i <= SG_MAX_EXT_HEADERS; i++) {
        const int extension = next == 0 || next == 43 || next == 44 || next == 60 || next == 135 || next == 139 ||
                              next == 140 || next == SG_PROTO_AH;
        if (!extension) {
            quote->protocol = next;
            return 1;
        }
        if (i == SG_MAX_EXT_HEADERS || quote->offset + sizeof(head) > quote->end ||
            sg_context_load(context, quote->offset, head, sizeof(head)) < 0 ||
            (next == 44 && (head[2] != 0 || (head[3] & 0xf8) != 0))) {
            return 0;
        }
        quote->offset += next == 44 ? 8 : next == SG_PROTO_AH ? ((__u32)head[1] + 2) * 4 : ((__u32)head[1] + 1) * 8;
        next = head[0];
    }
    return 0;
}

/* Ports or identifier of the quote; 0 when they are not in it. *sequence: of TCP. */
SG_INLINE int sg_quote_ports(sg_context* context, __u32 direction, const struct sg_quote* quote,
                             struct sg_flow_key* key, __u32* sequence) {
    const __u8 protocol = quote->protocol;
    __be16 head[4] = {};
    key->protocol = protocol;
    if (protocol != SG_PROTO_TCP && protocol != SG_PROTO_UDP && protocol != SG_PROTO_ICMP &&
        protocol != SG_PROTO_ICMPV6) {
        return 1;
    }
    if (quote->offset + sizeof(head) > quote->end || sg_context_load(context, quote->offset, head, sizeof(head)) < 0) {
        return 0;
    }
    if (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) {
        key->local_port = direction == SG_IN ? head[0] : head[1];
        key->remote_port = direction == SG_IN ? head[1] : head[0];
        *sequence = (__u32)sg_ntohs(head[2]) << 16 | sg_ntohs(head[3]);
        return 1;
    }
    const __u8 type = *(const __u8*)head;
    const __u8 request = sg_icmp_request_type(protocol, type);
    key->local_port = head[2];
    key->remote_port = SG_ICMP_KEY(request, (direction == SG_IN) == (type == request));
    return request != 0;
}

/* In strict mode the quoted segment must be one that the other side may still be waiting for (RFC 5927 4.1). */
SG_INLINE int sg_quote_in_window(const struct sg_flow* flow, __u64 word, int side, __u32 sequence) {
    const __u64 own = side ? SG_READ(flow->sequence[1]) : SG_READ(flow->sequence[0]);
    const __u64 other = side ? SG_READ(flow->sequence[0]) : SG_READ(flow->sequence[1]);
    const __u8 other_scale = side ? SG_READ(flow->scale[0]) : SG_READ(flow->scale[1]);
    if (!(SG_WORD_FLAGS(word) & SG_FLOW_WINDOWS)) {
        return 1;
    }
    return !sg_after(sequence, SG_SEQUENCE_END(own)) &&
           (!(other_scale & SG_SCALE_ACKNOWLEDGED) ||
            sg_after(sequence, SG_SEQUENCE_ACKNOWLEDGED(other) - SG_ACK_SLACK));
}

/*
 * SG_REASON_RELATED for an error about a live flow, which is neither refreshed nor closed by it (SG-5.40); else
 * SG_REASON_NONE.
 */
SG_GLOBAL int sg_judge_related(sg_context* context, const struct sg_packet* packet, __u32 interface_slot,
                               __u32 direction, struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(interface_slot, outcome->generation);
    if (!config || (config->flags & SG_IF_UNRELATED) || !sg_is_icmp_error(packet)) {
        return SG_REASON_NONE;
    }
    struct sg_flow_key key = {.interface_slot = (__u16)interface_slot, .family = packet->key.family};
    struct sg_quote quote = {.offset = packet->transport_offset + 8u,
                             .end = packet->transport_offset + packet->transport_bytes};
    __u32 sequence = 0;
    const int read = packet->key.family == SG_IPV4 ? sg_quote_ipv4(context, direction, &quote, &key)
                                                   : sg_quote_ipv6(context, direction, &quote, &key);
    if (!read || !sg_quote_ports(context, direction, &quote, &key, &sequence)) {
        return SG_REASON_NONE;
    }
    /* The error goes to whom the quoted packet came from (SG-5.38). */
    const __u64* sender = (const __u64*)(direction == SG_IN ? key.local : key.remote);
    const __u64* receiver = (const __u64*)(direction == SG_IN ? packet->key.local : packet->key.remote);
    if (sender[0] != receiver[0] || sender[1] != receiver[1]) {
        return SG_REASON_NONE;
    }
    __u64 word = 0;
    __u32 slot = 0;
    const struct sg_flow* flow = sg_flow_find(&key, config, sg_now(), &word, &slot);
    if (!flow || sg_flow_is_older(flow, config->recheck_since) || sg_flow_is_older(flow, config->kill_since)) {
        return SG_REASON_NONE;
    }
    const int quoted_by_opener = sg_from_opener(word, direction == SG_IN ? SG_OUT : SG_IN);
    if (key.protocol == SG_PROTO_TCP && !sg_quote_in_window(flow, word, !quoted_by_opener, sequence)) {
        return SG_REASON_NONE;
    }
    outcome->rule = flow->rule;
    outcome->flow_slot = slot;
    return SG_REASON_RELATED;
}
