// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "compiler/classes.hpp"

#include <algorithm>
#include <cstring>
#include <queue>

#include "image/encode.hpp"

namespace sgbpf {

std::vector<Segment> attribute(std::span<const Claim> claims) {
    std::vector<Segment> segments;
    if (claims.empty()) {
        return segments;
    }
    if (claims.size() == 1) {
        return {Segment{{claims[0].first, claims[0].last, 0}, claims[0].rule}};
    }
    std::vector<std::uint32_t> by_first(claims.size());
    std::vector<std::uint32_t> edges;  // where the set of covering claims may change
    edges.reserve(2 * claims.size());
    for (std::uint32_t i = 0; i < claims.size(); ++i) {
        by_first[i] = i;
        edges.push_back(claims[i].first);
        edges.push_back(std::uint32_t{claims[i].last} + 1);
    }
    std::sort(by_first.begin(), by_first.end(),
              [&](std::uint32_t a, std::uint32_t b) { return claims[a].first < claims[b].first; });
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());

    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> covering;  // lowest index on top
    std::size_t next = 0;
    for (std::size_t e = 0; e + 1 < edges.size(); ++e) {
        const std::uint32_t first = edges[e];
        for (; next < by_first.size() && claims[by_first[next]].first <= first; ++next) {
            covering.push(by_first[next]);
        }
        while (!covering.empty() && claims[covering.top()].last < first) {
            covering.pop();
        }
        if (covering.empty()) {
            continue;
        }
        const std::uint32_t rule = claims[covering.top()].rule;
        const auto last = static_cast<std::uint16_t>(edges[e + 1] - 1);
        if (!segments.empty() && segments.back().rule == rule &&
            std::uint32_t{segments.back().ports.last} + 1 == first) {
            segments.back().ports.last = last;
        } else {
            segments.push_back({{static_cast<std::uint16_t>(first), last, 0}, rule});
        }
    }
    return segments;
}

sg_interval canonical_ports(const Rule& rule) {
    switch (rule.protocol) {
        case kTcp:
        case kUdp:
            return {rule.ports.first, rule.ports.last, 0};
        case kIcmp:
        case kIcmpv6: {
            if (rule.icmp.type < 0) {
                return {0, 65535, 0};
            }
            const auto type = static_cast<std::uint16_t>(rule.icmp.type << 8);
            if (rule.icmp.code < 0) {
                return {type, static_cast<std::uint16_t>(type | 0xff), 0};
            }
            const auto exact = static_cast<std::uint16_t>(type | rule.icmp.code);
            return {exact, exact, 0};
        }
        default:
            return {0, 65535, 0};  // SG-2.11, SG-2.18: no ports
    }
}

void claim(const CompiledRule& rule, std::array<std::vector<Claim>, SG_KINDS>& claims) {
    const Claim ports{rule.ports.first, rule.ports.last, rule.slot};
    switch (rule.protocol) {
        case kTcp:
            claims[SG_KIND_TCP].push_back(ports);
            break;
        case kUdp:
            claims[SG_KIND_UDP].push_back(ports);
            break;
        case kIcmp:
            claims[SG_KIND_ICMP].push_back(ports);
            break;
        case kIcmpv6:
            claims[SG_KIND_ICMPV6].push_back(ports);
            break;
        case kAllProtocols:  // SG-2.10
            for (const std::size_t kind : {SG_KIND_TCP, SG_KIND_UDP, SG_KIND_ICMP, SG_KIND_ICMPV6}) {
                claims[kind].push_back({0, 65535, rule.slot});
            }
            claims[SG_KIND_PROTOCOL].push_back({0, 255, rule.slot});
            break;
        default: {
            const auto protocol = static_cast<std::uint16_t>(rule.protocol);
            claims[SG_KIND_PROTOCOL].push_back({protocol, protocol, rule.slot});
            break;
        }
    }
}

std::size_t BlockBuilder::ClassHash::operator()(const std::array<std::uint32_t, 16>& words) const noexcept {
    std::uint64_t hash = 0;
    for (const std::uint32_t word : words) {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 29;
    }
    return hash;
}

std::uint32_t BlockBuilder::first_ref(const std::vector<std::uint32_t>& rules) {
    // A "-1" rule asks for the same run in all five kinds.
    if (!block_.ref_runs.empty()) {
        const ClassBlock::RefRun& last = block_.ref_runs.back();
        if (last.count == rules.size() && std::equal(rules.begin(), rules.end(), block_.rules.begin() + last.begin)) {
            return last.first;
        }
    }
    const auto [it, added] = refs_.try_emplace(rules);
    if (added) {
        const auto count = static_cast<std::uint32_t>(rules.size());
        it->second = workspace_.next.ref_pool.take(count);
        workspace_.count_refs(count);
        block_.ref_runs.push_back({it->second, static_cast<std::uint32_t>(block_.rules.size()), count});
        block_.rules.insert(block_.rules.end(), rules.begin(), rules.end());
    }
    return it->second;
}

sg_ports BlockBuilder::ports_of(std::span<const Segment> segments) {
    if (segments.empty()) {
        return {};
    }
    intervals_.clear();
    rules_.clear();
    for (const Segment& segment : segments) {
        intervals_.push_back(segment.ports);
        rules_.push_back(segment.rule);
    }
    const std::shared_ptr<const IntervalRun> run = workspace_.intern(intervals_);
    runs_.try_emplace(run->first, run);
    return {run->first, static_cast<std::uint32_t>(segments.size()), first_ref(rules_)};
}

std::uint32_t BlockBuilder::class_of(std::span<const std::uint32_t> ranks) {
    if (ranks.empty()) {
        return 0;
    }
    for (auto& claims : claims_) {
        claims.clear();
    }
    for (const std::uint32_t rank : ranks) {
        claim(*by_rank_[rank], claims_);
    }
    sg_class content{};
    for (std::size_t kind = 0; kind < SG_KINDS; ++kind) {
        if (claims_[kind].size() == 1) {
            const Claim& only = claims_[kind][0];
            const Segment segment{{only.first, only.last, 0}, only.rule};
            content.kind[kind] = ports_of({&segment, 1});
        } else {
            content.kind[kind] = ports_of(attribute(claims_[kind]));
        }
    }
    std::array<std::uint32_t, 16> words;
    static_assert(sizeof(words) == sizeof(content));
    std::memcpy(words.data(), &content, sizeof(content));
    const auto [it, added] = by_content_.try_emplace(words);
    if (added) {
        it->second = workspace_.next.class_pool.take();
        block_.classes.push_back({it->second, content});
    }
    return it->second;
}

ClassBlock BlockBuilder::finish() {
    block_.intervals.reserve(runs_.size());
    for (const auto& [first, run] : runs_) {
        workspace_.use(*run);
        block_.intervals.push_back(run);
    }
    block_.sum = sum_of(block_);
    return std::move(block_);
}

}  // namespace sgbpf
