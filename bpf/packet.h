/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What parsing finds in a frame: everything the later steps ask, nothing they would read again. */
#pragma once

#include <sgbpf/abi/flow.h>

enum sg_packet_flags {
    SG_PACKET_ARP = 1 << 0,            /* an ARP frame; only the Ethernet fields are set */
    SG_PACKET_FRAGMENT_FIRST = 1 << 1, /* first of several fragments: has ports */
    SG_PACKET_FRAGMENT_LATER = 1 << 2, /* has no ports */
    SG_PACKET_AH = 1 << 3,             /* IPv6: an authentication header was walked through (SG-2.12) */
    SG_PACKET_QUERY = 1 << 4,          /* ICMP query or its reply: key carries identifier and class */
    SG_PACKET_REQUEST = 1 << 5,        /* with QUERY: it is the request */
    SG_PACKET_GSO = 1 << 6,            /* an aggregate: IP lengths may be 0 or beyond 65535 */
    SG_PACKET_FRAGMENT_MORE = 1 << 7,  /* with FIRST or LATER: not the last one */
};

struct sg_packet {
    struct sg_flow_key key; /* interface_slot is the caller's to set */
    __u8 source_mac[6];
    __u8 flags;     /* enum sg_packet_flags */
    __u8 tcp_flags; /* wire order of bits: FIN 0x01 SYN 0x02 RST 0x04 PSH 0x08 ACK 0x10 URG 0x20 */
    __u8 icmp_type;
    __u8 icmp_code;
    __u8 hop_limit;
    __u8 pad;
    __u16 network_offset;   /* of the IP or ARP header, bytes from the start of the frame */
    __u16 transport_offset; /* of the transport header; 0 for later fragments */
    __u16 source_port;      /* host order */
    __u16 destination_port; /* host order */
    __u32 transport_bytes;  /* from there to the end of the IP packet */
    __u32 fragment_id;      /* as on the wire */
    __u16 fragment_first;   /* where its data belongs, bytes */
    __u16 fragment_bytes;
    __u32 length; /* of the frame, bytes, as the hook sees it */
};

#define SG_TCP_FIN 0x01
#define SG_TCP_SYN 0x02
#define SG_TCP_RST 0x04
#define SG_TCP_PSH 0x08
#define SG_TCP_ACK 0x10
#define SG_TCP_URG 0x20

#define SG_PROTO_ICMP 1
#define SG_PROTO_TCP 6
#define SG_PROTO_UDP 17
#define SG_PROTO_AH 51
#define SG_PROTO_ICMPV6 58
