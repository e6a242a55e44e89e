/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is decided and why. Every way out of the pipeline has a reason of its own, counted per
 * interface and direction. Numbers are in users' dashboards: never reuse or renumber them.
 */
#pragma once

#include <sgbpf/abi/abi.h>

enum sg_verdict { SG_PASS = 0, SG_DROP = 1 };

/* X(number, SYMBOL, "name", verdict, "sentence") */
#define SG_REASONS(X)                                                                                                  \
    X(1, RULE, "rule", SG_PASS, "a rule admits it")                                                                    \
    X(2, TRACKED, "tracked", SG_PASS, "it belongs to a tracked flow")                                                  \
    X(3, EXEMPT, "unfiltered", SG_PASS, "traffic that groups never filter (SG-6.1)")                                   \
    X(4, RELATED, "related-icmp", SG_PASS, "an ICMP error about a tracked flow (SG-5.36)")                             \
    X(5, FRAGMENT, "fragment-context", SG_PASS, "a fragment of an admitted datagram (SG-5.54)")                        \
    X(6, ROLLED_BACK, "rolled-back", SG_PASS, "the apply that attached the device was undone: it passes as before")    \
    X(7, ADOPTED, "adopted", SG_PASS, "it was open before its device was attached (attach --adopt)")                   \
    X(16, NO_RULE, "no-rule", SG_DROP, "no rule of any group of the interface admits it (SG-4.4)")                     \
    X(17, SOURCE_DEST, "source-dest-check", SG_DROP, "the local address is not one of the interface (SG-1.32)")        \
    X(18, NOT_READY, "not-ready", SG_DROP, "no complete rule set is loaded for the interface (SG-13.3)")               \
    X(19, QUARANTINE, "quarantine", SG_DROP, "the interface is quarantined")                                           \
    X(20, NOT_IP, "not-ip", SG_DROP, "neither IP nor on the exempt list (SG-6.8)")                                     \
    X(21, TRUNCATED, "truncated", SG_DROP, "the frame is shorter than its headers say (SG-13.21)")                     \
    X(22, BAD_HEADER, "bad-header", SG_DROP, "an IP header field is impossible (SG-13.15)")                            \
    X(23, BAD_ADDRESS, "bad-address", SG_DROP, "source is multicast, loopback or unspecified (SG-13.15)")              \
    X(24, EXT_HEADERS, "extension-headers", SG_DROP, "too many or malformed IPv6 extension headers (SG-2.12)")         \
    X(25, VLAN, "vlan-tags", SG_DROP, "more VLAN tags than the interface looks through (SG-13.17)")                    \
    X(26, FRAGMENT_ALONE, "fragment-without-context", SG_DROP, "a fragment whose first one was not seen (SG-5.55)")    \
    X(27, FRAGMENT_TINY, "tiny-fragment", SG_DROP, "a first fragment too short for its transport header (SG-5.57)")    \
    X(28, NO_CAPACITY, "no-tracking-capacity", SG_DROP, "the flow needs an entry and there is none free (SG-5.46)")    \
    X(29, FLOW_BUSY, "flow-busy", SG_DROP, "the flow's entry was being rewritten on another CPU; retried in vain")     \
    X(30, EXEMPT_SENDER, "exempt-sender", SG_DROP, "ARP, ND or DHCP whose sender is not the interface (SG-6.6)")       \
    X(31, INTERNAL, "internal", SG_DROP, "an impossible state inside sgbpf: please report it")                         \
    X(32, OPENING_LIMIT, "opening-limit", SG_DROP, "the interface has too many unanswered flows (SG-5.52)")            \
    X(33, EXEMPT_RATE, "exempt-rate", SG_DROP, "more unfiltered traffic than the interface may have (SG-6.9)")         \
    X(34, SOURCE_MAC, "source-mac", SG_DROP, "the source MAC is not the interface's (SG-6.6)")                         \
    X(35, TCP_FLAGS, "tcp-flags", SG_DROP, "TCP flags that no stack sends (strict mode, SG-13.19)")                    \
    X(36, TCP_WINDOW, "tcp-window", SG_DROP, "a TCP segment outside the connection's window (strict mode, RFC 5961)")  \
    X(37, TCP_NO_FLOW, "tcp-without-connection", SG_DROP, "a TCP segment of no known connection (strict mode)")        \
    X(38, DHCP_SERVER, "dhcp-server", SG_DROP, "a guest may not serve DHCP (SG-6.5)")                                  \
    X(39, FRAGMENT_OVERLAP, "fragment-overlap", SG_DROP, "fragments of its datagram overlap (SG-5.58)")                \
    X(40, FRAGMENT_LIMIT, "fragment-limit", SG_DROP, "too many datagrams in fragments, or too scattered (SG-5.56)")

enum sg_reason {
    SG_REASON_NONE = 0,
#define SG_REASON_ENUM(number, symbol, name, verdict, sentence) SG_REASON_##symbol = number,
    SG_REASONS(SG_REASON_ENUM)
#undef SG_REASON_ENUM
        SG_REASON_MAX = 64,
};

/*
 * Value of sg_counters (per-CPU, indexed by interface slot; slot 0 counts devices without a binding).
 * packets[direction][reason]; bytes[direction][verdict], frame lengths as the hook sees them.
 */
struct sg_counters {
    __u64 packets[SG_DIRECTIONS][SG_REASON_MAX];
    __u64 bytes[SG_DIRECTIONS][2];
};
SG_ABI_SIZE(struct sg_counters, 1056);

/* Where the rule was found: the order in which a policy is asked (ARCHITECTURE.md, "Match"). */
enum sg_stage { SG_STAGE_NONE = 0, SG_STAGE_ANY, SG_STAGE_CIDR, SG_STAGE_LIST, SG_STAGE_GROUP };

/* Whether a packet that passes belongs to an entry, and if not, why not. */
enum sg_tracking {
    SG_TRACKING_NONE = 0,         /* dropped, or decided without rules and state */
    SG_TRACKING_FLOW = 1,         /* belongs to an entry that was there */
    SG_TRACKING_OPENED = 2,       /* opened an entry */
    SG_TRACKING_OPEN_RULES = 3,   /* not tracked: 0/0 rules in both directions admit it (SG-5.11..5.17) */
    SG_TRACKING_NO_OPENER = 4,    /* not tracked: this packet opens no flow (SG-5.8, 5.5, 13.19) */
    SG_TRACKING_GROUP_TARGET = 5, /* not tracked: to a multicast or broadcast address (SG-5.65) */
    SG_TRACKING_AH = 6,           /* not tracked: admitted by a rule about the authentication header */
    SG_TRACKING_ADOPTED = 7,      /* made an entry though it opens nothing (attach --adopt) */
};

/* What one run of a program decided. */
struct sg_outcome {
    __u64 generation; /* that the packet was judged by */
    __u32 reason;     /* enum sg_reason */
    __u32 rule;       /* slot of the rule that admits the packet or admitted its flow, 0 = none */
    __u32 flow_slot;  /* of the entry it belongs to or opened, 0 = none */
    __u8 tracking;    /* enum sg_tracking */
    __u8 stage;       /* enum sg_stage; 0 = rules were not asked, or none admits it */
    __u16 pad;
};
SG_ABI_SIZE(struct sg_outcome, 24);
