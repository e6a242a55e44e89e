/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The order of the steps, once for all hooks:
 *
 *   interface -> established? -> parse -> exempt? -> source/dest check -> flow hit? -> rules -> open
 *
 * sg_pipeline is inlined into each entry point and holds the established path only; everything else is
 * behind the functions of bpf/judge.h, verified once (a fully inlined pipeline is refused by kernel 6.1).
 */
#pragma once

#include "bpf/events.h"
#include "bpf/judge.h"

/* What a segment shows of its connection. */
struct sg_fast_tcp {
    __u64 sequence; /* SG_SEQUENCE(end, acknowledged) */
    __u32 bytes;    /* of sequence numbers that it takes */
    __u16 window;
    __u8 flags;
    __u8 pad;
};

/*
 * The key of the frames that make up nearly all traffic, read in place: untagged Ethernet, IPv4 without
 * options or IPv6 without extension headers, no fragment, not ICMP, all headers in the linear part. 0 =
 * anything else, which the slow path parses in full.
 */
SG_INLINE int sg_fast_key(sg_context* context, __u32 length, __u32 direction, struct sg_flow_key* key,
                          struct sg_fast_tcp* segment) {
    const __u8* data = (const __u8*)(long)context->data;
    const __u8* end = (const __u8*)(long)context->data_end;
    const struct sg_ethernet* ethernet = (const struct sg_ethernet*)data;
    const __u8* transport;
    __u32 bytes; /* of the IP payload */
    if (data + SG_ETHERNET_BYTES + SG_IPV4_BYTES > end) {
        return 0;
    }
    if (ethernet->type == sg_htons(SG_ETHERTYPE_IPV4)) {
        const struct sg_ipv4* ip = (const struct sg_ipv4*)(data + SG_ETHERNET_BYTES);
        const __u32 total = sg_ntohs(ip->total_length);
        if (ip->version_ihl != 0x45 || (ip->fragment & sg_htons(0x3fff)) || total < SG_IPV4_BYTES ||
            SG_ETHERNET_BYTES + total > length) {
            return 0;
        }
        key->family = SG_IPV4;
        key->protocol = ip->protocol;
        __builtin_memcpy(direction == SG_IN ? key->remote : key->local, ip->source, 4);
        __builtin_memcpy(direction == SG_IN ? key->local : key->remote, ip->destination, 4);
        transport = data + SG_ETHERNET_BYTES + SG_IPV4_BYTES;
        bytes = total - SG_IPV4_BYTES;
    } else if (ethernet->type == sg_htons(SG_ETHERTYPE_IPV6)) {
        const struct sg_ipv6* ip = (const struct sg_ipv6*)(data + SG_ETHERNET_BYTES);
        if (data + SG_ETHERNET_BYTES + SG_IPV6_BYTES > end || ip->version_class >> 4 != 6) {
            return 0;
        }
        bytes = sg_ntohs(ip->payload_length);
        if (SG_ETHERNET_BYTES + SG_IPV6_BYTES + bytes > length) {
            return 0;
        }
        key->family = SG_IPV6;
        key->protocol = ip->next_header;
        __builtin_memcpy(direction == SG_IN ? key->remote : key->local, ip->source, 16);
        __builtin_memcpy(direction == SG_IN ? key->local : key->remote, ip->destination, 16);
        transport = data + SG_ETHERNET_BYTES + SG_IPV6_BYTES;
    } else {
        return 0;
    }
    if (key->protocol == SG_PROTO_TCP) {
        const struct sg_tcp* tcp = (const struct sg_tcp*)transport;
        if (transport + sizeof(*tcp) > end || bytes < 20) {
            return 0;
        }
        const __u32 header = (__u32)(tcp->offset_reserved >> 4) * 4;
        if (header < 20 || header > bytes || !sg_tcp_flags_sane(tcp->flags)) {
            return 0;
        }
        segment->flags = tcp->flags;
        segment->window = sg_ntohs(tcp->window);
        segment->bytes = bytes - header + ((tcp->flags & SG_TCP_FIN) != 0);
        segment->sequence = SG_SEQUENCE(sg_ntohl(tcp->sequence) + segment->bytes, sg_ntohl(tcp->acknowledgement));
    } else if (key->protocol != SG_PROTO_UDP || transport + 8 > end || bytes < 8) {
        return 0;
    }
    const __be16* ports = (const __be16*)transport;
    key->local_port = ports[direction == SG_IN ? 1 : 0];
    key->remote_port = ports[direction == SG_IN ? 0 : 1];
    return 1;
}

