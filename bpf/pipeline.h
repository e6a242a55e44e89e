/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The order of the steps, once for all hooks:
 *
 *   interface -> established? -> parse -> exempt? -> source/dest check -> flow hit? -> rules -> open
 *
 * sg_pipeline is inlined into each entry point and holds the established path only; everything else is
 * behind sg_slow_path, verified once (a fully inlined pipeline is refused by kernel 6.1).
 */
#pragma once

#include "bpf/events.h"
#include "bpf/exempt.h"
#include "bpf/flow_table.h"
#include "bpf/policy_match.h"

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

/* Why a packet that a rule admits makes no entry; SG_TRACKING_OPENED when it makes one. */
SG_INLINE enum sg_tracking sg_tracking_of(const struct sg_packet* packet, const struct sg_interface_config* config,
                                          const struct sg_side* side, const struct sg_match* match) {
    const __u8 protocol = packet->key.protocol;
    /* The key is that of the upper layer: a rule about AH must not open it for packets without AH. */
    if (match->by_ah) {
        return SG_TRACKING_AH;
    }
    if (!sg_has_flow_key(packet) || !sg_opens_flow(packet)) {
        return SG_TRACKING_NO_OPENER;
    }
    /* A request to a group address gives nobody a right to answer (SG-5.65). */
    if (sg_is_group_address(packet->key.remote, packet->key.family)) {
        return SG_TRACKING_GROUP_TARGET;
    }
    if (match->stage == SG_STAGE_ANY && (protocol == SG_PROTO_TCP || protocol == SG_PROTO_UDP)) {
        const __u32 opposite = side->direction == SG_IN ? config->policy_slot[SG_OUT] : config->policy_slot[SG_IN];
        if (sg_policy_is_open(opposite, side->generation, packet->key.family, protocol == SG_PROTO_UDP)) {
            return SG_TRACKING_OPEN_RULES;
        }
    }
    return SG_TRACKING_OPENED;
}

/* Rules, then state. The packet is sane and its local address belongs to the interface. */
SG_INLINE enum sg_reason sg_judge_new(const struct sg_packet* packet, const struct sg_interface_config* config,
                                      const struct sg_side* side, __u64 now, struct sg_outcome* outcome) {
    struct sg_match match = {
        .generation = side->generation,
        .policy_slot = side->direction == SG_IN ? config->policy_slot[SG_IN] : config->policy_slot[SG_OUT],
    };
    if (!sg_policy_match(packet, &match)) {
        /* Kinds without ports were asked; a later fragment that only a port rule could admit ends here. */
        return packet->flags & SG_PACKET_FRAGMENT_LATER ? SG_REASON_FRAGMENT_ALONE : SG_REASON_NO_RULE;
    }
    outcome->rule = match.rule;
    outcome->stage = (__u8)match.stage;
    outcome->tracking = (__u8)sg_tracking_of(packet, config, side, &match);
    if (outcome->tracking != SG_TRACKING_OPENED) {
        sg_count_rule(match.rule, packet->length);
        return SG_REASON_RULE;
    }
    struct sg_opening opening = {.now = now, .direction = side->direction, .epoch = config->epoch, .rule = match.rule};
    const enum sg_reason reason = (enum sg_reason)sg_flow_open(packet, &opening);
    if (reason == SG_REASON_RULE) {
        sg_count_rule(match.rule, packet->length);
        outcome->flow_slot = opening.slot;
    } else {
        outcome->tracking = SG_TRACKING_NONE;
    }
    return reason;
}

/* The packet of a live flow of the key, refreshed; or SG_REASON_NONE. */
SG_INLINE enum sg_reason sg_judge_tracked(const struct sg_packet* packet, const struct sg_interface_config* config,
                                          const struct sg_side* side, __u64 now, struct sg_outcome* outcome) {
    __u64 word = 0;
    __u32 slot = 0;
    struct sg_flow* flow = sg_flow_find(&packet->key, config, now, &word, &slot);
    if (!flow) {
        return SG_REASON_NONE;
    }
    if (sg_flow_is_closing(SG_WORD_STATE(word)) && sg_tcp_opens(packet->tcp_flags)) {
        return SG_REASON_NONE; /* the tuple is used again: the rules decide (SG-5.63) */
    }
    const __u32 rule = flow->rule;
    const int from_opener = sg_from_opener(word, side->direction);
    if (!sg_flow_advance(flow, word, from_opener, packet->tcp_flags)) {
        return SG_REASON_NONE;
    }
    sg_flow_touch(flow, from_opener, packet->length, now);
    if (!sg_config.dry_run) {
        SG_WRITE(flow->epoch, config->epoch); /* the source/dest check just passed for this configuration */
    }
    outcome->rule = rule;
    outcome->flow_slot = slot;
    outcome->tracking = SG_TRACKING_FLOW;
    return SG_REASON_TRACKED;
}

