// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/events.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "datapath/clock.hpp"
#include "datapath/features.hpp"
#include "datapath/usage.hpp"

namespace sgbpf {

namespace {

// How long the programs go on writing for a listener that does not come back.
constexpr std::uint64_t kPatienceSeconds = 5;
static_assert(kPatienceSeconds < SG_MONITOR_SECONDS_AHEAD);
constexpr std::uint32_t kZero = 0;
// Records read at a time: the library goes on as long as more come, which under load is forever.
constexpr std::size_t kBatch = 4096;
// Ends the library's reading. The record that it is the answer to is consumed.
constexpr int kEnough = -ECANCELED;

using Visit = std::function<bool(const sg_event&)>;

struct Reading {
    Visit visit;
    std::size_t left = 0;
};

int show(void* context, void* data, std::size_t bytes) {
    auto& reading = *static_cast<Reading*>(context);
    bool more = true;
    sg_event event{};
    if (bytes >= sizeof(event)) {
        std::memcpy(&event, data, sizeof(event));
        more = event.version != SG_EVENT_VERSION || reading.visit(event);
    }
    return --reading.left == 0 || !more ? kEnough : 0;
}

struct FreeRing {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};
using Ring = std::unique_ptr<ring_buffer, FreeRing>;

class Listener final : public EventStream {
public:
    Listener(Tree& tree, sg_control& control, TickClock clock, std::uint64_t wanted)
        : tree_(&tree), control_(&control), clock_(std::move(clock)), wanted_(wanted) {}
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() override {
        if (word_ != 0) {
            static_cast<void>(claim(0));
        }
    }

    // What an earlier listener left in the ring is not ours; but first the ring must be.
    Result<void> start() {
        ring_.reset(ring_buffer__new(tree_->map(HostMap::kEvents).fd(), show, &reading_, nullptr));
        if (!ring_) {
            return unexpected(kernel_error("open the ring of events", errno));
        }
        auto now = clock_.read();
        if (!now) {
            return unexpected(now.error());
        }
        const std::uint64_t found = load_word(control_->monitor);
        if (SG_MONITOR_LISTENS(found, now->ticks, control_->ticks_per_second)) {
            return unexpected(make_error(
                ErrorCode::kRefused,
                fmt::format(
                    "another `sgbpf monitor` listens; end it first (one that was killed is forgotten after {} s)",
                    kPatienceSeconds)));
        }
        word_ = found;
        const std::uint64_t wanted = std::exchange(wanted_, SG_MONITOR_CLAIMED);
        if (auto asked = ask(); !asked) {
            return asked;
        }
        for (bool more = true; more;) {
            auto left = consume([](const sg_event&) { return true; });
            if (!left) {
                return unexpected(left.error());
            }
            more = *left;
        }
        auto lost = lost_so_far();
        if (!lost) {
            return unexpected(lost.error());
        }
        lost_ = *lost;
        wanted_ = wanted;
        return ask();
    }

    Result<EventBatch> read(const Visit& visit) override {
        if (auto asked = ask(); !asked) {
            return unexpected(asked.error());
        }
        auto more = consume(visit);
        auto lost = lost_so_far();
        if (!more || !lost) {
            return unexpected(!more ? more.error() : lost.error());
        }
        return EventBatch{*lost - std::exchange(lost_, *lost), *more};
    }

    Result<void> hush() override {
        wanted_ = SG_MONITOR_CLAIMED;
        return ask();
    }

private:
    // Says whether it ended early.
    Result<bool> consume(const Visit& visit) {
        reading_ = {visit, kBatch};
        const int taken = ring_buffer__consume(ring_.get());
        if (taken < 0 && taken != kEnough) {
            return unexpected(kernel_error("read events", -taken));
        }
        return taken == kEnough;
    }
    Result<void> ask() {
        auto now = clock_.read();
        if (!now) {
            return unexpected(now.error());
        }
        const auto until = static_cast<std::uint32_t>(now->ticks + kPatienceSeconds * control_->ticks_per_second);
        const std::uint64_t next = wanted_ | std::uint64_t{until} << 32;
        // A packet cleared the word if we slept for too long; it is still ours unless somebody took it since.
        if (!claim(next) && (std::exchange(word_, 0) == 0 || !claim(next))) {
            return unexpected(make_error(ErrorCode::kRefused, "another `sgbpf monitor` listens now"));
        }
        word_ = next;
        return {};
    }
    // The word is ours as long as nobody else changed it.
    bool claim(std::uint64_t to) {
        auto* word = reinterpret_cast<std::uint64_t*>(&control_->monitor);
        std::uint64_t from = word_;
        return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    Result<std::uint64_t> lost_so_far() {
        std::array<std::uint64_t, sizeof(sg_event_counts) / 8> sums{};
        auto summed = sum_over_cpus(tree_->map(HostMap::kEventCounts), kZero, sums);
        return summed ? Result<std::uint64_t>(sums[offsetof(sg_event_counts, lost) / 8])
                      : Result<std::uint64_t>(unexpected(summed.error()));
    }

    Tree* tree_;
    sg_control* control_;
    TickClock clock_;
    std::uint64_t wanted_;
    std::uint64_t word_ = 0;  // as we stored it last, or found it before that
    Ring ring_;
    Reading reading_;
    std::uint64_t lost_ = 0;
};

}  // namespace

Result<std::unique_ptr<EventStream>> listen_on(Tree& tree, std::uint16_t what, std::uint32_t interface_slot) {
    auto control = tree.control();
    auto clock = TickClock::open();
    if (!control || !clock) {
        return unexpected(!control ? control.error() : clock.error());
    }
    const std::uint64_t wanted = what | std::uint64_t{static_cast<std::uint16_t>(interface_slot)} << 16;
    auto listener = std::make_unique<Listener>(tree, **control, std::move(*clock), wanted);
    if (auto started = listener->start(); !started) {
        return unexpected(started.error());
    }
    return std::unique_ptr<EventStream>(std::move(listener));
}

}  // namespace sgbpf
