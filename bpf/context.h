/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the two kinds of hook call the same thing: an skb (tcx, clsact) or an XDP frame. Define
 * SG_CONTEXT_XDP before the first include for the latter. Nothing about packets is decided here.
 */
#pragma once

#include "bpf/compiler.h"

#ifdef SG_CONTEXT_XDP
typedef struct xdp_md sg_context;

SG_INLINE __u32 sg_context_length(sg_context* context) {
    return (__u32)bpf_xdp_get_buff_len(context);
}
SG_INLINE __u32 sg_context_ifindex(const sg_context* context) {
    return context->ingress_ifindex;
}
/* VLAN tags that are not in the bytes. XDP sees none of those that a NIC took out. */
SG_INLINE __u32 sg_context_tags(const sg_context* context) {
    (void)context;
    return 0;
}
/* An aggregate: a tap's or a veth's frames come here as they were sent, whole. */
SG_INLINE int sg_context_gso(sg_context* context) {
    return sg_context_length(context) > 0xffff;
}
SG_INLINE int sg_context_load(sg_context* context, __u32 offset, void* to, __u32 bytes) {
    return (int)bpf_xdp_load_bytes(context, offset, to, bytes);
}
#else
typedef struct __sk_buff sg_context;

SG_INLINE __u32 sg_context_length(sg_context* context) {
    return context->len;
}
SG_INLINE __u32 sg_context_ifindex(const sg_context* context) {
    return context->ifindex;
}
SG_INLINE __u32 sg_context_tags(const sg_context* context) {
    return context->vlan_present != 0;
}
SG_INLINE int sg_context_gso(sg_context* context) {
    return context->gso_size != 0;
}
SG_INLINE int sg_context_load(sg_context* context, __u32 offset, void* to, __u32 bytes) {
    return (int)bpf_skb_load_bytes(context, offset, to, bytes);
}
#endif
