/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map: its key, its value, why that type, who writes it. Sizes are set by user space before load
 * (sgbpf::Capacities); the 1s here are never used. userspace/image/maps.hpp lists the policy maps
 * again for user space; a test compares both.
 *
 * Policy maps are written by commits only (one writer, under a lock); ARRAYs through mmap.
 * LPM tries and hashes replace elements under RCU; array elements follow the store order of
 * sgbpf/abi/version.h.
 */
#pragma once

#include <sgbpf/abi/config.h>
#include <sgbpf/abi/event.h>
#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/verdict.h>

#include "bpf/compiler.h"
#include "bpf/version.h"

#define SG_ARRAY(name, value_type, array_flags)                                                                        \
    struct {                                                                                                           \
        __uint(type, BPF_MAP_TYPE_ARRAY);                                                                              \
        __uint(max_entries, 1);                                                                                        \
        __uint(map_flags, array_flags);                                                                                \
        __type(key, __u32);                                                                                            \
        __type(value, value_type);                                                                                     \
    } name SEC(".maps")

#define SG_TRIE(name, key_type, value_type)                                                                            \
    struct {                                                                                                           \
        __uint(type, BPF_MAP_TYPE_LPM_TRIE);                                                                           \
        __uint(max_entries, 1);                                                                                        \
        __uint(map_flags, BPF_F_NO_PREALLOC);                                                                          \
        __type(key, key_type);                                                                                         \
        __type(value, value_type);                                                                                     \
    } name SEC(".maps")

/* What the host shares: the generation word. */
SG_ARRAY(sg_control, struct sg_control, BPF_F_MMAPABLE);

/* ifindex -> interface slot. ARRAY: a hash lookup here costs as much as an empty program. */
SG_ARRAY(sg_ifindex, struct sg_binding, 0);
SG_ARRAY(sg_interfaces, struct sg_interface, BPF_F_MMAPABLE);
SG_ARRAY(sg_policy_slots, struct sg_versioned, BPF_F_MMAPABLE);
SG_ARRAY(sg_policies, struct sg_policy, BPF_F_MMAPABLE);
SG_ARRAY(sg_classes, struct sg_class, BPF_F_MMAPABLE);
SG_ARRAY(sg_intervals, struct sg_interval, BPF_F_MMAPABLE);
SG_ARRAY(sg_rule_refs, struct sg_rule_ref, BPF_F_MMAPABLE);
SG_ARRAY(sg_rules, struct sg_rule, BPF_F_MMAPABLE);

/* scope = policy number -> class number. Immutable once the policy is published. */
SG_TRIE(sg_cidr4, struct sg_prefix4, __u32);
SG_TRIE(sg_cidr6, struct sg_prefix6, __u32);
/* scope = band -> set of prefix lists. */
SG_TRIE(sg_lists4, struct sg_prefix4, struct sg_versioned);
SG_TRIE(sg_lists6, struct sg_prefix6, struct sg_versioned);
/* scope = viewing VPC -> set of groups. */
SG_TRIE(sg_members4, struct sg_prefix4, struct sg_versioned);
SG_TRIE(sg_members6, struct sg_prefix6, struct sg_versioned);
/* scope = interface slot -> 1: an address of the interface. */
SG_TRIE(sg_locals4, struct sg_prefix4, struct sg_versioned);
SG_TRIE(sg_locals6, struct sg_prefix6, struct sg_versioned);

/* (policy, set) -> class number. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sg_set_key);
    __type(value, __u32);
} sg_set_class SEC(".maps");

/* key -> record slot; preallocated, so that the packet path never allocates. Written by the packet path. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __type(key, struct sg_flow_key);
    __type(value, __u32);
} sg_flow_index SEC(".maps");

/* Records; flat, so that they can be swept by cursor and read by mmap. Written by the packet path. */
SG_ARRAY(sg_flows, struct sg_flow, BPF_F_MMAPABLE);

/* What each interface's flows use of the table, by interface slot. Written by packets, the sweeper and, two words, user
 * space. */
SG_ARRAY(sg_accounts, struct sg_account, BPF_F_MMAPABLE);

/* Where a flow probably is (sgbpf/abi/flow.h). Written by the packet path. */
SG_ARRAY(sg_flow_hints, __u64, 0);

/* Free record slots. */
struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(max_entries, 1);
    __type(value, __u32);
} sg_flow_free SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sg_counters);
} sg_counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sg_rule_counters);
} sg_rule_counts SEC(".maps");

/* The sweeper. Pinned: a timer is cancelled when its map loses its last user-space reference. */
struct sg_sweeper {
    struct bpf_timer timer;
    __u32 next_slot;
    __u32 pad;
    __u64 passes;
};
SG_ARRAY(sg_sweep, struct sg_sweeper, 0);

/* Undoes an unconfirmed commit when its time is over (bpf/confirm.h). Pinned, for the same reason. */
struct sg_confirm_timer {
    struct bpf_timer timer;
};
SG_ARRAY(sg_confirm, struct sg_confirm_timer, 0);

/* Verdicts for a listener, and what each CPU wrote and lost. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, SG_EVENT_RING_BYTES);
} sg_events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sg_event_counts);
} sg_event_counts SEC(".maps");

const volatile struct sg_config sg_config;
struct sg_test sg_test;

/* Ticks now: jiffies are free to read, ktime costs more than the whole established path. */
SG_INLINE __u64 sg_now(void) {
    return sg_config.test_mode ? SG_READ(sg_test.now) : bpf_jiffies64();
}

/* Element 0 of an array is always there; the verifier wants to hear that it was asked. */
SG_INLINE struct sg_control* sg_control_record(void) {
    const __u32 zero = 0;
    return bpf_map_lookup_elem(&sg_control, &zero);
}

SG_INLINE __u64 sg_generation(void) {
    const struct sg_control* control = sg_control_record();
    return control ? SG_READ(control->generation) : 0;
}

/* Is a commit under way, or waiting for its confirmation? */
SG_INLINE int sg_commit_runs(void) {
    const struct sg_control* control = sg_control_record();
    return control && SG_READ(control->pending) != 0;
}

/* The configuration of an interface at a generation, or NULL. */
SG_INLINE const struct sg_interface_config* sg_interface_at(__u32 slot, __u64 generation) {
    const struct sg_interface* interface = bpf_map_lookup_elem(&sg_interfaces, &slot);
    if (!interface) {
        return 0;
    }
    return sg_value_at(&interface->current, generation) & 1 ? &interface->config[1] : &interface->config[0];
}
