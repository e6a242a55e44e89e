/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A protected interface (an ENI, SG-1.23) as the packet path reads it. The device is found through
 * sg_ifindex (ifindex -> interface slot, one such map per network namespace); all namespaces share
 * the interface records.
 */
#pragma once

#include <sgbpf/abi/policy.h>
#include <sgbpf/abi/version.h>

enum sg_interface_flags {
    SG_IF_READY = 1 << 0,        /* complete rule set loaded; clear = drop all but the exempt list (SG-13.3) */
    SG_IF_SOURCE_CHECK = 1 << 1, /* source/dest check (SG-1.32) */
    SG_IF_QUARANTINE = 1 << 2,   /* drop everything, the exempt list included */
    SG_IF_MAC = 1 << 3,          /* `mac` is set: the source MAC of every frame sent is checked (SG-6.6) */
    SG_IF_STRICT = 1 << 4,       /* TCP sequence windows are checked; only flows admit segments (SG-5.9) */
    SG_IF_ALWAYS_TRACK = 1 << 5, /* no flow is untracked (SG-5.19) */
    SG_IF_HOST = 1 << 6,         /* role host: a machine that may serve DHCP, not a guest */
    SG_IF_SERVICES = 1 << 7,     /* its VPC has rows of SG_SCOPE_SERVICE */
    SG_IF_TRACK_PEERS = 1 << 8,  /* it has rows of SG_SCOPE_ALWAYS_TRACK */
    SG_IF_UNRELATED = 1 << 9,    /* ICMP errors are judged by the rules alone (SG-5.36 switched off) */
};

/*
 * One complete configuration. `epoch` changes whenever flows must be looked at again; a flow with another
 * epoch passes the source/dest check again. Epochs are low bits of generations, compared modulo 2^32. Flows
 * last judged before recheck_since must be admitted again by a rule of now; those before kill_since end if their
 * rule is gone.
 *
 *   offset size
 *        0    4  flags
 *        4    4  epoch
 *        8    8  policy_slot: in, out
 *       16    4  vpc: VPC number
 *       20   12  tcp_established, udp, udp_stream: idle timeouts in seconds (SG-5.29)
 *       32    6  mac: the guest's
 *       38    2  opening_recycle: seconds after which an unanswered flow may make room for a new one, 0 = never
 *       40    4  max_flows: most flows of this interface, 0 = no cap of its own (SG-5.52)
 *       44    4  max_opening: most of them unanswered, 0 = no cap of its own
 *       48    4  reserved: flows that no other interface can take from it
 *       52    4  recheck_since: epoch
 *       56    4  kill_since: epoch
 *       60    4  exempt_rate: packets a second of each enum sg_bucket, 0 = no limit (SG-6.9)
 */
struct sg_interface_config {
    __u32 flags;
    __u32 epoch;
    __u32 policy_slot[SG_DIRECTIONS];
    __u32 vpc;
    __u32 tcp_established;
    __u32 udp;
    __u32 udp_stream;
    __u8 mac[6];
    __u16 opening_recycle;
    __u32 max_flows;
    __u32 max_opening;
    __u32 reserved;
    __u32 recheck_since;
    __u32 kill_since;
    __u32 exempt_rate;
};
SG_ABI_SIZE(struct sg_interface_config, 64);
SG_ABI_OFFSET(struct sg_interface_config, mac, 32);

/*
 * `current` selects config[0] or config[1]: a change writes the one not selected by either value,
 * then `current`. So an interface changes with the generation, as a whole.
 */
struct sg_interface {
    struct sg_versioned current;
    char id[SG_ID_BYTES];
    __u32 live; /* slot in use */
    __u32 pad[5];
    struct sg_interface_config config[2];
};
SG_ABI_SIZE(struct sg_interface, 192);
SG_ABI_OFFSET(struct sg_interface, config, 64);

/* Rates of traffic that groups never filter, each with a token bucket per interface (SG-6.9). */
enum sg_bucket {
    SG_BUCKET_LINK_IN = 0, /* ARP, neighbour and listener discovery */
    SG_BUCKET_LINK_OUT,
    SG_BUCKET_SERVICE_IN,
    SG_BUCKET_SERVICE_OUT,
    SG_BUCKET_DHCP_IN, /* of its own: it comes from anywhere, and must not use up what neighbours need */
    SG_BUCKETS
};

