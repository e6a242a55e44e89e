/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Load-time constants (.rodata `sg_config`) and the inputs of a test run (.bss `sg_test`). */
#pragma once

#include <sgbpf/abi/abi.h>

/*
 * Set before load; the verifier removes what they switch off.
 * test_mode = 1: interface slot and clock come from sg_test, not from the context and the kernel, so
 * that BPF_PROG_TEST_RUN can stand for any interface at any time.
 */
struct sg_config {
    __u32 abi_version;
    __u32 ticks_per_second; /* of bpf_jiffies64, measured at load; test_mode: ticks are milliseconds */
    __u32 flow_slots;       /* max_entries of sg_flows */
    __u32 test_mode;
};
SG_ABI_SIZE(struct sg_config, 16);

struct sg_test {
    __u64 now; /* ticks */
    __u32 interface_slot;
    __u32 vlan_tag; /* 1 = behave as if the skb's metadata carried a VLAN tag */
    /* Written by the program in test_mode, for the test to read. */
    __u32 reason;
    __u32 rule;    /* rule slot, 0 = none */
    __u32 tracked; /* 1 = the packet belongs to, or opened, an entry */
    __u32 flow_slot;
};
SG_ABI_SIZE(struct sg_test, 32);

/* IPv6 extension headers looked through; real stacks send at most 3-4, RFC 8504 5.3 allows a limit. */
#define SG_MAX_EXT_HEADERS 8
/* VLAN tags looked through by default (SG-13.17). */
#define SG_MAX_VLAN_TAGS 1
/* Records one sweeper tick looks at, and milliseconds between ticks: 1M records in 12.8 s. */
#define SG_SWEEP_RECORDS 4096
#define SG_SWEEP_MS 50
