/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bound: everything but the established path, in functions of their own, for the stack's sake. Each fills or reads
 * *packet and answers SG_REASON_NONE when the next one is to be asked:
 * - sg_judge_frame: parse, exempt?, source/dest check
 * - sg_judge_fragment (bpf/fragments.h): later fragment of a datagram that passes?
 * - sg_judge_tracked: flow hit?
 * - sg_judge_related (bpf/related.h): error about a flow?
 * - sg_judge_new: rules, open
 */
#pragma once

#include "bpf/exempt.h"
#include "bpf/fragments.h"
#include "bpf/reclaim.h"
#include "bpf/related.h"
#include "bpf/second_look.h"
#include "bpf/tcp.h"

/* Is this a packet whose flow may be looked up and opened by ports, identifier or protocol? */
SG_INLINE int sg_has_flow_key(const struct sg_packet* packet) {
    const __u8 protocol = packet->key.protocol;
    if (protocol == SG_PROTO_ICMP || protocol == SG_PROTO_ICMPV6) {
        return (packet->flags & SG_PACKET_QUERY) != 0 && !(packet->flags & SG_PACKET_FRAGMENT_LATER);
    }
    if (protocol == SG_PROTO_TCP && !sg_tcp_flags_sane(packet->tcp_flags)) {
        return 0; /* impossible flags are judged by the rules alone (SG-13.19) */
    }
    if (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) {
        return !(packet->flags & SG_PACKET_FRAGMENT_LATER);
    }
    return 1;
}

/* Does this packet, admitted by a rule and with a flow key, open a flow? */
SG_INLINE int sg_opens_flow(const struct sg_packet* packet) {
    switch (packet->key.protocol) {
        case SG_PROTO_TCP:
            return sg_tcp_opens(packet->tcp_flags);
        case SG_PROTO_ICMP:
        case SG_PROTO_ICMPV6:
            return (packet->flags & SG_PACKET_REQUEST) != 0;
        default:
            return 1;
    }
}

/* Is the packet's peer one whose flows are never untracked (SG-5.19)? */
SG_GLOBAL int sg_tracks_peer(const struct sg_packet* packet, __u64 generation) {
    const struct sg_interface_config* config = packet ? sg_interface_at(packet->key.interface_slot, generation) : 0;
    return config &&
           sg_is_tracked_peer(config, packet->key.interface_slot, packet->key.family, packet->key.remote, generation);
}

/* Why a packet that a rule admits makes no entry; SG_TRACKING_OPENED when it makes one. */
SG_INLINE enum sg_tracking sg_tracking_of(const struct sg_packet* packet, const struct sg_interface_config* config,
                                          __u32 direction, __u64 generation, const struct sg_match* match) {
    const __u8 protocol = packet->key.protocol;
    /* The key is that of the upper layer: a rule about AH must not open it for packets without AH. */
    if (match->by_ah) {
        return SG_TRACKING_AH;
    }
    if (!sg_has_flow_key(packet)) {
        return SG_TRACKING_NO_OPENER;
    }
    /* A request to a group address gives nobody a right to answer (SG-5.65). */
    if (sg_is_group_address(packet->key.remote, packet->key.family)) {
        return SG_TRACKING_GROUP_TARGET;
    }
    if (match->stage == SG_STAGE_ANY && (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP) &&
        !(config->flags & SG_IF_ALWAYS_TRACK) && !sg_tracks_peer(packet, generation)) {
        const __u32 opposite = direction == SG_IN ? config->policy_slot[SG_OUT] : config->policy_slot[SG_IN];
        if (sg_policy_is_open(opposite, generation, packet->key.family, protocol == SG_PROTO_UDP)) {
            return SG_TRACKING_OPEN_RULES;
        }
    }
    return sg_opens_flow(packet) ? SG_TRACKING_OPENED : SG_TRACKING_NO_OPENER;
}

/* No SYN, no RST and no ACK, or what sg_tcp_flags_sane says. A later fragment has no flags to judge. */
SG_INLINE int sg_tcp_is_impossible(const struct sg_packet* packet) {
    const __u8 flags = packet->tcp_flags;
    return !(packet->flags & SG_PACKET_FRAGMENT_LATER) &&
           (!sg_tcp_flags_sane(flags) || !(flags & (SG_TCP_SYN | SG_TCP_RST | SG_TCP_ACK)));
}

/* Opens a flow for the packet; when there is no room, after looking for room (see sg_reclaim). */
SG_INLINE enum sg_reason sg_open(const struct sg_packet* packet, struct sg_opening* opening) {
    enum sg_reason reason = (enum sg_reason)sg_flow_open(packet, opening);
    if ((reason == SG_REASON_NO_CAPACITY || reason == SG_REASON_OPENING_LIMIT) &&
        sg_reclaim(packet->key.interface_slot, opening->now, reason == SG_REASON_OPENING_LIMIT) != 0) {
        reason = sg_config.dry_run ? SG_REASON_RULE : (enum sg_reason)sg_flow_open(packet, opening);
    }
    return reason;
}

