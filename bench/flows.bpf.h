/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Many flows from one frame: a test run repeats it, so its source port and address are rewritten before each
 * run, in an order that no prefetcher knows. The empty programs are without that.
 */
#pragma once

#include "bpf/pipeline.h"

const volatile __u32 bench_flows; /* how many; a power of two is not needed */
__u64 bench_step;                 /* .bss */

#define BENCH_SOURCE_OFFSET (SG_ETHERNET_BYTES + 12)
#define BENCH_PORT_OFFSET (SG_ETHERNET_BYTES + SG_IPV4_BYTES)

/* Flow i: source 192.0.(2 + i / 50000).7, port 1024 + i % 50000. */
SG_INLINE int bench_next_flow(sg_context* frame) {
    __u8* data = (__u8*)(long)frame->data;
    if (data + BENCH_PORT_OFFSET + 2 > (__u8*)(long)frame->data_end) {
        return 0;
    }
    bench_step = bench_step * 6364136223846793005ull + 1442695040888963407ull;
    const __u32 flow = (__u32)(((bench_step >> 32) * bench_flows) >> 32);
    data[BENCH_SOURCE_OFFSET + 2] = (__u8)(2 + flow / 50000);
    *(__be16*)(data + BENCH_PORT_OFFSET) = sg_htons((__u16)(1024 + flow % 50000));
    return 1;
}