/*
 * Strict mode: a segment in mid-connection that lies in the window, and is remembered. 0: the slow path judges it.
 * Normal mode remembers too, for whoever ends the flow with a reset, and checks nothing.
 */
SG_INLINE int sg_fast_segment(struct sg_flow* flow, __u64 word, int strict, int side,
                              const struct sg_fast_tcp* segment) {
    __u64* sequence = side ? &flow->sequence[1] : &flow->sequence[0];
    if (!strict || !(SG_WORD_FLAGS(word) & SG_FLOW_WINDOWS)) {
        if (!sg_config.dry_run && (segment->flags & SG_TCP_ACK)) {
            SG_WRITE(*sequence, segment->sequence);
        }
        return 1;
    }
    const __u8 state = SG_WORD_STATE(word);
    const struct sg_tcp_sides sides = {
        .sequence = {SG_READ(flow->sequence[0]), SG_READ(flow->sequence[1])},
        .window = {SG_READ(flow->window[0]), SG_READ(flow->window[1])},
        .scale = {SG_READ(flow->scale[0]), SG_READ(flow->scale[1])},
    };
    const struct sg_segment full = {
        .sequence = SG_SEQUENCE_END(segment->sequence) - segment->bytes,
        .end = SG_SEQUENCE_END(segment->sequence),
        .acknowledgement = SG_SEQUENCE_ACKNOWLEDGED(segment->sequence),
        .flags = SG_TCP_ACK,
    };
    if (state < SG_FLOW_ESTABLISHED || state > SG_FLOW_CLOSE_WAIT ||
        (segment->flags & (SG_TCP_SYN | SG_TCP_RST | SG_TCP_ACK)) != SG_TCP_ACK ||
        !(sides.scale[0] & sides.scale[1] & SG_SCALE_ACKNOWLEDGED) ||
        segment->window > (side ? sides.window[1] : sides.window[0]) || !sg_in_window(&sides, side, &full)) {
        return 0;
    }
    const __u64 seen = side ? sides.sequence[1] : sides.sequence[0];
    const __u64 next = sg_sequence_after(seen, SG_SCALE_ACKNOWLEDGED, &full);
    return next == seen || sg_config.dry_run || __sync_val_compare_and_swap(sequence, seen, next) == seen;
}

/* SG_REASON_TRACKED when the packet belongs to a flow that needs no second look, else SG_REASON_NONE. */
SG_INLINE enum sg_reason sg_established(sg_context* context, __u32 length, __u32 interface_slot, __u32 direction,
                                        struct sg_outcome* outcome) {
    struct sg_flow_key key = {.interface_slot = (__u16)interface_slot};
    struct sg_fast_tcp segment = {};
    if (sg_frame_tags(context) || !sg_fast_key(context, length, direction, &key, &segment)) {
        return SG_REASON_NONE;
    }
    const __u64 generation = sg_generation();
    outcome->generation = generation;
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    if (!config || (config->flags & (SG_IF_READY | SG_IF_QUARANTINE)) != SG_IF_READY) {
        return SG_REASON_NONE;
    }
    const __u8* data = (const __u8*)(long)context->data;
    if (data + SG_ETHERNET_BYTES > (const __u8*)(long)context->data_end ||
        sg_source_mac_wrong(config, direction, data + 6)) {
        return SG_REASON_NONE;
    }
    __u64 word = 0;
    struct sg_flow* flow = sg_flow_find_fast(&key, config, sg_now(), &word, &outcome->flow_slot);
    if (!flow || (flow->epoch != config->epoch && !sg_config.bare)) {
        return SG_REASON_NONE;
    }
    const int from_opener = sg_from_opener(word, direction);
    const __u8 state = SG_WORD_STATE(word);
    if (sg_flow_next(state, from_opener, segment.flags) != state || sg_is_taken_over(word, segment.flags) ||
        ((SG_WORD_FLAGS(word) & SG_FLOW_ADOPTED) && SG_WORD_TIER(word) == SG_TIER_OPENING)) {
        return SG_REASON_NONE; /* a packet that changes the state takes the slow path */
    }
    if (key.protocol == SG_PROTO_TCP && !sg_config.bare &&
        !sg_fast_segment(flow, word, config->flags & SG_IF_STRICT, !from_opener, &segment)) {
        return SG_REASON_NONE;
    }
    sg_flow_touch(flow, from_opener, length, sg_now()); /* held, `now` would cost stack */
    outcome->rule = flow->rule;
    outcome->tracking = SG_TRACKING_FLOW;
    return SG_REASON_TRACKED;
}

