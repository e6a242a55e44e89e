// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "store/store.hpp"

#include "base/errno.hpp"
#include "base/file.hpp"
#include "model/json.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace sgbpf {

namespace {

using Json = nlohmann::json;

constexpr int kSchemaVersion = 1;
constexpr std::size_t kMaxAppliedBytes = std::size_t{1} << 30;
constexpr std::size_t kMaxImageBytes = std::size_t{1} << 32;
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
// How often a busy lock is tried again: flock(2) has no timeout.
constexpr std::chrono::milliseconds kLockPause{20};

// "apply s.yaml" as in /proc/self/cmdline, for the sentence of whoever finds the lock taken.
std::string command_line() {
    const auto bytes = read_file("/proc/self/cmdline", 65536);
    std::string command = bytes ? *bytes : std::string();
    std::replace_if(command.begin(), command.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    while (!command.empty() && command.back() == ' ') {
        command.pop_back();
    }
    constexpr std::size_t kMost = 200;
    return command.size() > kMost ? command.substr(0, kMost) + "..." : command;
}

std::string one_line(std::string_view text) {
    std::string line(text);
    std::replace_if(
        line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
    return line;
}

Error corrupt(const std::string& path, const std::string& why) {
    return make_error(
        ErrorCode::kCorrupt,
        fmt::format("{} {}; nothing was changed. Move it away to start anew: rules then get new ids", path, why));
}

Error with_disk_help(Error error) {
    if (error.code == ErrorCode::kExhausted) {
        error.message += "; the old file is unchanged. Make room and try again";
    }
    return error;
}

Result<Applied> applied_from_json(const std::string& path, const Json& json) {
    if (!json.is_object()) {
        return unexpected(corrupt(path, "is damaged: it is not a JSON object"));
    }
    const auto version = json.find("schema");
    if (version == json.end() || !version->is_number_unsigned()) {
        return unexpected(corrupt(path, "is damaged: it names no schema version"));
    }
    if (version->get<std::uint64_t>() > static_cast<std::uint64_t>(kSchemaVersion)) {
        return unexpected(make_error(ErrorCode::kCorrupt,
                                     fmt::format("{} was written by a newer sgbpf (schema {}, this program reads {}); "
                                                 "nothing was changed. Use the newer program",
                                                 path, version->get<std::uint64_t>(), kSchemaVersion)));
    }
    Applied applied;
    const auto text = [&](const char* key, std::string& value) {
        const auto found = json.find(key);
        if (found == json.end() || !found->is_string()) {
            return false;
        }
        value = found->get<std::string>();
        return true;
    };
    const auto generation = json.find("generation");
    if (generation == json.end() || !generation->is_number_unsigned() || !text("digest", applied.digest_hex) ||
        !text("applied_by", applied.applied_by) || !text("applied_at", applied.applied_at) ||
        !text("source", applied.source) || !json.contains("state")) {
        return unexpected(corrupt(path, "is damaged: a field is missing"));
    }
    static_cast<void>(text("host", applied.host_words));  // older records have none
    applied.generation = generation->get<std::uint64_t>();
    auto state = state_from_json(json["state"]);
    if (!state) {
        return unexpected(corrupt(path, "is damaged: " + state.error().message));
    }
    applied.state = std::move(*state);
    return applied;
}

}  // namespace

std::string caller_text() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    std::string user = variable("SUDO_USER");
    user = user.empty() ? variable("USER") : user;
    user = user.empty() ? fmt::format("uid-{}", ::getuid()) : user;
    std::string text = fmt::format("{} uid {} pid {}", user, ::getuid(), ::getpid());
    std::array<char, 64> tty{};
    if (::ttyname_r(STDIN_FILENO, tty.data(), tty.size()) == 0) {
        const std::string_view name(tty.data());
        text += fmt::format(" tty {}", name.starts_with("/dev/") ? name.substr(5) : name);
    }
    return one_line(text);
}

std::string utc_text(std::chrono::system_clock::time_point time) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::string journal_line(std::chrono::system_clock::time_point time, std::string_view who, std::string_view what,
                         std::string_view digest_hex) {
    return one_line(fmt::format("{} who=\"{}\" what=\"{}\" digest={}", utc_text(time), who, what,
                                digest_hex.empty() ? "-" : digest_hex));
}

Store::Lock::~Lock() {
    // The text goes before the lock does, so that nobody reads a holder who is gone.
    if (fd_.valid()) {
        [[maybe_unused]] const int cut = ::ftruncate(fd_.get(), 0);
    }
}

Result<Store> Store::open(const std::string& directory, bool create) {
    struct stat status = {};
    if (::stat(directory.c_str(), &status) == 0) {
        if (!S_ISDIR(status.st_mode)) {
            return unexpected(
                make_error(ErrorCode::kInvalid, fmt::format("state directory {}: it is not a directory", directory)));
        }
        return Store(directory);
    }
    if (errno != ENOENT || !create) {
        return unexpected(errno_error("open state directory " + directory, errno));
    }
    // As mkdir -p: /var/lib exists on every host, a --state-dir below a new directory is the user's wish.
    for (std::size_t slash = directory.find('/', 1);; slash = directory.find('/', slash + 1)) {
        const std::string part = directory.substr(0, slash);
        if (!part.empty() && ::mkdir(part.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
            return unexpected(with_disk_help(errno_error("create state directory " + part, errno)));
        }
        if (slash == std::string::npos) {
            return Store(directory);
        }
    }
}

Result<Store::Lock> Store::lock(std::chrono::milliseconds wait) const {
    const std::string name = path("lock");
    Fd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kFileMode));
    if (!fd.valid()) {
        return unexpected(errno_error("open " + name, errno));
    }
    const auto deadline = std::chrono::steady_clock::now() + wait;
    while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return unexpected(errno_error("lock " + name, errno));
        }
        const auto now = std::chrono::steady_clock::now();
        if (now >= deadline) {
            const auto holder = read_file(name, 4096);
            const std::string who = holder && !holder->empty() ? *holder : "another process";
            return unexpected(make_error(
                ErrorCode::kRefused,
                fmt::format("another sgbpf is at work: {} holds {}; wait until it has finished and try again",
                            one_line(who), name),
                EWOULDBLOCK));
        }
        std::this_thread::sleep_for(std::min(kLockPause, std::chrono::ceil<std::chrono::milliseconds>(deadline - now)));
    }
    // Who we are is a courtesy to others: on a full disk the lock holds all the same.
    const std::string self = fmt::format("pid {} ({})", ::getpid(), command_line());
    if (::ftruncate(fd.get(), 0) == 0) {
        [[maybe_unused]] const ssize_t written = ::pwrite(fd.get(), self.data(), self.size(), 0);
    }
    return Lock(std::move(fd));
}