/* Everything but the established path. Returns an enum sg_reason. */
SG_GLOBAL int sg_slow_path(sg_context* context, __u32 interface_slot, __u32 direction, struct sg_outcome* outcome) {
    if (!outcome) {
        return SG_REASON_INTERNAL;
    }
    struct sg_packet packet = {};
    packet.key.interface_slot = (__u16)interface_slot;

    const __u64 generation = sg_generation();
    outcome->generation = generation;
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    const __u32 flags = config ? config->flags : 0;
    if (flags & SG_IF_QUARANTINE) {
        return SG_REASON_QUARANTINE;
    }
    const int ready = (flags & SG_IF_READY) != 0;
    enum sg_reason reason = (enum sg_reason)sg_parse(context, &packet, direction);
    if (reason != SG_REASON_NONE) {
        return reason;
    }
    const struct sg_side side = {
        .config = ready ? config : 0, .slot = interface_slot, .direction = direction, .generation = generation};
    reason = (enum sg_reason)sg_exempt(context, &packet, interface_slot, direction, generation);
    if (reason != SG_REASON_NONE) {
        return reason;
    }
    if (!ready || !config) {
        return SG_REASON_NOT_READY;
    }
    if (!sg_addresses_sane(&packet, direction)) {
        return SG_REASON_BAD_ADDRESS;
    }
    if ((flags & SG_IF_SOURCE_CHECK) && !sg_is_local(interface_slot, packet.key.family, packet.key.local, generation)) {
        return SG_REASON_SOURCE_DEST;
    }
    const __u64 now = sg_now();
    if (sg_has_flow_key(&packet)) {
        reason = sg_judge_tracked(&packet, config, &side, now, outcome);
        if (reason != SG_REASON_NONE) {
            return reason;
        }
    }
    return sg_judge_new(&packet, config, &side, now, outcome);
}

/*
 * The key of the frames that make up nearly all traffic, read in place: untagged Ethernet, IPv4 without
 * options or IPv6 without extension headers, no fragment, not ICMP, all headers in the linear part. 0 =
 * anything else, which the slow path parses in full.
 */
SG_INLINE int sg_fast_key(sg_context* context, __u32 length, __u32 direction, struct sg_flow_key* key,
                          __u8* tcp_flags) {
    const __u8* data = (const __u8*)(long)context->data;
    const __u8* end = (const __u8*)(long)context->data_end;
    const struct sg_ethernet* ethernet = (const struct sg_ethernet*)data;
    const __u8* transport;
    __u32 bytes; /* of the IP payload */
    if (data + SG_ETHERNET_BYTES + SG_IPV4_BYTES > end) {
        return 0;
    }
    if (ethernet->type == sg_htons(SG_ETHERTYPE_IPV4)) {
        const struct sg_ipv4* ip = (const struct sg_ipv4*)(data + SG_ETHERNET_BYTES);
        const __u32 total = sg_ntohs(ip->total_length);
        if (ip->version_ihl != 0x45 || (ip->fragment & sg_htons(0x3fff)) || total < SG_IPV4_BYTES ||
            SG_ETHERNET_BYTES + total > length) {
            return 0;
        }
        key->family = SG_IPV4;
        key->protocol = ip->protocol;
        __builtin_memcpy(direction == SG_IN ? key->remote : key->local, ip->source, 4);
        __builtin_memcpy(direction == SG_IN ? key->local : key->remote, ip->destination, 4);
        transport = data + SG_ETHERNET_BYTES + SG_IPV4_BYTES;
        bytes = total - SG_IPV4_BYTES;
    } else if (ethernet->type == sg_htons(SG_ETHERTYPE_IPV6)) {
        const struct sg_ipv6* ip = (const struct sg_ipv6*)(data + SG_ETHERNET_BYTES);
        if (data + SG_ETHERNET_BYTES + SG_IPV6_BYTES > end || ip->version_class >> 4 != 6) {
            return 0;
        }
        bytes = sg_ntohs(ip->payload_length);
        if (SG_ETHERNET_BYTES + SG_IPV6_BYTES + bytes > length) {
            return 0;
        }
        key->family = SG_IPV6;
        key->protocol = ip->next_header;
        __builtin_memcpy(direction == SG_IN ? key->remote : key->local, ip->source, 16);
        __builtin_memcpy(direction == SG_IN ? key->local : key->remote, ip->destination, 16);
        transport = data + SG_ETHERNET_BYTES + SG_IPV6_BYTES;
    } else {
        return 0;
    }
    if (key->protocol == SG_PROTO_TCP) {
        const struct sg_tcp* tcp = (const struct sg_tcp*)transport;
        if (transport + sizeof(*tcp) > end || bytes < 20) {
            return 0;
        }
        const __u32 header = (__u32)(tcp->offset_reserved >> 4) * 4;
        if (header < 20 || header > bytes || !sg_tcp_flags_sane(tcp->flags)) {
            return 0;
        }
        *tcp_flags = tcp->flags;
    } else if (key->protocol != SG_PROTO_UDP || transport + 8 > end || bytes < 8) {
        return 0;
    }
    const __be16* ports = (const __be16*)transport;
    key->local_port = ports[direction == SG_IN ? 1 : 0];
    key->remote_port = ports[direction == SG_IN ? 0 : 1];
    return 1;
}

