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
    X(31, INTERNAL, "internal", SG_DROP, "an impossible state inside sgbpf: please report it")

enum sg_reason {
    SG_REASON_NONE = 0,
#define SG_REASON_ENUM(number, symbol, name, verdict, sentence) SG_REASON_##symbol = number,
    SG_REASONS(SG_REASON_ENUM)
#undef SG_REASON_ENUM
        SG_REASON_MAX = 32,
};

/*
 * Value of sg_counters (per-CPU, indexed by interface slot; slot 0 counts devices without a binding).
 * packets[direction][reason]; bytes[direction][verdict], frame lengths as the hook sees them.
 */
struct sg_counters {
    __u64 packets[SG_DIRECTIONS][SG_REASON_MAX];
    __u64 bytes[SG_DIRECTIONS][2];
};
SG_ABI_SIZE(struct sg_counters, 544);
