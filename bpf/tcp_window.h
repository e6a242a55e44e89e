/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pure: may this TCP segment belong to the connection? RFC 9293 3.10.7.4 and RFC 5961 as an observer in the middle
 * can check them: by the end of what each side sent, what it acknowledged and the largest window it offered.
 * SACK (RFC 2018) needs nothing of its own: it moves neither the cumulative acknowledgement nor the window, and
 * what is sent again lies below the end.
 *
 * A side's knowledge is complete from its first acknowledgement on (SG_SCALE_ACKNOWLEDGED).
 */
#pragma once

#include <sgbpf/abi/flow.h>

#include "bpf/compiler.h"
#include "bpf/packet.h"

/* A segment, host byte order. `end` = sequence number behind its data, SYN and FIN. */
struct sg_segment {
    __u32 sequence;
    __u32 end;
    __u32 acknowledgement;
    __u16 window; /* as in the header */
    __u8 flags;
    __u8 scale; /* SYN with the option: SG_SCALE_OFFERED | shift */
};

enum sg_segment_verdict {
    SG_SEGMENT_FITS = 0,  /* passes, and moves the state */
    SG_SEGMENT_HOLDS = 1, /* passes; is no proof that the opener received the answer */
    SG_SEGMENT_QUIET = 2, /* passes and changes nothing: the receiver answers by a challenge (RFC 5961) */
    SG_SEGMENT_OUT = 3,   /* cannot be of this connection */
    SG_SEGMENT_NEW = 4,   /* opens the next connection on the same ports (SG-5.63) */
};

/* What both sides of a flow have shown. [0] = opener; a copy, or the record. */
struct sg_tcp_sides {
    __u64 sequence[2];
    __u16 window[2];
    __u8 scale[2];
};

/* Acknowledgements older than this below the newest data are stale whatever the windows (a path full of old ones). */
#define SG_ACK_SLACK 66000u
/* Data in a SYN (RFC 7413), which the answer need not acknowledge. */
#define SG_SYN_DATA 1500u

SG_INLINE int sg_after(__u32 a, __u32 b) {
    return (__s32)(a - b) > 0;
}

SG_INLINE __u32 sg_window_bytes(const struct sg_tcp_sides* sides, int side) {
    const __u32 both = sides->scale[0] & sides->scale[1] & SG_SCALE_OFFERED;
    return (__u32)(side ? sides->window[1] : sides->window[0])
           << (both ? (side ? sides->scale[1] : sides->scale[0]) & SG_SCALE_MASK : 0);
}

/* Data, acknowledgements, FIN: in the window that the other side offered, acknowledging what it sent. */
SG_INLINE int sg_in_window(const struct sg_tcp_sides* sides, int side, const struct sg_segment* segment) {
    const __u64 own = side ? sides->sequence[1] : sides->sequence[0];
    const __u64 other = side ? sides->sequence[0] : sides->sequence[1];
    const __u8 other_scale = side ? sides->scale[0] : sides->scale[1];
    const __u32 room = sg_window_bytes(sides, !side);
    const __u32 offered = sg_window_bytes(sides, side);
    const __u32 slack = offered > SG_ACK_SLACK ? offered : SG_ACK_SLACK;
    if ((other_scale & SG_SCALE_ACKNOWLEDGED) && sg_after(segment->sequence, SG_SEQUENCE_ACKNOWLEDGED(other) + room)) {
        return 0;
    }
    return sg_after(segment->end, SG_SEQUENCE_END(own) - room - 1) &&
           !sg_after(segment->acknowledgement, SG_SEQUENCE_END(other)) &&
           sg_after(segment->acknowledgement, SG_SEQUENCE_END(other) - slack - 1);
}

SG_INLINE enum sg_segment_verdict sg_judge_reset(const struct sg_tcp_sides* sides, int side, __u8 state,
                                                 const struct sg_segment* segment) {
    const __u64 own = side ? sides->sequence[1] : sides->sequence[0];
    const __u64 other = side ? sides->sequence[0] : sides->sequence[1];
    const __u8 other_scale = side ? sides->scale[0] : sides->scale[1];
    if (state == SG_FLOW_SYN_SENT && side == 1) {
        /* Refused: the reset acknowledges the SYN (RFC 9293 3.10.7.3). */
        return (segment->flags & SG_TCP_ACK) && segment->acknowledgement == SG_SEQUENCE_END(other) ? SG_SEGMENT_FITS
                                                                                                   : SG_SEGMENT_OUT;
    }
    if (segment->sequence == SG_SEQUENCE_END(own)) {
        return SG_SEGMENT_FITS;
    }
    if (!(other_scale & SG_SCALE_ACKNOWLEDGED)) {
        return SG_SEGMENT_OUT;
    }
    const __u32 next = SG_SEQUENCE_ACKNOWLEDGED(other);
    if (segment->sequence == next) {
        return SG_SEGMENT_FITS;
    }
    return sg_after(segment->sequence, next) && !sg_after(segment->sequence, next + sg_window_bytes(sides, !side))
               ? SG_SEGMENT_QUIET
               : SG_SEGMENT_OUT; /* RFC 5961 3.2 */
}