/* SG_REASON_TRACKED when the packet belongs to a flow that needs no second look, else SG_REASON_NONE. */
SG_INLINE enum sg_reason sg_established(sg_context* context, __u32 length, __u32 interface_slot, __u32 direction,
                                        struct sg_outcome* outcome) {
    struct sg_flow_key key = {.interface_slot = (__u16)interface_slot};
    __u8 tcp_flags = 0;
    if (sg_frame_tags(context) || !sg_fast_key(context, length, direction, &key, &tcp_flags)) {
        return SG_REASON_NONE;
    }
    const __u64 generation = sg_generation();
    outcome->generation = generation;
    const struct sg_interface_config* config = sg_interface_at(interface_slot, generation);
    if (!config || (config->flags & (SG_IF_READY | SG_IF_QUARANTINE)) != SG_IF_READY) {
        return SG_REASON_NONE;
    }
    __u64 word = 0;
    struct sg_flow* flow = sg_flow_find_fast(&key, config, sg_now(), &word, &outcome->flow_slot);
    if (!flow || flow->epoch != config->epoch) {
        return SG_REASON_NONE;
    }
    const int from_opener = sg_from_opener(word, direction);
    const __u8 state = SG_WORD_STATE(word);
    if (sg_flow_next(state, from_opener, tcp_flags) != state ||
        (sg_flow_is_closing(state) && sg_tcp_opens(tcp_flags))) {
        return SG_REASON_NONE; /* a packet that changes the state takes the slow path */
    }
    sg_flow_touch(flow, from_opener, length, sg_now()); /* held, `now` would cost stack */
    outcome->rule = flow->rule;
    outcome->tracking = SG_TRACKING_FLOW;
    return SG_REASON_TRACKED;
}

/* Judges, counts and reports. Reasons below SG_REASON_NO_RULE let the packet pass. */
SG_INLINE enum sg_verdict sg_pipeline(sg_context* context, __u32 direction) {
    const __u32 ifindex = sg_context_ifindex(context);
    __u32 interface_slot = 0;
    if (sg_config.test_mode) {
        interface_slot = SG_READ(sg_test.interface_slot);
    } else {
        const struct sg_binding* binding = bpf_map_lookup_elem(&sg_ifindex, &ifindex);
        interface_slot = binding ? SG_READ(binding->interface_slot) : 0;
    }
    const __u32 length = sg_frame_length(context);
    struct sg_outcome outcome = {};
    __u32 reason = sg_established(context, length, interface_slot, direction, &outcome);
    if (reason == SG_REASON_NONE) {
        const struct sg_binding* binding =
            sg_config.test_mode ? 0 : bpf_map_lookup_elem(&sg_ifindex, &ifindex); /* held, it would cost stack */
        if (binding && SG_READ(binding->since) > sg_generation()) {
            reason = SG_REASON_ROLLED_BACK;
        } else {
            outcome.flow_slot = 0; /* of a flow that needs a second look */
            reason = (__u32)sg_slow_path(context, interface_slot, direction, &outcome);
        }
        if (reason == SG_REASON_NONE || reason >= SG_REASON_MAX) {
            reason = SG_REASON_INTERNAL;
        }
    }
    SG_HIDE(reason);
    outcome.reason = reason;
    const enum sg_verdict verdict = reason < SG_REASON_NO_RULE ? SG_PASS : SG_DROP;
    if (sg_config.test_mode) {
        sg_test.outcome = outcome;
    }
    if (!sg_config.dry_run) {
        struct sg_counters* counters = bpf_map_lookup_elem(&sg_counters, &interface_slot);
        if (counters) {
            counters->packets[direction][reason & (SG_REASON_MAX - 1)]++;
            counters->bytes[direction][verdict] += length;
        }
    }
    if (sg_wants_event(interface_slot, reason)) {
        sg_emit(context, &outcome, interface_slot, direction);
    }
    return verdict;
}