/*
 * What a TCP segment is to its flow; anything else always fits. Unsettled: all its packets come here instead of the
 * fast path, and its sequence numbers are remembered here.
 */
SG_INLINE enum sg_segment_verdict sg_segment_of(sg_context* context, const struct sg_packet* packet, __u32 strict,
                                                __u64 word, __u32 slot, int from_opener, int settled) {
    if (packet->key.protocol != SG_PROTO_TCP) {
        return SG_SEGMENT_FITS;
    }
    if (strict || !settled) {
        return (enum sg_segment_verdict)sg_tcp_segment(context, packet, slot, SG_WORD_INCARNATION(word),
                                                       (strict ? 0 : SG_SIDE_UNCHECKED) | !from_opener);
    }
    return sg_is_taken_over(word, packet->tcp_flags) ? SG_SEGMENT_NEW : SG_SEGMENT_FITS;
}

/* Fills *packet and outcome->generation, by which all of them judge. */
SG_GLOBAL int sg_judge_frame(sg_context* context, struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                             struct sg_outcome* outcome) {
    if (!outcome || !packet) {
        return SG_REASON_INTERNAL;
    }
    packet->key.interface_slot = (__u16)interface_slot;

    const __u64 generation = sg_generation();
    outcome->generation = generation;
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    const __u32 flags = config ? config->flags : 0;
    if (flags & SG_IF_QUARANTINE) {
        return SG_REASON_QUARANTINE;
    }
    const int ready = (flags & SG_IF_READY) != 0;
    enum sg_reason reason = (enum sg_reason)sg_parse(context, packet, direction);
    if (reason != SG_REASON_NONE) { /* a frame that could be parsed has its sender checked by sg_exempt */
        return ready && sg_source_mac_wrong(config, direction, packet->source_mac) ? SG_REASON_SOURCE_MAC : reason;
    }
    reason = (enum sg_reason)sg_exempt(context, packet, interface_slot, direction, generation);
    if (reason != SG_REASON_NONE) {
        return reason;
    }
    if (!ready || !config) {
        return SG_REASON_NOT_READY;
    }
    if (!sg_addresses_sane(packet, direction)) {
        return SG_REASON_BAD_ADDRESS;
    }
    if ((flags & SG_IF_SOURCE_CHECK) &&
        !sg_is_local(interface_slot, packet->key.family, packet->key.local, generation)) {
        return SG_REASON_SOURCE_DEST;
    }
    if ((flags & SG_IF_STRICT) && packet->key.protocol == SG_PROTO_TCP && sg_tcp_is_impossible(packet)) {
        return SG_REASON_TCP_FLAGS;
    }
    return SG_REASON_NONE;
}

/* The packet of a live flow of the key, refreshed; or SG_REASON_NONE. */
SG_GLOBAL int sg_judge_tracked(sg_context* context, struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                               struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const struct sg_interface_config* config = sg_interface_at(interface_slot, outcome->generation);
    if (!config) {
        return SG_REASON_INTERNAL;
    }
    const __u64 now = sg_now();
    if (!sg_has_flow_key(packet)) {
        return SG_REASON_NONE;
    }
    const struct sg_flow_key key = packet->key; /* Linux 6.1 takes map keys from the stack, not from an argument */
    __u64 word = 0;
    __u32 slot = 0;
    struct sg_flow* flow = sg_flow_find(&key, config, now, &word, &slot);
    if (!flow) {
        return SG_REASON_NONE;
    }
    /* A reset can only end what may be over anyway, and tells both ends (--reset). It keeps nothing alive, and what
     * follows it is looked at. */
    const int settled = flow->epoch == config->epoch;
    const int resets = (packet->tcp_flags & SG_TCP_RST) != 0;
    /* Rules that go look alive until their commit is complete: asked before they are, a look then is not the last. */
    const int looked = !settled && !resets && (config->kill_since == 0 || !sg_commit_runs());
    if (!settled && !resets && !sg_flow_goes_on(packet, flow, word, config, outcome->generation)) {
        if (!sg_config.dry_run) {
            sg_flow_reap(slot, word);
        }
        return SG_REASON_NONE;
    }
    const int from_opener = sg_from_opener(word, direction);
    const enum sg_segment_verdict verdict =
        sg_segment_of(context, packet, config->flags & SG_IF_STRICT, word, slot, from_opener,
                      SG_READ(flow->epoch) == config->epoch /* held, `settled` would cost stack */);
    if (verdict == SG_SEGMENT_NEW) {
        return SG_REASON_NONE; /* the tuple is used again: the rules decide (SG-5.63) */
    }
    if (verdict == SG_SEGMENT_OUT) {
        outcome->flow_slot = slot;
        return SG_REASON_TCP_WINDOW;
    }
    if (verdict == SG_SEGMENT_FITS && !sg_flow_advance(slot, word, (__u32)from_opener, packet->tcp_flags)) {
        return SG_REASON_NONE;
    }
    outcome->rule = flow->rule;
    outcome->flow_slot = slot;
    outcome->tracking = SG_TRACKING_FLOW;
    if (verdict == SG_SEGMENT_QUIET) {
        return SG_REASON_TRACKED;
    }
    if (settled || !resets) {
        sg_flow_touch(flow, from_opener, packet->length, now);
    }
    if (looked && !sg_config.dry_run) {
        SG_WRITE(flow->epoch,
                 config->epoch); /* the second look, and the source/dest check, were of this configuration */
    }
    return SG_REASON_TRACKED;
}

