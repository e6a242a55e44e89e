/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Verdicts as they happen: records in the ring buffer sg_events, for `sgbpf monitor`.
 *
 * The packet path writes them only while sg_control.monitor asks for them, and at most
 * SG_EVENTS_PER_SECOND a second and CPU: the rate is looked at before anything is reserved, so that a
 * flood costs the packet path next to nothing. What was wanted and not written is counted in
 * sg_event_counts.lost.
 */
#pragma once

#include <sgbpf/abi/flow.h>

/*
 * sg_control.monitor, one word: bits 0..15 what (enum sg_monitor), 16..31 interface slot (0 = all),
 * 32..63 until: ticks, low 32 bits. The listener moves `until` ahead while it lives; the first packet after
 * the death of one that was killed clears its word.
 */
enum sg_monitor {
    SG_MONITOR_DROPS = 1 << 0,
    SG_MONITOR_PASSES = 1 << 1,  /* decided by rules or the exempt list; first packets of flows */
    SG_MONITOR_TRACKED = 1 << 2, /* every packet of tracked flows */
    SG_MONITOR_CLAIMED = 1 << 3, /* nothing: the ring has a listener, which only reads what is there */
};
#define SG_MONITOR_WHAT(word) ((__u16)(word))
#define SG_MONITOR_SLOT(word) ((__u16)((word) >> 16))
#define SG_MONITOR_UNTIL(word) ((__u32)((word) >> 32))
/* A listener looks seconds ahead; what is further away is in the past, or from before the ticks wrapped. */
#define SG_MONITOR_SECONDS_AHEAD 60
#define SG_MONITOR_LISTENS(word, now, ticks_per_second)                                                                \
    ((word) != 0 && SG_MONITOR_UNTIL(word) - (__u32)(now) <= SG_MONITOR_SECONDS_AHEAD * (ticks_per_second))

/* Events a second and CPU: each costs a second parse and a record. */
#define SG_EVENTS_PER_SECOND 32768
/* Bytes of the ring. Nobody is woken up: the listener looks every few milliseconds. */
#define SG_EVENT_RING_BYTES (4u << 20)

#define SG_EVENT_VERSION 1

/*
 *   offset size
 *        0    8  time: CLOCK_MONOTONIC, nanoseconds
 *        8    8  generation in force when it was judged; 0 = there was none
 *       16   40  key: addresses and ports by side, interface slot, protocol; zero where the frame has none
 *       56    4  length of the frame, bytes
 *       60    4  rule slot, 0 = none
 *       64    4  flow slot, 0 = none
 *       68    2  version: SG_EVENT_VERSION
 *       70    1  reason: enum sg_reason
 *       71    1  direction: enum sg_direction
 *       72    1  tracking: enum sg_tracking
 *       73    1  tcp_flags
 *       74    2  icmp_type, icmp_code
 *       76    1  packet_flags: enum sg_packet_flags of bpf/packet.h (ARP, fragment, aggregate)
 *       77    3  pad
 */
struct sg_event {
    __u64 time;
    __u64 generation;
    struct sg_flow_key key;
    __u32 length;
    __u32 rule;
    __u32 flow_slot;
    __u16 version;
    __u8 reason;
    __u8 direction;
    __u8 tracking;
    __u8 tcp_flags;
    __u8 icmp_type;
    __u8 icmp_code;
    __u8 packet_flags;
    __u8 pad[3];
};
SG_ABI_SIZE(struct sg_event, 80);
SG_ABI_OFFSET(struct sg_event, version, 68);

/* Value of sg_event_counts (per CPU): what this CPU wrote lately, and ever. */
struct sg_event_counts {
    __u64 since; /* ticks: when the current quarter of a second began */
    __u64 used;  /* since then */
    __u64 written;
    __u64 lost; /* over the rate, or the ring was full */
};
SG_ABI_SIZE(struct sg_event_counts, 32);