/* Judges, counts and reports. Reasons below SG_REASON_NO_RULE let the packet pass. */
SG_INLINE enum sg_verdict sg_pipeline(sg_context* context, __u32 direction) {
    const __u32 ifindex = sg_context_ifindex(context);
    __u32 interface_slot = 0;
    if (sg_config.test_mode) {
        interface_slot = SG_READ(sg_test.interface_slot);
    } else {
        const struct sg_binding* binding = bpf_map_lookup_elem(&sg_ifindex, &ifindex);
        interface_slot = binding ? SG_READ(binding->interface_slot) : 0;
    }
    const __u32 length = sg_frame_length(context);
    struct sg_outcome outcome = {};
    __u32 reason = sg_established(context, length, interface_slot, direction, &outcome);
    if (reason == SG_REASON_NONE) {
        const struct sg_binding* binding =
            sg_config.test_mode ? 0 : bpf_map_lookup_elem(&sg_ifindex, &ifindex); /* held, it would cost stack */
        if (binding && SG_READ(binding->since) > sg_generation()) {
            reason = SG_REASON_ROLLED_BACK;
        } else {
            struct sg_packet packet = {};
            outcome.flow_slot = 0; /* of a flow that needs a second look */
            reason = (__u32)sg_judge_frame(context, &packet, interface_slot, direction, &outcome);
            if (reason == SG_REASON_NONE && (packet.flags & SG_PACKET_FRAGMENT_LATER)) {
                reason = (__u32)sg_judge_fragment(&packet, interface_slot, direction, &outcome);
            }
            if (reason == SG_REASON_NONE) {
                reason = (__u32)sg_judge_tracked(context, &packet, interface_slot, direction, &outcome);
            }
            if (reason == SG_REASON_NONE && sg_is_icmp_error(&packet)) {
                reason = (__u32)sg_judge_related(context, &packet, interface_slot, direction, &outcome);
            }
            if (reason == SG_REASON_NONE) {
                reason = (__u32)sg_judge_new(context, &packet, interface_slot, direction, &outcome);
            }
            if (reason == SG_REASON_TCP_NO_FLOW) {
                reason = (__u32)sg_judge_untracked(&packet, interface_slot, direction, &outcome);
            }
            if (reason < SG_REASON_NO_RULE && interface_slot != 0 && (packet.flags & SG_PACKET_FRAGMENT_FIRST)) {
                const __u32 kept = (__u32)sg_fragment_first(&packet, direction, &outcome);
                reason = kept == SG_REASON_FRAGMENT ? reason : kept;
            }
        }
        if (reason == SG_REASON_NONE || reason >= SG_REASON_MAX) {
            reason = SG_REASON_INTERNAL;
        }
    }
    SG_HIDE(reason);
    outcome.reason = reason;
    const enum sg_verdict verdict = reason < SG_REASON_NO_RULE ? SG_PASS : SG_DROP;
    if (sg_config.test_mode) {
        sg_test.outcome = outcome;
    }
    if (!sg_config.dry_run) {
        struct sg_counters* counters = bpf_map_lookup_elem(&sg_counters, &interface_slot);
        if (counters) {
            counters->packets[direction][reason & (SG_REASON_MAX - 1)]++;
            counters->bytes[direction][verdict] += length;
        }
    }
    if (sg_wants_event(interface_slot, reason)) {
        sg_emit(context, &outcome, interface_slot, direction);
    }
    return verdict;
}