SG_INLINE enum sg_segment_verdict sg_judge_syn(const struct sg_tcp_sides* sides, int side, __u8 state,
                                               const struct sg_segment* segment) {
    const __u64 own = side ? sides->sequence[1] : sides->sequence[0];
    const __u64 other = side ? sides->sequence[0] : sides->sequence[1];
    const int answers = (segment->flags & SG_TCP_ACK) != 0;
    if (state == SG_FLOW_SYN_SENT) {
        if (side == 0) {
            return answers ? SG_SEGMENT_OUT : SG_SEGMENT_FITS; /* again, or tried again with another number */
        }
        return !answers || SG_SEQUENCE_END(other) - segment->acknowledgement <= SG_SYN_DATA ? SG_SEGMENT_FITS
                                                                                            : SG_SEGMENT_OUT;
    }
    if (segment->end == SG_SEQUENCE_END(own) || (answers && sg_in_window(sides, side, segment))) {
        /* Sent again; or the SYN-ACK of SYNs that crossed (SG-5.62), which acknowledges the other's. */
        return answers && state == SG_FLOW_SYN_RECEIVED && segment->acknowledgement == SG_SEQUENCE_END(other)
                   ? SG_SEGMENT_FITS
                   : SG_SEGMENT_QUIET;
    }
    if (answers) {
        return SG_SEGMENT_OUT;
    }
    if (state == SG_FLOW_RESET || (state == SG_FLOW_TIME_WAIT && sg_after(segment->sequence, SG_SEQUENCE_END(own)))) {
        return SG_SEGMENT_NEW; /* RFC 9293 3.6.1 */
    }
    return SG_SEGMENT_QUIET; /* RFC 5961 4.2 */
}

/* Strict mode. The flow's sequence numbers are known from its SYN on (SG_FLOW_WINDOWS). */
SG_INLINE enum sg_segment_verdict sg_judge_segment(const struct sg_tcp_sides* sides, int side, __u8 state,
                                                   const struct sg_segment* segment) {
    if (segment->flags & SG_TCP_SYN) {
        return sg_judge_syn(sides, side, state, segment);
    }
    if (segment->flags & SG_TCP_RST) {
        return sg_judge_reset(sides, side, state, segment);
    }
    const __u64 other = side ? sides->sequence[0] : sides->sequence[1];
    if (state == SG_FLOW_SYN_SENT || !sg_in_window(sides, side, segment)) {
        return SG_SEGMENT_OUT; /* nothing but a SYN comes before the answer */
    }
    return state == SG_FLOW_SYN_RECEIVED && segment->acknowledgement != SG_SEQUENCE_END(other) ? SG_SEGMENT_HOLDS
                                                                                               : SG_SEGMENT_FITS;
}

/* The sequence word of a side after a segment of it that passed; neither half goes back. */
SG_INLINE __u64 sg_sequence_after(__u64 own, __u8 own_scale, const struct sg_segment* segment) {
    const int known = own != 0;
    const __u32 end = known && !sg_after(segment->end, SG_SEQUENCE_END(own)) ? SG_SEQUENCE_END(own) : segment->end;
    __u32 acknowledged = SG_SEQUENCE_ACKNOWLEDGED(own);
    if ((segment->flags & SG_TCP_ACK) &&
        (!(own_scale & SG_SCALE_ACKNOWLEDGED) || sg_after(segment->acknowledgement, acknowledged))) {
        acknowledged = segment->acknowledgement;
    }
    return SG_SEQUENCE(end, acknowledged);
}

/* A window as it is kept: in units of the side's scale, rounded up. SYNs are never scaled (RFC 7323 2.2). */
SG_INLINE __u16 sg_window_of_syn(__u16 window, __u8 scale) {
    const __u8 shift = scale & SG_SCALE_MASK;
    return (__u16)((window >> shift) + (shift != 0));
}
