/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entry points of the tcx and clsact hooks, and the programs that user space runs through
 * BPF_PROG_TEST_RUN on the same maps. Nothing is decided here.
 *
 * Directions are the protected machine's. Role `workload`, a tap or veth whose far end is the guest: sg_tc_in
 * is attached to the device's egress hook and sg_tc_out to its ingress hook. Role `host`: the other way
 * round, and sg_xdp_in (sg_xdp.bpf.c) in place of sg_tc_in where the device can. datapath/attach.cpp does that.
 */
#include "bpf/pipeline.h"

#include "bpf/confirm.h"
#include "bpf/sweep.h"

/* -1: the next program, of whoever, decides (TCX_NEXT, and TC_ACT_UNSPEC of clsact's direct action). */
#define SG_TC_NEXT (-1)
#define SG_TC_DROP 2

SG_INLINE int sg_tc_code(enum sg_verdict verdict) {
    return verdict == SG_PASS ? SG_TC_NEXT : SG_TC_DROP;
}

SEC("tc")
int sg_tc_in(struct __sk_buff* skb) {
    return sg_tc_code(sg_pipeline(skb, SG_IN));
}

SEC("tc")
int sg_tc_out(struct __sk_buff* skb) {
    return sg_tc_code(sg_pipeline(skb, SG_OUT));
}

static long sg_fill_one(__u32 index, __u32* pushed) {
    const __u32 slot = index + 1; /* slot 0 stays unused: 0 means none */
    if (bpf_map_push_elem(&sg_flow_free, &slot, 0) == 0) {
        (*pushed)++;
    }
    return 0;
}

/* Run once, when the flow maps are made: puts every record slot on the free list. Returns how many. */
SEC("tc")
int sg_fill(struct __sk_buff* skb) {
    (void)skb;
    __u32 pushed = 0;
    bpf_loop(sg_config.flow_slots - 1, sg_fill_one, &pushed, 0);
    return (int)pushed;
}

/* Starts the sweeper, or moves it to this program's code. Returns 0 or a negative errno. */
SEC("tc")
int sg_sweep_start(struct __sk_buff* skb) {
    (void)skb;
    const __u32 zero = 0;
    struct sg_sweeper* sweeper = bpf_map_lookup_elem(&sg_sweep, &zero);
    if (!sweeper) {
        return -1;
    }
    bpf_timer_init(&sweeper->timer, &sg_sweep, 7 /* CLOCK_BOOTTIME */); /* EBUSY: exists already */
    long error = bpf_timer_set_callback(&sweeper->timer, sg_sweep_tick);
    if (error == 0) {
        error = bpf_timer_start(&sweeper->timer, (__u64)SG_SWEEP_MS * 1000000, 0);
    }
    return (int)error;
}

/* One sweeper tick now, for tests with a clock of their own. */
SEC("tc")
int sg_sweep_once(struct __sk_buff* skb) {
    (void)skb;
    const __u32 zero = 0;
    struct sg_sweeper* sweeper = bpf_map_lookup_elem(&sg_sweep, &zero);
    if (!sweeper) {
        return -1;
    }
    sg_sweep_slice(sweeper);
    return 0;
}

#define SG_REQUEST_OFFSET 14 /* behind an Ethernet header, which test runs want */

/* Ends the flow of a record if it still is the one of that incarnation. Returns 1 if it was ended. */
SG_INLINE int sg_reap_one(__u32 slot, __u32 incarnation) {
    for (int i = 0; i < SG_TRANSITION_TRIES; i++) { /* a packet of the flow may change the word meanwhile */
        const struct sg_flow* flow = sg_flow_at(slot);
        if (!flow) {
            return 0;
        }
        const __u64 word = SG_READ(flow->word);
        if (SG_WORD_INCARNATION(word) != incarnation || !sg_flow_is_live(SG_WORD_STATE(word))) {
            return 0;
        }
        if (sg_flow_reap(slot, word)) {
            return 1;
        }
    }
    return 0;
}

/* Ends the flows that a struct sg_reap_request names. */
SEC("tc")
int sg_reap(struct __sk_buff* skb) {
    __u32 head[2]; /* count, removed */
    if (bpf_skb_load_bytes(skb, SG_REQUEST_OFFSET, head, sizeof(head)) < 0) {
        return -1;
    }
    for (__u32 i = 0; i < SG_REAP_ITEMS && i < head[0]; i++) {
        __u32 item[2]; /* slot, incarnation */
        if (bpf_skb_load_bytes(skb, SG_REQUEST_OFFSET + 8 + i * 8, item, sizeof(item)) < 0) {
            return -1;
        }
        head[1] += sg_reap_one(item[0], item[1]);
    }
    return (int)bpf_skb_store_bytes(skb, SG_REQUEST_OFFSET, head, sizeof(head), 0);
}

/* Writes {jiffies, boot-time ns} behind the Ethernet header: the clock of the flow records. */
SEC("tc")
int sg_clock(struct __sk_buff* skb) {
    const __u64 clock[2] = {bpf_jiffies64(), bpf_ktime_get_boot_ns()};
    return (int)bpf_skb_store_bytes(skb, SG_REQUEST_OFFSET, clock, sizeof(clock), 0);
}

/* Arms the timer for sg_control.confirm_until. Returns 0 or a negative errno. */
SEC("tc")
int sg_confirm_arm(struct __sk_buff* skb) {
    (void)skb;
    return sg_confirm_start();
}

/* Stops it, for good. Returns 0 or a negative errno. */
SEC("tc")
int sg_confirm_disarm(struct __sk_buff* skb) {
    (void)skb;
    return sg_confirm_stop();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
