/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tracked flows. sg_flow_index (HASH, preallocated) maps a key to a slot of sg_flows (ARRAY): the
 * HASH arbitrates uniqueness with BPF_NOEXIST, the flat records are what is read, swept and shown.
 */
#pragma once

#include <sgbpf/abi/abi.h>

/*
 * Normalised by side, not by direction: local = the workload's end, so one lookup serves both.
 *
 *   offset size
 *        0   16  local: address, wire order; IPv4 in the first 4 bytes, rest 0
 *       16   16  remote
 *       32    2  local_port: wire order; ICMP query: identifier; other protocols: 0
 *       34    2  remote_port: wire order; ICMP query: SG_ICMP_KEY(class, asker); other protocols: 0
 *       36    2  interface_slot
 *       38    1  protocol: IP protocol number of the upper layer
 *       39    1  family: enum sg_family
 */
struct sg_flow_key {
    __u8 local[16];
    __u8 remote[16];
    __be16 local_port;
    __be16 remote_port;
    __u16 interface_slot;
    __u8 protocol;
    __u8 family;
};
SG_ABI_SIZE(struct sg_flow_key, 40);
SG_ABI_OFFSET(struct sg_flow_key, interface_slot, 36);

/* remote_port of an ICMP query flow (host order number, stored as is): request type, and who asked. */
#define SG_ICMP_KEY(request_type, asked_by_local) ((__u16)((request_type) | ((asked_by_local) ? 0x100 : 0)))

/* The idle timer that applies is a function of the state alone; see bpf/flow_state.h. */
enum sg_flow_state {
    SG_FLOW_FREE = 0,             /* on the free list, or being freed */
    SG_FLOW_BUSY = 1,             /* one CPU is (re)writing the record: treat as absent, try again */
    SG_FLOW_SYN_SENT = 2,         /* TCP: opener's SYN seen */
    SG_FLOW_SYN_RECEIVED = 3,     /* TCP: answered by SYN-ACK, or SYNs crossed (SG-5.62) */
    SG_FLOW_ESTABLISHED = 4,      /* TCP: opener acknowledged the answer */
    SG_FLOW_FIN_WAIT = 5,         /* TCP: FIN from the opener only */
    SG_FLOW_CLOSE_WAIT = 6,       /* TCP: FIN from the other side only */
    SG_FLOW_TIME_WAIT = 7,        /* TCP: FIN from both sides */
    SG_FLOW_RESET = 8,            /* TCP: RST seen */
    SG_FLOW_UDP_ASKED = 9,        /* UDP: opener's datagrams only */
    SG_FLOW_UDP_ANSWERED = 10,    /* UDP: answered once */
    SG_FLOW_UDP_ASKED_AGAIN = 11, /* UDP: a request after the answer */
    SG_FLOW_UDP_STREAM = 12,      /* UDP: second reply after a second request (SG-5.32) */
    SG_FLOW_ICMP = 13,            /* ICMP query */
    SG_FLOW_OTHER = 14,           /* any other protocol (SG-5.4) */
    SG_FLOW_FRAGMENT = 15,        /* no flow: a datagram whose first fragment passed (SG-5.54) */
    SG_FLOW_STATES = 16,
};

/* A flow is opening until the other side has answered: TCP until the handshake is complete. */
enum sg_flow_tier { SG_TIER_NONE = 0, SG_TIER_OPENING = 1, SG_TIER_ESTABLISHED = 2, SG_TIER_FRAGMENT = 3 };

/* Which count of struct sg_account the record was charged to, and goes back to. */
enum sg_flow_budget { SG_BUDGET_NONE = 0, SG_BUDGET_POOL = 1, SG_BUDGET_RESERVED = 2 };

/*
 * The state word, one u64, changed only by compare-and-exchange:
 *   bits  0..7  state      bits  8..15 tier      bits 16..23 budget charged
 *   bits 24..31 flags      bits 32..63 incarnation of the slot
 */
#define SG_WORD_STATE(word) ((__u8)(word))
#define SG_WORD_TIER(word) ((__u8)((word) >> 8))
#define SG_WORD_BUDGET(word) ((__u8)((word) >> 16))
#define SG_WORD_FLAGS(word) ((__u8)((word) >> 24))
#define SG_WORD_INCARNATION(word) ((__u32)((word) >> 32))

enum sg_flow_flags {
    SG_FLOW_OPENED_OUT = 1 << 0, /* opened by the workload; clear = opened from outside */
    SG_FLOW_ADOPTED = 1 << 1,    /* was open before its device was attached (attach --adopt) */
    SG_FLOW_WINDOWS = 1 << 2,    /* opened under SG_IF_STRICT: its sequence numbers are known from the SYN on */
    SG_FLOW_LOCKED = 1 << 3,     /* of a datagram's context: one CPU changes its ranges */
};

