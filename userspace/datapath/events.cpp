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
constexpr std::uint32_t kZero = 0;

using Visit = std::function<void(const sg_event&)>;

int show(void* visit, void* data, std::size_t bytes) {
    sg_event event{};
    if (bytes >= sizeof(event)) {
        std::memcpy(&event, data, sizeof(event));
        if (event.version == SG_EVENT_VERSION) {
            (*static_cast<const Visit*>(visit))(event);
        }
    }
    return 0;
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
    ~Listener() override { static_cast<void>(claim(word_, 0)); }

    // What an earlier listener left in the ring is not ours.
    Result<void> start() {
        ring_.reset(ring_buffer__new(tree_->map(HostMap::kEvents).fd(), show, &visit_, nullptr));
        if (!ring_) {
            return unexpected(kernel_error("open the ring of events", errno));
        }
        visit_ = [](const sg_event&) {};
        ring_buffer__consume(ring_.get());
        auto lost = lost_so_far();
        if (!lost) {
            return unexpected(lost.error());
        }
        lost_ = *lost;
        auto now = clock_.read();
        if (!now) {
            return unexpected(now.error());
        }
        word_ = load_word(control_->monitor);
        if (word_ != 0 &&
            static_cast<std::int32_t>(SG_MONITOR_UNTIL(word_) - static_cast<std::uint32_t>(now->ticks)) >= 0) {
            word_ = 0;
            return unexpected(make_error(
                ErrorCode::kRefused,
                fmt::format(
                    "another `sgbpf monitor` listens; end it first (one that was killed is forgotten after {} s)",
                    kPatienceSeconds)));
        }
        return ask();
    }

    Result<std::uint64_t> read(const Visit& visit) override {
        visit_ = visit;
        if (const int taken = ring_buffer__consume(ring_.get()); taken < 0) {
            return unexpected(kernel_error("read events", -taken));
        }
        auto lost = lost_so_far();
        auto asked = ask();
        if (!lost || !asked) {
            return unexpected(lost ? asked.error() : lost.error());
        }
        return *lost - std::exchange(lost_, *lost);
    }

private:
    Result<void> ask() {
        auto now = clock_.read();
        if (!now) {
            return unexpected(now.error());
        }
        const auto until = static_cast<std::uint32_t>(now->ticks + kPatienceSeconds * control_->ticks_per_second);
        const std::uint64_t next = wanted_ | std::uint64_t{until} << 32;
        if (!claim(word_, next)) {
            word_ = 0;
            return unexpected(make_error(ErrorCode::kRefused, "another `sgbpf monitor` listens now"));
        }
        word_ = next;
        return {};
    }
    // The word is ours as long as nobody else changed it.
    bool claim(std::uint64_t from, std::uint64_t to) {
        auto* word = reinterpret_cast<std::uint64_t*>(&control_->monitor);
        return from == 0 && to == 0
                   ? true
                   : __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
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
    std::uint64_t word_ = 0;  // as we stored it last
    Ring ring_;
    Visit visit_;
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