Result<std::optional<Applied>> Store::load_applied() const {
    return load_applied_from("applied.json");
}

Result<std::optional<Applied>> Store::load_staged() const {
    return load_applied_from("applied.next");
}

Result<std::optional<Applied>> Store::load_applied_from(const char* file) const {
    const std::string name = path(file);
    const auto bytes = read_file(name, kMaxAppliedBytes);
    if (!bytes) {
        if (bytes.error().code == ErrorCode::kNotFound) {
            return std::optional<Applied>();
        }
        return unexpected(bytes.error());
    }
    const Json json = Json::parse(*bytes, nullptr, false);
    if (json.is_discarded()) {
        return unexpected(corrupt(name, "is damaged: it is not JSON"));
    }
    auto applied = applied_from_json(name, json);
    if (!applied) {
        return unexpected(std::move(applied).error());
    }
    return std::optional<Applied>(std::move(*applied));
}

Result<void> Store::save_applied(const Applied& applied) const {
    return save_applied_to("applied.json", applied);
}

Result<void> Store::stage_applied(const Applied& applied) const {
    return save_applied_to("applied.next", applied);
}

Result<void> Store::promote_staged() const {
    const std::string from = path("applied.next");
    const std::string to = path("applied.json");
    if (::rename(from.c_str(), to.c_str()) != 0) {
        return unexpected(errno_error("rename " + from + " to " + to, errno));
    }
    const Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() || ::fsync(directory.get()) != 0) {
        return unexpected(errno_error("sync " + directory_, errno));
    }
    return {};
}

void Store::drop_staged() const {
    // Nothing depends on it: what is staged counts only if its digest is the kernel's.
    [[maybe_unused]] const int gone = ::unlink(path("applied.next").c_str());
    [[maybe_unused]] const int image_gone = ::unlink(path("image.next").c_str());
}

Result<void> Store::save_applied_to(const char* file, const Applied& applied) const {
    const Json json = {{"schema", static_cast<unsigned>(kSchemaVersion)},
                       {"generation", applied.generation},
                       {"digest", applied.digest_hex},
                       {"applied_by", applied.applied_by},
                       {"applied_at", applied.applied_at},
                       {"source", applied.source},
                       {"host", applied.host_words},
                       {"state", to_json(applied.state)}};
    const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    auto written = write_file_atomically(path(file), text, kFileMode);
    return written ? Result<void>() : Result<void>(unexpected(with_disk_help(std::move(written).error())));
}

Result<std::optional<std::string>> Store::load_image_cache(bool staged) const {
    auto bytes = read_file(path(staged ? "image.next" : "image.bin"), kMaxImageBytes);
    if (bytes) {
        return std::optional<std::string>(std::move(*bytes));
    }
    if (bytes.error().code == ErrorCode::kNotFound) {
        return std::optional<std::string>();
    }
    return unexpected(std::move(bytes).error());
}

Result<void> Store::save_image_cache(std::string_view bytes, bool staged) const {
    auto written = write_file_atomically(path(staged ? "image.next" : "image.bin"), bytes, kFileMode);
    return written ? Result<void>() : Result<void>(unexpected(with_disk_help(std::move(written).error())));
}

Result<void> Store::append_journal(std::string_view line) const {
    return append_line(path("journal.log"), one_line(line), kFileMode);
}

}  // namespace sgbpf
