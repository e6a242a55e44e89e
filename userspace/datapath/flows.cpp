// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/flows.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include <fmt/format.h>

namespace sgbpf {

namespace {

constexpr std::size_t kEthernetHeader = 14;
constexpr std::size_t kRecordsPerClock = 4096;

bool covers(const Prefix& prefix, const std::uint8_t* address) {
    for (unsigned bit = 0; bit < prefix.length; bit += 8) {
        const unsigned bits = std::min(8U, prefix.length - bit);
        const auto mask = static_cast<std::uint8_t>(0xff00U >> bits);
        if (((prefix.address.bytes[bit / 8] ^ address[bit / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool is_flow(std::uint64_t word) {
    return SG_WORD_STATE(word) != SG_FLOW_FREE && SG_WORD_STATE(word) != SG_FLOW_BUSY;
}

bool is_established(const sg_flow& flow) {
    switch (SG_WORD_STATE(flow.word)) {
        case SG_FLOW_ESTABLISHED:
        case SG_FLOW_FIN_WAIT:
        case SG_FLOW_CLOSE_WAIT:
        case SG_FLOW_TIME_WAIT:
        case SG_FLOW_UDP_ANSWERED:
        case SG_FLOW_UDP_ASKED_AGAIN:
        case SG_FLOW_UDP_STREAM:
            return true;
        case SG_FLOW_ICMP:
        case SG_FLOW_OTHER:
            return flow.packets[1] != 0;
        default:
            return false;
    }
}

bool matches(const sg_flow& flow, const FlowFilter& filter) {
    if (SG_WORD_STATE(flow.word) == SG_FLOW_FRAGMENT && !filter.contexts) {
        return false;
    }
    if (filter.interface_slot && *filter.interface_slot != flow.key.interface_slot) {
        return false;
    }
    if ((filter.state && *filter.state != SG_WORD_STATE(flow.word)) || (filter.rule && *filter.rule != flow.rule)) {
        return false;
    }
    if (filter.protocol && *filter.protocol != kAllProtocols && *filter.protocol != flow.key.protocol) {
        return false;
    }
    if (filter.peer && (static_cast<std::uint8_t>(filter.peer->address.family) != flow.key.family ||
                        !covers(*filter.peer, &flow.key.remote[0]))) {
        return false;
    }
    if (filter.established_only && *filter.established_only && !is_established(flow)) {
        return false;
    }
    return !filter.choose || filter.choose(flow);
}

Result<FlowSnapshot> read_flow_records(Tree& tree, const FlowFilter& filter) {
    auto records = elements<sg_flow>(tree.map(HostMap::kFlows));
    auto config = tree.config();
    if (!records || !config) {
        return unexpected(!records ? records.error() : config.error());
    }
    FlowSnapshot snapshot;
    snapshot.ticks_per_second = config->ticks_per_second;
    auto asked = *records;
    if (filter.flow_slot) {
        asked = *filter.flow_slot < asked.size() ? asked.subspan(*filter.flow_slot, 1) : asked.first(0);
    }
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < asked.size(); ++i) {
        const bool over = filter.time_limit.count() != 0 && i % kRecordsPerClock == 0 &&
                          std::chrono::steady_clock::now() - start > filter.time_limit;
        if (over) {
            snapshot.looked_at = static_cast<unsigned>(i * 100 / asked.size());
            break;
        }
        const auto flow = copy_live_flow(asked[i], [] {});
        if (!flow || !matches(*flow, filter)) {
            continue;
        }
        ++snapshot.live;
        if (filter.limit == 0 || snapshot.flows.size() < filter.limit) {
            snapshot.flows.push_back(*flow);
            const std::size_t slot = filter.flow_slot.value_or(static_cast<std::uint32_t>(i));
            snapshot.refs.push_back({static_cast<std::uint32_t>(slot), SG_WORD_INCARNATION(flow->word)});
        }
    }
    return snapshot;
}

Result<std::uint64_t> count_live_flows(Tree& tree) {
    auto records = elements<sg_flow>(tree.map(HostMap::kFlows));
    if (!records) {
        return unexpected(records.error());
    }
    std::uint64_t live = 0;
    for (const sg_flow& record : *records) {
        live += is_flow(load_word(record.word)) ? 1 : 0;
    }
    return live;
}

Result<void> read_ended_records(Tree& tree, FlowSnapshot& ended) {
    auto records = elements<sg_flow>(tree.map(HostMap::kFlows));
    if (!records) {
        return unexpected(records.error());
    }
    for (std::size_t i = 0; i < ended.flows.size(); ++i) {
        const FlowRef& ref = ended.refs[i];
        if (ref.slot >= records->size()) {
            continue;
        }
        const sg_flow& record = (*records)[ref.slot];
        const std::uint64_t free = (std::uint64_t{ref.incarnation + 1} << 32) | SG_FLOW_FREE;
        const std::array sequence{load_word(record.sequence[0]), load_word(record.sequence[1])};
        const std::array scale{record.scale[0], record.scale[1]};
        std::atomic_thread_fence(std::memory_order_acquire);
        if (load_word(record.word) == free) {
            std::copy(sequence.begin(), sequence.end(), std::begin(ended.flows[i].sequence));
            std::copy(scale.begin(), scale.end(), std::begin(ended.flows[i].scale));
        }
    }
    return {};
}

Result<std::uint64_t> reap_flow_records(Tree& tree, const std::vector<FlowRef>& flows) {
    auto object = load_on(tree, "sg_reap");
    if (!object) {
        return unexpected(object.error());
    }
    std::uint64_t ended = 0;
    std::vector<std::byte> frame(kEthernetHeader + sizeof(sg_reap_request));
    for (std::size_t first = 0; first < flows.size(); first += SG_REAP_ITEMS) {
        sg_reap_request request{};
        request.count = static_cast<std::uint32_t>(std::min<std::size_t>(flows.size() - first, SG_REAP_ITEMS));
        for (std::uint32_t i = 0; i < request.count; ++i) {
            request.item[i] = {flows[first + i].slot, flows[first + i].incarnation};
        }
        std::memcpy(&frame[kEthernetHeader], &request, sizeof(request));
        auto run = run_program(object->program("sg_reap"), "sg_reap", frame);
        if (!run) {
            return unexpected(run.error());
        }
        if (run->verdict != 0 || run->data.size() != frame.size()) {
            return unexpected(make_error(ErrorCode::kSystem, "end flows: the program failed"));
        }
        std::memcpy(&request, &run->data[kEthernetHeader], sizeof(request));
        ended += request.removed;
    }
    return ended;
}

}  // namespace sgbpf
