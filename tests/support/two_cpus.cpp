// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "support/two_cpus.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace sgbpf::test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kSpins = 4096;  // before the other CPU may be somebody else's
constexpr int kHeadStart = 2048;   // spins: a program run takes about as long
constexpr int kNear = 256;         // likewise, around where both win as often
constexpr int kStep = 32;
constexpr int kFarthest = 1 << 20;

Clock::time_point deadline() {
    const char* text = std::getenv("SGBPF_RACE_SECONDS");
    return Clock::now() + std::chrono::milliseconds(text != nullptr ? std::atoi(text) * 1000 : 700);
}

// The n-th CPU that this process may use, or the last.
void pin(unsigned number) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    pthread_getaffinity_np(pthread_self(), sizeof(allowed), &allowed);
    int chosen = -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &allowed)) {
            chosen = cpu;
            if (number-- == 0) {
                break;
            }
        }
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(chosen, &one);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

void wait_until(const std::atomic<std::uint64_t>& word, std::uint64_t value) {
    for (unsigned spins = 0; word.load(std::memory_order_acquire) < value; ++spins) {
        if (spins > kSpins) {
            sched_yield();
        }
    }
}

class Random {  // xorshift64: which numbers does not matter
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }

private:
    std::uint64_t state_;
};

void spin(int count) {
    for (int done = 0; done < count; ++done) {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
}

}  // namespace

std::uint64_t run_rounds(const TwoCpus& work) {
    std::atomic<std::uint64_t> started = 0;
    std::atomic<std::uint64_t> finished = 0;
    std::atomic<bool> over = false;
    int delay = 0;  // of the first; negative: of the second. Written between rounds
    std::thread helper([&] {
        pin(1);
        for (std::uint64_t round = 1;; ++round) {
            wait_until(started, round);
            if (over) {
                return;
            }
            spin(-delay);
            work.second(round);
            finished.store(round, std::memory_order_release);
        }
    });
    std::uint64_t rounds = 0;
    std::thread leader([&] {  // its own thread: the caller's CPUs stay as they are
        pin(0);
        Random random(0xc2b2ae3d27d4eb4f);
        const auto until = deadline();
        int middle = 0;
        bool on = true;
        while (on && Clock::now() < until) {
            ++rounds;
            if (work.before) {
                work.before(rounds);
            }
            const int width = work.first_won ? kNear : kHeadStart;
            delay = middle + static_cast<int>(random.next() % static_cast<unsigned>(2 * width)) - width;
            started.store(rounds, std::memory_order_release);
            spin(delay);
            work.first(rounds);
            wait_until(finished, rounds);
            on = !work.after || work.after(rounds);
            if (work.first_won) {
                middle = std::clamp(middle + (work.first_won() ? kStep : -kStep), -kFarthest, kFarthest);
            }
        }
        over = true;
        started.store(rounds + 1, std::memory_order_release);
    });
    leader.join();
    helper.join();
    return rounds;
}

void run_freely(const std::function<void(std::uint64_t)>& first, const std::function<void(std::uint64_t)>& second) {
    const auto until = deadline();
    const auto loop = [&until](unsigned cpu, const std::function<void(std::uint64_t)>& work) {
        pin(cpu);
        for (std::uint64_t step = 0; Clock::now() < until; ++step) {
            work(step);
        }
    };
    std::array threads = {std::thread(loop, 0, std::cref(first)), std::thread(loop, 1, std::cref(second))};
    for (std::thread& one : threads) {
        one.join();
    }
}

}  // namespace sgbpf::test