/*
 * Map sg_accounts, by interface slot: what its flows use of the table. Counters change by atomic addition of
 * packets and the sweeper only; they are exact. Slot 0: the pool that all share, `flows` used of `limit`.
 *
 *   offset size
 *        0    4  opening: unanswered flows
 *        4    4  flows: all
 *        8    4  reserved: those charged to the interface's own reserve; the others are the pool's
 *       12    4  limit: slot 0 only: most flows in the pool, 0 = as many as there are (user space)
 *       16   16  begun, done: openings and endings; equal = nobody is between counter and record
 *       32   12  seen_opening, seen_flows, seen_reserved: the sweeper's recount so far
 *       44    4  corrected: how often a recount found another number
 *       48    8  quiet: `done` when the recount began
 *       56    8  adopt_until: ticks; until then connections that were open before are taken up, 0 = never
 *       64   40  bucket: {ticks:32, tokens:32} of each enum sg_bucket
 *      104    4  adopted: flows taken up
 *      108    4  recycled: unanswered flows that made room (opening_recycle)
 *      112    4  cursor: slot 0 only: where a refused opening looks for an expired record
 *      116    4  fragments: datagrams whose fragments may follow (SG-5.56)
 *      120    4  seen_fragments: the recount of those
 *      124    4  pad
 */
struct sg_account {
    __u32 opening;
    __u32 flows;
    __u32 reserved;
    __u32 limit;
    __u64 begun;
    __u64 done;
    __u32 seen_opening;
    __u32 seen_flows;
    __u32 seen_reserved;
    __u32 corrected;
    __u64 quiet;
    __u64 adopt_until;
    __u64 bucket[SG_BUCKETS];
    __u32 adopted;
    __u32 recycled;
    __u32 cursor;
    __u32 fragments;
    __u32 seen_fragments;
    __u32 pad;
};
SG_ABI_SIZE(struct sg_account, 128);
SG_ABI_OFFSET(struct sg_account, bucket, 64);

/*
 * Besides the interfaces' addresses (scope = interface slot) the tries sg_locals4/6 hold, by scope:
 *   SG_SCOPE_ALWAYS_TRACK(slot)               peers whose flows are never untracked (SG-5.19); value 1
 *   SG_SCOPE_SERVICE(vpc, protocol, port)     service endpoints that groups never filter (SG-6.4); value:
 * SG_SERVICE_WAY bits: of requests to the endpoint (SG_OUT) and of what it sends (SG_IN). Port 0: ICMP, any protocol
 */
#define SG_SCOPE_ALWAYS_TRACK(slot) (0x40000000u | (slot))
enum sg_service_protocol { SG_SERVICE_TCP = 0, SG_SERVICE_UDP, SG_SERVICE_ICMP, SG_SERVICE_ANY };
#define SG_SCOPE_SERVICE(vpc, service_protocol, port)                                                                  \
    (0x80000000u | (__u32)(service_protocol) << 29 | (__u32)(vpc) << 16 | (port))
#define SG_MAX_SERVICE_VPCS 8191
#define SG_SERVICE_WAY(direction) (1u << (direction))

enum sg_binding_flags {
    SG_BINDING_LEFT = 1 << 0, /* its interface left; it stays attached and drops all but the exempt list */
    SG_BINDING_HOST = 1 << 1, /* role host: rules `in` are judged where packets arrive at the device */
};

/*
 * Value of sg_ifindex; interface_slot 0 = the device is not bound to an interface. Flags are for user
 * space only.
 *
 * `since`: the generation of the unconfirmed commit that attached the device, 0 = none. While an earlier
 * generation is in force, that commit was rolled back: everything passes, as before it.
 */
struct sg_binding {
    __u32 interface_slot;
    __u32 flags; /* enum sg_binding_flags */
    __u64 since;
};
SG_ABI_SIZE(struct sg_binding, 16);

/* The flow key stores the slot in 16 bits. */
#define SG_MAX_INTERFACES 65535
