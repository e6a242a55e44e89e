/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: verdicts for a listener (sgbpf/abi/event.h). The packet path asks sg_wants_event only; the
 * record is made by parsing the frame a second time, so that nothing is kept for it when nobody listens.
 */
#pragma once

#include "bpf/frame.h"

/* Takes one event from this CPU's allowance of the quarter of a second: bursts fit. 0 = none left; it is lost. */
SG_INLINE int sg_event_allowed(__u64 now) {
    const __u32 zero = 0;
    struct sg_event_counts* counts = bpf_map_lookup_elem(&sg_event_counts, &zero);
    if (!counts) {
        return 0;
    }
    if (now - counts->since >= sg_config.ticks_per_second / 4) {
        counts->since = now;
        counts->used = 0;
    }
    if (counts->used >= SG_EVENTS_PER_SECOND / 4) {
        counts->lost++;
        return 0;
    }
    counts->used++;
    return 1;
}

/* Does somebody listen for this verdict, and is there room for one more this tick? */
SG_INLINE int sg_wants_event(__u32 interface_slot, __u32 reason) {
    if (sg_config.test_mode) {
        return 0;
    }
    struct sg_control* control = sg_control_record();
    const __u64 monitor = control ? SG_READ(control->monitor) : 0;
    if (monitor == 0) {
        return 0;
    }
    const __u64 now = sg_now();
    if (!SG_MONITOR_LISTENS(monitor, now, sg_config.ticks_per_second)) {
        /* The listener is gone. Cleared once: the ticks come round, and would bring it back. */
        __sync_val_compare_and_swap(&control->monitor, monitor, 0);
        return 0;
    }
    const __u32 what = reason >= SG_REASON_NO_RULE   ? SG_MONITOR_DROPS
                       : reason == SG_REASON_TRACKED ? SG_MONITOR_TRACKED
                                                     : SG_MONITOR_PASSES;
    if (!(SG_MONITOR_WHAT(monitor) & what) ||
        (SG_MONITOR_SLOT(monitor) != 0 && SG_MONITOR_SLOT(monitor) != interface_slot)) {
        return 0;
    }
    return sg_event_allowed(now);
}

/* Parses the frame again and writes the event. Returns 0, or 1 when the ring was full. */
SG_GLOBAL int sg_emit(sg_context* context, const struct sg_outcome* outcome, __u32 interface_slot, __u32 direction) {
    if (!outcome) {
        return 1;
    }
    const struct sg_frame frame = sg_frame_of(context);
    struct sg_packet packet = {};
    sg_parse(context, &packet, direction);
    const __u32 zero = 0;
    struct sg_event_counts* counts = bpf_map_lookup_elem(&sg_event_counts, &zero);
    struct sg_event* event = bpf_ringbuf_reserve(&sg_events, sizeof(*event), 0);
    if (!event) {
        if (counts) {
            counts->lost++;
        }
        return 1;
    }
    packet.key.interface_slot = (__u16)interface_slot;
    event->time = bpf_ktime_get_ns();
    event->generation = outcome->generation;
    event->key = packet.key;
    event->length = frame.length;
    event->rule = outcome->rule;
    event->flow_slot = outcome->flow_slot;
    event->version = SG_EVENT_VERSION;
    event->reason = (__u8)outcome->reason;
    event->direction = (__u8)direction;
    event->tracking = outcome->tracking;
    event->tcp_flags = packet.tcp_flags;
    event->icmp_type = packet.icmp_type;
    event->icmp_code = packet.icmp_code;
    event->packet_flags = packet.flags;
    event->pad[0] = 0;
    event->pad[1] = 0;
    event->pad[2] = 0;
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
    if (counts) {
        counts->written++;
    }
    return 0;
}
