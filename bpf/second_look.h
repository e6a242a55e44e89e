/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: the rules asked about something else than the packet in hand: the packet that opened its flow (revocation,
 * SG-5.21), or the one that would have opened a connection that was there before us (adoption).
 */
#pragma once

#include "bpf/flow_table.h"
#include "bpf/policy_match.h"

/* Do the rules of `opener`'s direction admit the packet that this side would have opened the key's flow with? */
SG_INLINE int sg_opener_admitted(struct sg_packet* packet, const struct sg_interface_config* config, __u32 opener,
                                 struct sg_match* match) {
    const __u16 port = packet->destination_port;
    const __u8 flags = packet->flags;
    packet->destination_port = sg_ntohs(opener == SG_OUT ? packet->key.remote_port : packet->key.local_port);
    packet->flags &= (__u8)~SG_PACKET_AH;
    match->policy_slot = opener == SG_IN ? config->policy_slot[SG_IN] : config->policy_slot[SG_OUT];
    match->by_ah = 0;
    const int admitted = sg_policy_match(packet, match);
    packet->destination_port = port; /* put back: what was asked is not the packet in hand */
    packet->flags = flags;
    return admitted;
}

/*
 * The flow was last judged under another configuration. 1: it goes on, by a rule of now if it had to be judged again.
 * 0: it is over, and the packet is judged as any other.
 */
SG_INLINE int sg_flow_goes_on(struct sg_packet* packet, struct sg_flow* flow, __u64 word,
                              const struct sg_interface_config* config, __u64 generation) {
    if (sg_flow_is_older(flow, config->kill_since)) {
        const __u32 slot = flow->rule;
        const struct sg_rule* rule = bpf_map_lookup_elem(&sg_rules, &slot);
        if (!rule || !rule->live) {
            return 0;
        }
    }
    if (!sg_flow_is_older(flow, config->recheck_since)) {
        return 1;
    }
    if (config->kill_since == config->recheck_since && sg_commit_runs()) {
        return 1; /* for the moment: user space still tells both ends (--reset), and rules that go look alive */
    }
    const __u8 type = packet->icmp_type;
    const __u8 code = packet->icmp_code;
    packet->icmp_type = flow->icmp_type;
    packet->icmp_code = flow->icmp_code;
    struct sg_match match = {.generation = generation};
    const int admitted =
        sg_opener_admitted(packet, config, SG_WORD_FLAGS(word) & SG_FLOW_OPENED_OUT ? SG_OUT : SG_IN, &match);
    packet->icmp_type = type;
    packet->icmp_code = code;
    if (admitted && !sg_config.dry_run) {
        SG_WRITE(flow->rule, match.rule);
    }
    return admitted;
}

/*
 * Strict mode found a rule for a segment of no flow. It passes all the same as the answer of a flow that is not tracked
 * (SG-5.17): a 0/0 rule of the other direction admits its opener, and one 0/0 rule of this direction all answers.
 * Returns an enum sg_reason.
 */
SG_GLOBAL int sg_judge_untracked(struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                                 struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(interface_slot, outcome->generation);
    if (!config || (config->flags & SG_IF_ALWAYS_TRACK)) {
        return SG_REASON_TCP_NO_FLOW;
    }
    struct sg_match match = {.generation = outcome->generation};
    const __u32 own = direction == SG_IN ? config->policy_slot[SG_IN] : config->policy_slot[SG_OUT];
    if (!sg_policy_is_open(own, match.generation, packet->key.family, 0) ||
        !sg_opener_admitted(packet, config, direction == SG_IN ? SG_OUT : SG_IN, &match) ||
        match.stage != SG_STAGE_ANY) {
        return SG_REASON_TCP_NO_FLOW;
    }
    outcome->tracking = SG_TRACKING_OPEN_RULES;
    sg_count_rule(outcome->rule, packet->length);
    return SG_REASON_RULE;
}

/* Is this interface taking up connections that were open before it was filtered? */
SG_INLINE int sg_adopts(__u32 interface_slot, __u64 now) {
    const struct sg_account* account = sg_account_at(interface_slot);
    return account && SG_READ(account->adopt_until) > now;
}

/*
 * May a packet be one of a connection that was open before? TCP in mid-stream; of other protocols what the workload
 * answers and no rule of its own direction admits. Never what comes in unasked: anybody can send that.
 */
SG_INLINE int sg_is_midstream(const struct sg_packet* packet, __u32 direction, int admitted) {
    switch (packet->key.protocol) {
        case SG_PROTO_TCP:
            return (packet->tcp_flags & (SG_TCP_SYN | SG_TCP_RST | SG_TCP_FIN | SG_TCP_ACK)) == SG_TCP_ACK;
        case SG_PROTO_ICMP:
        case SG_PROTO_ICMPV6:
            return 0; /* asks again within seconds */
        default:
            return direction == SG_OUT && !admitted;
    }
}

/* The side with the higher port asked: when the rules would have let either, or nobody knows who sends. */
SG_INLINE int sg_sender_asked(const struct sg_packet* packet) {
    return packet->source_port >= packet->destination_port;
}

SG_INLINE void sg_count_adopted(__u32 interface_slot) {
    struct sg_account* account = sg_account_at(interface_slot);
    if (account && !sg_config.dry_run) {
        SG_ADD(account->adopted, 1);
    }
}
