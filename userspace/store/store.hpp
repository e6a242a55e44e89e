// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The state directory (/var/lib/sgbpf): what was applied last, the image cache, the lock, the journal.
//
//   lock          flock(2); holds "pid command" of the holder, for the other's sentence
//   applied.json  the last applied State with its ids and generation
//   applied.next  the same of a commit that is under way
//   image.bin     opaque bytes: the serialised MapImage, only a cache
//   image.next    the same of a commit that waits for its confirmation
//   journal.log   one line per change, only appended to
//
// Who writes applied.json, image.bin or journal.log holds the lock. Each file is replaced as a whole
// (temporary file, fsync, rename, fsync of the directory): a crash or a full disk leaves the old one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "base/fd.hpp"

namespace sgbpf {

struct Applied {
    State state;  // with ids
    std::uint64_t generation = 0;
    std::string digest_hex;  // of the image
    std::string applied_by;  // caller_text()
    std::string applied_at;  // utc_text()
    std::string source;      // the state file's name, "-" for standard input
    std::string host_words;  // host_policy_words() then: with others the same state is another image
};

// Who runs us: "alice uid 0 pid 123 tty pts/1" (SUDO_USER, else USER, else the uid's number).
std::string caller_text();
// "2026-11-23T18:26:37Z".
std::string utc_text(std::chrono::system_clock::time_point time);
// One journal line: "TIME who=... what=... digest=...", control characters replaced.
std::string journal_line(std::chrono::system_clock::time_point time, std::string_view who, std::string_view what,
                         std::string_view digest_hex);

class Store {
public:
    // Held until destroyed.
    class Lock {
    public:
        Lock(Lock&&) noexcept = default;
        Lock& operator=(Lock&&) noexcept = default;
        Lock(const Lock&) = delete;
        Lock& operator=(const Lock&) = delete;
        ~Lock();

    private:
        friend class Store;
        explicit Lock(Fd fd) : fd_(std::move(fd)) {}
        Fd fd_;
    };

    // `create`: make the directory (mode 0700) if it is missing; else kNotFound.
    static Result<Store> open(const std::string& directory, bool create);

    [[nodiscard]] const std::string& directory() const { return directory_; }

    // kRefused, naming the holder, if it is still held after `wait`.
    [[nodiscard]] Result<Lock> lock(std::chrono::milliseconds wait) const;

    // Empty: nothing was ever applied. kCorrupt: damaged, or written by a newer sgbpf.
    [[nodiscard]] Result<std::optional<Applied>> load_applied() const;
    // kExhausted on a full disk; the old file stays.
    [[nodiscard]] Result<void> save_applied(const Applied& applied) const;

    // A commit saves in two steps, so that a full disk is known before the kernel changes: staged before
    // the flip, promoted after it. What is staged is in force if its digest is the kernel's.
    [[nodiscard]] Result<void> stage_applied(const Applied& applied) const;
    [[nodiscard]] Result<void> promote_staged() const;
    [[nodiscard]] Result<std::optional<Applied>> load_staged() const;
    void drop_staged() const;

    // Opaque to the store; empty if there is none. A cache: callers may ignore errors. `staged`: of a
    // commit that waits for its confirmation; drop_staged() drops that too.
    [[nodiscard]] Result<std::optional<std::string>> load_image_cache(bool staged = false) const;
    [[nodiscard]] Result<void> save_image_cache(std::string_view bytes, bool staged = false) const;

    // Appends `line` (a newline is added; any inside become spaces) and syncs it.
    [[nodiscard]] Result<void> append_journal(std::string_view line) const;

private:
    explicit Store(std::string directory) : directory_(std::move(directory)) {}
    [[nodiscard]] Result<std::optional<Applied>> load_applied_from(const char* file) const;
    [[nodiscard]] Result<void> save_applied_to(const char* file, const Applied& applied) const;
    [[nodiscard]] std::string path(const char* name) const { return directory_ + '/' + name; }

    std::string directory_;
};

}  // namespace sgbpf
