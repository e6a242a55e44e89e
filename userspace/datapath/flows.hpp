// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Reading and flushing flow records. User space never changes a record: the packet path's own reaper
// removes them, run through BPF_PROG_TEST_RUN.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>

#include <sgbpf/result.hpp>

#include "datapath/datapath.hpp"
#include "datapath/pins.hpp"

namespace sgbpf {

// Records in use that fit the filter, in slot order. Expired ones that nobody swept yet are among them.
// `now` is left to the caller, to be read after the walk: then no age is negative.
Result<FlowSnapshot> read_flow_records(Tree& tree, const FlowFilter& filter);

// Whether a record with this state word is a flow.
bool is_flow(std::uint64_t word);

// Other CPUs may give a record away while it is copied; then it is copied again, this often at most.
inline constexpr int kCopyTries = 16;

// A record as it was at one moment, or nothing if it is free or changes hands all the time. `after_copy` is
// for tests: it runs where another CPU may write.
template <typename AfterCopy> std::optional<sg_flow> copy_live_flow(const sg_flow& record, AfterCopy after_copy) {
    for (int attempt = 0; attempt < kCopyTries; ++attempt) {
        const std::uint64_t word = load_word(record.word);
        if (!is_flow(word)) {
            return std::nullopt;
        }
        sg_flow copy{};
        std::memcpy(&copy, &record, sizeof(copy));
        after_copy();
        std::atomic_thread_fence(std::memory_order_acquire);
        // The same incarnation before and after: key and rule are of the flow the word belongs to.
        const std::uint64_t again = load_word(record.word);
        if (SG_WORD_INCARNATION(again) == SG_WORD_INCARNATION(word) && is_flow(again)) {
            copy.word = again;
            return copy;
        }
    }
    return std::nullopt;
}
bool matches(const sg_flow& flow, const FlowFilter& filter);
// Answered by the other side: TCP past its handshake, UDP with a reply; other protocols by counters.
bool is_established(const sg_flow& flow);

Result<std::uint64_t> count_live_flows(Tree& tree);

// Datapath::read_last_sequences. A record that was given back keeps what it held until it is another flow's.
Result<void> read_ended_records(Tree& tree, FlowSnapshot& ended);

// How many were ended: others have ended meanwhile.
Result<std::uint64_t> reap_flow_records(Tree& tree, const std::vector<FlowRef>& flows);

}  // namespace sgbpf
