/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: strict mode off the fast path. Reads the TCP header once more, judges it by bpf/tcp_window.h and keeps what
 * it shows in the record.
 *
 * sequence[side] changes by compare-and-exchange of the whole word, so that neither half goes back when two CPUs
 * handle one direction. window and scale only grow or are set once, by plain stores: a lost store is made good by
 * the side's next segment.
 */
#pragma once

#include "bpf/flow_table.h"
#include "bpf/parse.h"
#include "bpf/tcp_window.h"

#define SG_TCP_OPTIONS 8 /* of a SYN that are looked at; real stacks send the scale as the fifth at the latest */
#define SG_SEQUENCE_TRIES 8

/* A TCP header from its sequence number on (RFC 9293 3.1); stack is short here. */
struct sg_tcp_rest {
    __be32 sequence;
    __be32 acknowledgement;
    __u8 offset_reserved;
    __u8 flags;
    __be16 window;
};

/* The window scale option of a SYN (RFC 7323 2.2): SG_SCALE_OFFERED | shift, or 0. */
SG_INLINE __u8 sg_tcp_scale(sg_context* context, __u32 offset, __u32 end) {
    for (int i = 0; i < SG_TCP_OPTIONS; i++) {
        __u8 option[3] = {};
        if (offset + 3 > end || sg_context_load(context, offset, option, sizeof(option)) < 0 || option[0] == 0) {
            return 0;
        }
        if (option[0] == 3) {
            return SG_SCALE_OFFERED | (option[2] > 14 ? 14 : option[2]);
        }
        offset += option[0] == 1 ? 1 : option[1] < 2 ? 40 : option[1];
    }
    return 0;
}

SG_INLINE void sg_tcp_keep(struct sg_flow* flow, int side, __u8 state, const struct sg_segment* segment) {
    __u8* scale = side ? &flow->scale[1] : &flow->scale[0];
    __u16* window = side ? &flow->window[1] : &flow->window[0];
    __u64* sequence = side ? &flow->sequence[1] : &flow->sequence[0];
    if (segment->flags & SG_TCP_SYN) {
        if (state == SG_FLOW_SYN_SENT) {
            SG_WRITE(*scale, (__u8)(segment->scale | ((segment->flags & SG_TCP_ACK) ? SG_SCALE_ACKNOWLEDGED : 0)));
            SG_WRITE(*window, sg_window_of_syn(segment->window, segment->scale));
            SG_WRITE(*sequence, SG_SEQUENCE(segment->end, segment->acknowledgement));
        }
        return;
    }
    const __u8 known = SG_READ(*scale);
    if (segment->window > SG_READ(*window)) {
        SG_WRITE(*window, segment->window);
    }
    for (int i = 0; i < SG_SEQUENCE_TRIES; i++) {
        const __u64 seen = SG_READ(*sequence);
        const __u64 next = sg_sequence_after(seen, known, segment);
        if (next == seen || __sync_val_compare_and_swap(sequence, seen, next) == seen) {
            break;
        }
    }
    if ((segment->flags & SG_TCP_ACK) && !(known & SG_SCALE_ACKNOWLEDGED)) {
        SG_WRITE(*scale, known | SG_SCALE_ACKNOWLEDGED); /* after what it vouches for */
    }
}

#define SG_SIDE_UNCHECKED 2u
/*
 * Judges a segment of the flow in `slot`, sent by the opener (side 0) or the other side (1); returns an enum
 * sg_segment_verdict. Flows whose SYN was not seen in strict mode, and those of SG_SIDE_UNCHECKED (the mode is normal
 * now), are taken as they come, and remembered as the fast path does.
 */
SG_GLOBAL int sg_tcp_segment(sg_context* context, const struct sg_packet* packet, __u32 slot, __u32 incarnation,
                             __u32 side_and_mode) {
    const __u32 side = side_and_mode & 1;
    struct sg_flow* flow = sg_flow_at(slot);
    struct sg_tcp_rest tcp = {};
    if (!packet || !flow || sg_context_load(context, packet->transport_offset + 4u, &tcp, sizeof(tcp)) < 0) {
        return SG_SEGMENT_OUT;
    }
    const __u64 word = SG_READ(flow->word);
    const __u8 state = SG_WORD_STATE(word);
    if (SG_WORD_INCARNATION(word) != incarnation) {
        return SG_SEGMENT_FITS; /* another flow's by now: who changes the state finds out */
    }
    const __u32 header = (__u32)(tcp.offset_reserved >> 4) * 4;
    struct sg_segment segment = {
        .sequence = sg_ntohl(tcp.sequence),
        .acknowledgement = tcp.flags & SG_TCP_ACK ? sg_ntohl(tcp.acknowledgement) : 0,
        .window = sg_ntohs(tcp.window),
        .flags = tcp.flags,
    };
    const __u32 data = packet->transport_bytes > header ? packet->transport_bytes - header : 0;
    segment.end = segment.sequence + data + ((tcp.flags & SG_TCP_SYN) != 0) + ((tcp.flags & SG_TCP_FIN) != 0);
    if ((side_and_mode & SG_SIDE_UNCHECKED) || !(SG_WORD_FLAGS(word) & SG_FLOW_WINDOWS)) {
        if ((tcp.flags & (SG_TCP_SYN | SG_TCP_RST | SG_TCP_ACK)) == SG_TCP_ACK && !sg_config.dry_run) {
            __u64* sequence = side ? &flow->sequence[1] : &flow->sequence[0];
            SG_WRITE(*sequence, SG_SEQUENCE(segment.end, segment.acknowledgement));
        }
        return sg_is_taken_over(word, tcp.flags) ? SG_SEGMENT_NEW : SG_SEGMENT_FITS;
    }
    if (tcp.flags & SG_TCP_SYN) {
        segment.scale = sg_tcp_scale(context, packet->transport_offset + 20u, packet->transport_offset + header);
    }
    const struct sg_tcp_sides sides = {
        .sequence = {SG_READ(flow->sequence[0]), SG_READ(flow->sequence[1])},
        .window = {SG_READ(flow->window[0]), SG_READ(flow->window[1])},
        .scale = {SG_READ(flow->scale[0]), SG_READ(flow->scale[1])},
    };
    if (packet->flags & SG_PACKET_FRAGMENT_FIRST) { /* the rest brings no header: it may fill the window */
        const __u64 other = side ? sides.sequence[0] : sides.sequence[1];
        const __u32 most = SG_SEQUENCE_ACKNOWLEDGED(other) + sg_window_bytes(&sides, side == 0);
        segment.end = sg_after(most, segment.end) ? most : segment.end;
    }
    /* The SYN that opened the flow: nothing is known to hold it against. */
    const enum sg_segment_verdict verdict =
        sides.sequence[0] == 0 ? SG_SEGMENT_FITS : sg_judge_segment(&sides, side != 0, state, &segment);
    if (verdict <= SG_SEGMENT_HOLDS && !sg_config.dry_run) {
        sg_tcp_keep(flow, side != 0, state, &segment);
    }
    return verdict;
}