/* Rules, then state, for a packet of no flow. Returns an enum sg_reason. */
SG_GLOBAL int sg_judge_new(sg_context* context, struct sg_packet* packet, __u32 interface_slot, __u32 direction,
                           struct sg_outcome* outcome) {
    if (!packet || !outcome) {
        return SG_REASON_INTERNAL;
    }
    const __u64 now = sg_now();
    const __u64 generation = outcome->generation; /* one for all of them */
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    if (!config) {
        return SG_REASON_INTERNAL;
    }
    struct sg_match match = {
        .generation = generation,
        .policy_slot = direction == SG_IN ? config->policy_slot[SG_IN] : config->policy_slot[SG_OUT],
    };
    struct sg_opening opening = {.now = now,
                                 .generation = generation,
                                 .direction = direction,
                                 .epoch = config->epoch,
                                 .strict = (config->flags & SG_IF_STRICT) != 0,
                                 .from_opener = 1};
    const int admitted = sg_policy_match(packet, &match);
    if (admitted) {
        outcome->rule = match.rule;
        outcome->stage = (__u8)match.stage;
        outcome->tracking = (__u8)sg_tracking_of(packet, config, direction, generation, &match);
    }
    if (outcome->tracking != SG_TRACKING_OPENED && outcome->tracking != SG_TRACKING_OPEN_RULES &&
        sg_adopts(interface_slot, now) && sg_has_flow_key(packet) && sg_is_midstream(packet, direction, admitted)) {
        const __u32 opposite = direction == SG_IN ? SG_OUT : SG_IN;
        const int asked = sg_sender_asked(packet);
        if (!(asked && (admitted || direction == SG_IN)) && sg_opener_admitted(packet, config, opposite, &match)) {
            opening.direction = opposite;
            opening.from_opener = 0;
            opening.adopted = 1;
        } else if (admitted) {
            opening.adopted = 1;
        }
        outcome->tracking = opening.adopted ? SG_TRACKING_ADOPTED : outcome->tracking;
    }
    if (!admitted && !opening.adopted) {
        /* Kinds without ports were asked; a later fragment that only a port rule could admit ends here. */
        return packet->flags & SG_PACKET_FRAGMENT_LATER ? SG_REASON_FRAGMENT_ALONE : SG_REASON_NO_RULE;
    }
    if (outcome->tracking == SG_TRACKING_NO_OPENER && opening.strict && packet->key.protocol == SG_PROTO_TCP) {
        outcome->tracking = SG_TRACKING_NONE;
        return SG_REASON_TCP_NO_FLOW; /* the hardened mode of SG-5.9; sg_judge_untracked knows more */
    }
    enum sg_reason reason = SG_REASON_RULE;
    if (outcome->tracking == SG_TRACKING_OPENED || opening.adopted) {
        if (opening.adopted) {
            outcome->rule = match.rule;
            outcome->stage = (__u8)match.stage;
        }
        opening.rule = outcome->rule;
        reason = sg_open(packet, &opening);
        if (reason != SG_REASON_RULE) {
            outcome->tracking = SG_TRACKING_NONE;
            return reason;
        }
        outcome->flow_slot = opening.slot;
    }
    sg_count_rule(outcome->rule, packet->length);
    if (opening.adopted) {
        sg_count_adopted(interface_slot);
        return SG_REASON_ADOPTED;
    }
    if (opening.strict && opening.slot != 0 && packet->key.protocol == SG_PROTO_TCP) {
        const struct sg_flow* flow = sg_flow_at(opening.slot);
        const __u64 word = flow ? SG_READ(flow->word) : 0;
        /* Crossing SYNs on two CPUs: the record may be the other one's. */
        sg_tcp_segment(context, packet, opening.slot, SG_WORD_INCARNATION(word), !sg_from_opener(word, direction));
    }
    return reason;
}
