/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Load-time constants (.rodata `sg_config`) and the inputs of a test run (.bss `sg_test`). */
#pragma once

#include <sgbpf/abi/verdict.h>

/*
 * Set before load; the verifier removes what they switch off. Neither these constants nor sg_test are
 * pinned: they live and end with one loaded object.
 *
 * test_mode = 1: interface slot and clock come from sg_test, not from the context and the kernel, so
 * that BPF_PROG_TEST_RUN can stand for any interface at any time; ticks are milliseconds unless
 * ticks_per_second says otherwise.
 * dry_run = 1, with test_mode: no map is written. The packet is judged as the live programs would judge
 * it, and nothing remembers that it was.
 */
struct sg_config {
    __u32 abi_version;
    __u32 ticks_per_second; /* of bpf_jiffies64, measured at load */
    __u32 flow_slots;       /* max_entries of sg_flows */
    __u32 test_mode;
    __u32 dry_run;
    __u32 hint_mask; /* max_entries of sg_flow_hints - 1 */
    __u64 hash_seed; /* sg_control.hash_seed */
    __u32 bare;      /* benchmark only: no tiers, no epochs, no accounting */
    __u32 pad;
};
SG_ABI_SIZE(struct sg_config, 40);

/* .bss: the inputs of a test run, written before it, and its outcome, read after it. */
struct sg_test {
    __u64 now; /* ticks */
    __u32 interface_slot;
    __u32 vlan_tag; /* 1 = behave as if the skb's metadata carried a VLAN tag */
    __u32 length;   /* of the frame, bytes, when it is longer than a test run can carry; 0 = as given */
    __u32 pad;
    struct sg_outcome outcome;
};
SG_ABI_SIZE(struct sg_test, 48);

/* IPv6 extension headers looked through; real stacks send at most 3-4, RFC 8504 5.3 allows a limit. */
#define SG_MAX_EXT_HEADERS 8
/* VLAN tags looked through by default (SG-13.17). */
#define SG_MAX_VLAN_TAGS 1
/* Records one sweeper tick looks at, and milliseconds between ticks: 1M records in 12.8 s. */
#define SG_SWEEP_RECORDS 4096
#define SG_SWEEP_MS 50
