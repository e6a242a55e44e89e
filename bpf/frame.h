/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bound: the frame of the hook, for the pure parser. */
#pragma once

#include "bpf/maps.h"
#include "bpf/parse.h"

SG_INLINE __u32 sg_frame_length(sg_context* context) {
    const __u32 length = sg_context_length(context);
    if (sg_config.test_mode) {
        const __u32 longer = SG_READ(sg_test.length);
        return longer != 0 ? longer : length;
    }
    return length;
}

SG_INLINE __u32 sg_frame_tags(const sg_context* context) {
    return sg_context_tags(context) || (sg_config.test_mode && sg_test.vlan_tag != 0);
}

SG_INLINE struct sg_frame sg_frame_of(sg_context* context) {
    return (struct sg_frame){
        .context = context,
        .length = sg_frame_length(context),
        .gso = (__u8)sg_context_gso(context),
        .tags = (__u8)sg_frame_tags(context),
    };
}

/* sg_parse_frame as a function of its own: its paths are not multiplied with those of the caller. */
SG_GLOBAL int sg_parse(sg_context* context, struct sg_packet* packet, __u32 direction) {
    if (!packet) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_frame frame = sg_frame_of(context);
    return sg_parse_frame(&frame, packet, direction);
}
