/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pure: the state machine of a flow and the idle timer of each state (SG-5, table 5.5). No clock, no
 * map: the caller passes what was seen and stores what comes back.
 */
#pragma once

#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/interface.h>

#include "bpf/compiler.h"
#include "bpf/packet.h"

/* Flag combinations no stack sends (SG-13.19): they never open, promote or close. */
SG_INLINE int sg_tcp_flags_sane(__u8 flags) {
    const __u8 control = flags & (SG_TCP_FIN | SG_TCP_SYN | SG_TCP_RST | SG_TCP_ACK | SG_TCP_PSH | SG_TCP_URG);
    if (control == 0 || control == SG_TCP_FIN) {
        return 0;
    }
    return !((control & SG_TCP_SYN) && (control & (SG_TCP_FIN | SG_TCP_RST)));
}

/* SG-5.8: SYN set; ACK, RST and FIN clear. */
SG_INLINE int sg_tcp_opens(__u8 flags) {
    return (flags & (SG_TCP_SYN | SG_TCP_ACK | SG_TCP_RST | SG_TCP_FIN)) == SG_TCP_SYN;
}

SG_INLINE int sg_flow_is_live(__u8 state) {
    return state >= SG_FLOW_SYN_SENT;
}

/* A closing TCP flow whose tuple a new SYN may take over (SG-5.63). */
SG_INLINE int sg_flow_is_closing(__u8 state) {
    return state >= SG_FLOW_FIN_WAIT && state <= SG_FLOW_RESET;
}

/* State of the flow that this packet opens. */
SG_INLINE __u8 sg_flow_first(__u8 protocol) {
    switch (protocol) {
        case SG_PROTO_TCP:
            return SG_FLOW_SYN_SENT;
        case SG_PROTO_UDP:
            return SG_FLOW_UDP_ASKED;
        case SG_PROTO_ICMP:
        case SG_PROTO_ICMPV6:
            return SG_FLOW_ICMP;
        default:
            return SG_FLOW_OTHER;
    }
}

SG_INLINE __u8 sg_state_if(int condition, __u8 then, __u8 otherwise) {
    return condition ? then : otherwise;
}

/* TCP after a segment with `flags`, from the opener or from the other side. */
SG_INLINE __u8 sg_tcp_next(__u8 state, int from_opener, __u8 flags) {
    if (!sg_tcp_flags_sane(flags)) {
        return state;
    }
    if (flags & SG_TCP_RST) {
        return SG_FLOW_RESET; /* a plausible tuple is enough in normal mode (SG-5.10) */
    }
    switch (state) {
        case SG_FLOW_SYN_SENT: /* one-sided traffic never promotes (SG-5.44) */
            return sg_state_if(!from_opener && (flags & SG_TCP_SYN), SG_FLOW_SYN_RECEIVED, state);
        case SG_FLOW_SYN_RECEIVED:
            if (flags & SG_TCP_FIN) {
                return from_opener ? SG_FLOW_FIN_WAIT : SG_FLOW_CLOSE_WAIT;
            }
            return sg_state_if(from_opener && (flags & SG_TCP_ACK), SG_FLOW_ESTABLISHED, state);
        case SG_FLOW_ESTABLISHED:
            if (flags & SG_TCP_FIN) {
                return from_opener ? SG_FLOW_FIN_WAIT : SG_FLOW_CLOSE_WAIT;
            }
            return state;
        case SG_FLOW_FIN_WAIT:
            return sg_state_if(!from_opener && (flags & SG_TCP_FIN), SG_FLOW_TIME_WAIT, state);
        case SG_FLOW_CLOSE_WAIT:
            return sg_state_if(from_opener && (flags & SG_TCP_FIN), SG_FLOW_TIME_WAIT, state);
        default:
            return state;
    }
}

/* State after a packet of the flow. A stream is the second reply after a second request (SG-5.32). */
SG_INLINE __u8 sg_flow_next(__u8 state, int from_opener, __u8 tcp_flags) {
    if (state <= SG_FLOW_RESET) {
        return sg_tcp_next(state, from_opener, tcp_flags);
    }
    switch (state) {
        case SG_FLOW_UDP_ASKED:
            return sg_state_if(from_opener, state, SG_FLOW_UDP_ANSWERED);
        case SG_FLOW_UDP_ANSWERED:
            return sg_state_if(from_opener, SG_FLOW_UDP_ASKED_AGAIN, state);
        case SG_FLOW_UDP_ASKED_AGAIN:
            return sg_state_if(from_opener, state, SG_FLOW_UDP_STREAM);
        default:
            return state;
    }
}

/* Idle timeout of a state, seconds. */
SG_INLINE __u32 sg_flow_seconds(__u8 state, const struct sg_interface_config* config) {
    switch (state) {
        case SG_FLOW_ESTABLISHED:
            return config->tcp_established;
        case SG_FLOW_SYN_SENT:
            return SG_SECONDS_SYN_SENT;
        case SG_FLOW_SYN_RECEIVED:
            return SG_SECONDS_SYN_RECEIVED;
        case SG_FLOW_FIN_WAIT:
            return SG_SECONDS_FIN_WAIT;
        case SG_FLOW_CLOSE_WAIT:
            return SG_SECONDS_CLOSE_WAIT;
        case SG_FLOW_TIME_WAIT:
            return SG_SECONDS_TIME_WAIT;
        case SG_FLOW_RESET:
            return SG_SECONDS_RESET;
        case SG_FLOW_UDP_ASKED:
        case SG_FLOW_UDP_ANSWERED:
        case SG_FLOW_UDP_ASKED_AGAIN:
            return config->udp;
        case SG_FLOW_UDP_STREAM:
            return config->udp_stream;
        case SG_FLOW_ICMP:
            return SG_SECONDS_ICMP;
        case SG_FLOW_FRAGMENT:
            return SG_SECONDS_FRAGMENT;
        default:
            return SG_SECONDS_OTHER;
    }
}

/*
 * Expired means absent, whether the sweeper has been there or not (SG-5.35): idle > timeout. Ticks
 * wrap (32 bits at 1000 Hz: 49 days); the sweeper visits every record long before.
 */
SG_INLINE int sg_flow_expired(__u32 now, __u32 last_seen, __u32 seconds, __u32 ticks_per_second) {
    return now - last_seen > seconds * ticks_per_second && (__s32)(now - last_seen) > 0;
}
