/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entry points of the XDP hook: the same pipeline on the same maps as sg_tc.bpf.c. Nothing is decided here.
 *
 * XDP sees only packets that arrive: sg_xdp_in is attached where they arrive for the protected machine
 * (role `host`). sg_xdp_out exists for test runs, which judge both directions by either kind of program.
 * Both take frames in several buffers (jumbo MTU, xdp.frags).
 */
#define SG_CONTEXT_XDP
#include "bpf/pipeline.h"

SG_INLINE int sg_xdp_code(enum sg_verdict verdict) {
    return verdict == SG_PASS ? XDP_PASS : XDP_DROP;
}

SEC("xdp.frags")
int sg_xdp_in(struct xdp_md* frame) {
    return sg_xdp_code(sg_pipeline(frame, SG_IN));
}

SEC("xdp.frags")
int sg_xdp_out(struct xdp_md* frame) {
    return sg_xdp_code(sg_pipeline(frame, SG_OUT));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