/*
 * A record is two cache lines: the first decides, the second accounts.
 *
 *   offset size
 *        0   40  key
 *       40    8  word: see above
 *       48    4  last_seen: ticks, low 32 bits (sg_control.ticks_per_second)
 *       52    4  epoch: of the interface when the flow was last judged
 *       56    4  rule: slot of the rule that admitted the flow
 *       60    1  icmp_type   ) of the packet that opened the flow,
 *       61    1  icmp_code   ) to judge it again later
 *       62    2  pad
 *       64   32  packets, bytes: [0] from the opener, [1] towards it
 *       96   16  sequence: TCP, [0] of the opener, [1] of the other side: SG_SEQUENCE(end of what it sent,
 *                what it acknowledged last), host order; 0 = nothing seen
 *      112    4  created: ticks, low 32 bits
 *      116    4  window: the largest that each side offered, in units of its scale
 *      120    2  scale: of each side; enum sg_scale_flags
 *      122    6  pad
 */
#define SG_SEQUENCE(end, acknowledged) ((__u64)(acknowledged) << 32 | (__u32)(end))
#define SG_SEQUENCE_END(sequence) ((__u32)(sequence))
#define SG_SEQUENCE_ACKNOWLEDGED(sequence) ((__u32)((sequence) >> 32))
enum sg_scale_flags {
    SG_SCALE_MASK = 0x0f,
    SG_SCALE_OFFERED = 0x40,      /* its SYN had the option (RFC 7323 2.2) */
    SG_SCALE_ACKNOWLEDGED = 0x80, /* it has acknowledged something: the high half of `sequence` holds */
};

struct sg_flow {
    struct sg_flow_key key;
    __u64 word;
    __u32 last_seen;
    __u32 epoch;
    __u32 rule;
    __u8 icmp_type;
    __u8 icmp_code;
    __u16 pad0;
    __u64 packets[2];
    __u64 bytes[2];
    __u64 sequence[2];
    __u32 created;
    __u16 window[2];
    __u8 scale[2];
    __u8 pad1[6];
};
SG_ABI_SIZE(struct sg_flow, 128);
SG_ABI_OFFSET(struct sg_flow, word, 40);
SG_ABI_OFFSET(struct sg_flow, packets, 64);
SG_ABI_OFFSET(struct sg_flow, sequence, 96);
SG_ABI_OFFSET(struct sg_flow, created, 112);

/*
 * A record of state SG_FLOW_FRAGMENT is the context of a datagram. Its key has the datagram's id in the ports and
 * SG_FAMILY_FRAGMENT in the family; at offset 64, in place of counters and sequence numbers, stands which of its
 * bytes have passed.
 */
#define SG_FAMILY_FRAGMENT(direction) (0x10u << (direction))
#define SG_FRAGMENT_RANGES 11
struct sg_fragment_ranges {
    struct {
        __u16 first; /* [first, last), in any order; last == 0: unused */
        __u16 last;
    } range[SG_FRAGMENT_RANGES];
    __u16 total;  /* bytes of the datagram; 0 = its last fragment was not seen */
    __u16 spoilt; /* fragments overlapped: nothing more of it passes (SG-5.58) */
};
SG_ABI_SIZE(struct sg_fragment_ranges, 48);
/* Most contexts of an interface (SG-5.56), and their age at most: SG-5.56 allows 30 and 60 s. */
#define SG_MAX_FRAGMENTS 256
#define SG_SECONDS_FRAGMENT 15

/*
 * sg_flow_hints (ARRAY of u64): where the record of a key probably is, {tag:32, slot:32}, 0 = no idea. Written
 * by any CPU as one word, believed by none: the record's own key decides, and sg_flow_index knows what a hint
 * has forgotten. It saves most packets two of the hash's cache lines and its function.
 */
#define SG_HINT(tag, slot) ((__u64)(tag) << 32 | (slot))
#define SG_HINT_TAG(hint) ((__u32)((hint) >> 32))
#define SG_HINT_SLOT(hint) ((__u32)(hint))
/* Hints per flow slot; with the next power of two above it. 16 to 32 bytes a flow. */
#define SG_HINTS_PER_FLOW 2

/* Idle timers without an API name, seconds (SG-5 table 5.5). */
#define SG_SECONDS_SYN_SENT 120
#define SG_SECONDS_SYN_RECEIVED 60
#define SG_SECONDS_FIN_WAIT 120
#define SG_SECONDS_CLOSE_WAIT 60
#define SG_SECONDS_TIME_WAIT 120
#define SG_SECONDS_RESET 10
#define SG_SECONDS_ICMP 30
#define SG_SECONDS_OTHER 600

/* What `sg_reap` (BPF_PROG_TEST_RUN) is asked for, as the test packet after 14 bytes of zeros: end these flows. */
#define SG_REAP_ITEMS 256
struct sg_reap_request {
    __u32 count;
    __u32 removed; /* out */
    struct {
        __u32 slot;
        __u32 incarnation; /* of the record when it was read: another flow's is left alone */
    } item[SG_REAP_ITEMS];
};
SG_ABI_SIZE(struct sg_reap_request, 8 + 8 * SG_REAP_ITEMS);
