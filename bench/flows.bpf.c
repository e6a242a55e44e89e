/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The XDP pipeline under many flows. */
#define SG_CONTEXT_XDP
#include "bench/flows.bpf.h"

SEC("xdp")
int bench_empty(struct xdp_md* frame) {
    (void)frame;
    return XDP_PASS;
}

/* What the rewriting alone costs. */
SEC("xdp")
int bench_rewrite(struct xdp_md* frame) {
    return bench_next_flow(frame) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int bench_pipeline(struct xdp_md* frame) {
    if (!bench_next_flow(frame)) {
        return XDP_ABORTED;
    }
    return sg_pipeline(frame, SG_IN) == SG_PASS ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
