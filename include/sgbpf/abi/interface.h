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
    SG_IF_MAC = 1 << 3,          /* `mac` is set: ARP and ND senders are checked against it (SG-6.6) */
};

/*
 * One complete configuration. `epoch` changes whenever flows must be looked at again (addresses of
 * the interface changed); a flow with another epoch passes the source/dest check again.
 *
 *   offset size
 *        0    4  flags
 *        4    4  epoch
 *        8    8  policy_slot: in, out
 *       16    4  vpc: VPC number
 *       20   12  tcp_established, udp, udp_stream: idle timeouts in seconds (SG-5.29)
 *       32    6  mac: the guest's
 *       38    2  pad
 *       40    4  max_flows: most flows of this interface, 0 = no cap of its own
 *       44   20  pad
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
    __u16 pad0;
    __u32 max_flows;
    __u32 pad[5];
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
