/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tc pipeline under many flows. */
#include "bench/flows.bpf.h"

SEC("tc")
int bench_empty(struct __sk_buff* frame) {
    (void)frame;
    return -1;
}

/* What the rewriting alone costs. */
SEC("tc")
int bench_rewrite(struct __sk_buff* frame) {
    return bench_next_flow(frame) ? -1 : 2;
}

SEC("tc")
int bench_pipeline(struct __sk_buff* frame) {
    if (!bench_next_flow(frame)) {
        return 2;
    }
    return sg_pipeline(frame, SG_IN) == SG_PASS ? -1 : 2;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
