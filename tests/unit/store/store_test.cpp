// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "store/store.hpp"

#include "base/file.hpp"
#include "model/ids.hpp"
#include "model/json.hpp"
#include "model/parse.hpp"
#include "tests/unit/base/temporary_directory.hpp"

#include <csignal>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sgbpf {
namespace {

using std::chrono::milliseconds;
constexpr std::size_t kLimit = 1 << 20;

Applied example(std::uint64_t generation) {
    ParsedState parsed =
        parse_state("schema: sgbpf/v1\nvpcs: {prod: {cidrs: [10.0.0.0/16]}}\n"
                    "groups: {web: {vpc: prod, description: W, inbound: [{type: http, cidr: 10.0.0.0/8}]}}\n",
                    "s.yaml", "");
    EXPECT_TRUE(parsed.ok());
    Applied applied;
    applied.state = std::move(parsed.state);
    CountingIds ids;
    assign_ids(applied.state, nullptr, ids);
    applied.generation = generation;
    applied.digest_hex = "00ff";
    applied.applied_by = "alice uid 0 pid 1";
    applied.applied_at = utc_text(std::chrono::system_clock::from_time_t(0));
    applied.source = "s.yaml";
    return applied;
}

Store opened(const std::string& directory) {
    auto store = Store::open(directory, true);
    EXPECT_TRUE(store) << store.error().message;
    return *std::move(store);
}

// Kills its child, also when an assertion leaves the test.
class Child {
public:
    explicit Child(pid_t pid) : pid_(pid) {}
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() { kill_and_wait(); }
    void kill_and_wait() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }

private:
    pid_t pid_;
};

TEST(Store, IsMadeWithItsParentsForRootAlone) {
    const TemporaryDirectory directory;
    const std::string path = directory.file("a/b/state");
    EXPECT_EQ(Store::open(path, false).error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(Store::open(path, true));
    struct stat status = {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
    EXPECT_TRUE(Store::open(path, false));
}

TEST(Store, RefusesAFileForADirectory) {
    const TemporaryDirectory directory;
    const auto store = Store::open(directory.write("f", ""), true);
    ASSERT_FALSE(store);
    EXPECT_NE(store.error().message.find("it is not a directory"), std::string::npos);
}

TEST(Store, HoldsNothingAtFirst) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    const auto applied = store.load_applied();
    ASSERT_TRUE(applied);
    EXPECT_FALSE(applied->has_value());
    const auto image = store.load_image_cache();
    ASSERT_TRUE(image);
    EXPECT_FALSE(image->has_value());
}

TEST(Store, KeepsWhatWasApplied) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    const Applied applied = example((std::uint64_t{1} << 63) + 1);
    ASSERT_TRUE(store.save_applied(applied));
    const auto loaded = store.load_applied();
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_TRUE(loaded->has_value());
    EXPECT_EQ((*loaded)->generation, applied.generation);
    EXPECT_EQ((*loaded)->digest_hex, "00ff");
    EXPECT_EQ((*loaded)->applied_by, applied.applied_by);
    EXPECT_EQ((*loaded)->applied_at, "1970-01-01T00:00:00Z");
    EXPECT_EQ((*loaded)->source, "s.yaml");
    EXPECT_EQ(to_json((*loaded)->state), to_json(applied.state));
    struct stat status = {};
    ASSERT_EQ(::stat(directory.file("applied.json").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(Store, KeepsTheImageByteForByte) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    const std::string image("a\0\xff\n", 4);
    ASSERT_TRUE(store.save_image_cache(image));
    EXPECT_EQ(**store.load_image_cache(), image);
}

TEST(Store, StagesBesideWhatIsAppliedAndTakesItsPlaceAtOnce) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    ASSERT_TRUE(store.save_applied(example(1)));
    ASSERT_TRUE(store.stage_applied(example(2)));
    EXPECT_EQ((*store.load_applied())->generation, 1U);
    EXPECT_EQ((*store.load_staged())->generation, 2U);
    ASSERT_TRUE(store.promote_staged());
    EXPECT_EQ((*store.load_applied())->generation, 2U);
    EXPECT_FALSE(store.load_staged()->has_value());
    EXPECT_FALSE(store.promote_staged()) << "nothing is staged";

    ASSERT_TRUE(store.stage_applied(example(3)));
    store.drop_staged();
    EXPECT_FALSE(store.load_staged()->has_value());
    EXPECT_EQ((*store.load_applied())->generation, 2U);
    store.drop_staged();  // twice is once
}

TEST(Store, KeepsAQuarantine) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    Applied applied = example(1);
    Interface interface;
    interface.name = "web0";
    interface.id = "eni-1a2b3c4d";
    interface.vpc = "prod";
    interface.groups = {"prod/web"};
    interface.quarantine = true;
    applied.state.interfaces.emplace("web0", interface);
    ASSERT_TRUE(store.save_applied(applied));
    EXPECT_TRUE((*store.load_applied())->state.interfaces.at("web0").quarantine);
}

TEST(Store, RefusesADamagedFileAndLeavesItAlone) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    ASSERT_TRUE(store.save_applied(example(7)));
    const std::string whole = *read_file(directory.file("applied.json"), kLimit);
    const std::string half = whole.substr(0, whole.size() / 2);
    const std::string no_generation = nlohmann::json::parse(whole).erase("generation") > 0 ? "{\"schema\":1}" : "";
    for (const std::string& text : {std::string(), half, std::string("[]"), std::string("{}"), no_generation,
                                    std::string("{\"schema\":\"1\"}"), std::string(100, '\0')}) {
        SCOPED_TRACE(text);
        directory.write("applied.json", text);
        const auto loaded = store.load_applied();
        ASSERT_FALSE(loaded);
        EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(loaded.error().message.find("applied.json is damaged"), std::string::npos) << loaded.error().message;
        EXPECT_NE(loaded.error().message.find("nothing was changed"), std::string::npos);
        EXPECT_EQ(*read_file(directory.file("applied.json"), kLimit), text);
    }
}

TEST(Store, RefusesAFileOfANewerProgram) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    directory.write("applied.json", "{\"schema\": 2, \"things\": \"unknown here\"}");
    const auto loaded = store.load_applied();
    ASSERT_FALSE(loaded);
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(loaded.error().message.find("was written by a newer sgbpf (schema 2, this program reads 1)"),
              std::string::npos)
        << loaded.error().message;
}

TEST(StoreLock, IsHeldByOneAtATimeAndNamesTheHolder) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    {
        const auto held = store.lock(milliseconds(0));
        ASSERT_TRUE(held) << held.error().message;
        const auto second = store.lock(milliseconds(50));
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().code, ErrorCode::kRefused);
        EXPECT_NE(second.error().message.find("another sgbpf is at work: pid " + std::to_string(::getpid()) + " ("),
                  std::string::npos)
            << second.error().message;
        EXPECT_NE(second.error().message.find("store_test"), std::string::npos) << second.error().message;
    }
    EXPECT_TRUE(store.lock(milliseconds(0)));
}

TEST(StoreLock, DiesWithItsProcess) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    int ready[2] = {-1, -1};
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto held = store.lock(milliseconds(0));
        const char answer = held ? 'y' : 'n';
        [[maybe_unused]] const ssize_t written = ::write(ready[1], &answer, 1);
        ::pause();
        ::_exit(0);
    }
    Child guard(child);
    char answer = 0;
    ASSERT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    const auto refused = store.lock(milliseconds(0));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("pid " + std::to_string(child)), std::string::npos);
    guard.kill_and_wait();
    EXPECT_TRUE(store.lock(milliseconds(0))) << "a killed holder must not leave the lock behind";
    ::close(ready[0]);
    ::close(ready[1]);
}

TEST(StoreLock, IsWaitedFor) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    int go[2] = {-1, -1};
    int ready[2] = {-1, -1};
    ASSERT_EQ(::pipe(go), 0);
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        {
            const auto held = store.lock(milliseconds(0));
            char byte = held ? 'y' : 'n';
            [[maybe_unused]] ssize_t done = ::write(ready[1], &byte, 1);
            done = ::read(go[0], &byte, 1);
        }
        ::_exit(0);
    }
    const Child guard(child);
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    ASSERT_EQ(byte, 'y');
    ASSERT_EQ(::write(go[1], "g", 1), 1);
    EXPECT_TRUE(store.lock(milliseconds(10000)));
    for (const int fd : {go[0], go[1], ready[0], ready[1]}) {
        ::close(fd);
    }
}

TEST(Journal, IsOneLinePerChange) {
    const TemporaryDirectory directory;
    const Store store = opened(directory.path());
    const auto time = std::chrono::system_clock::from_time_t(1795459597);
    ASSERT_TRUE(
        store.append_journal(journal_line(time, "alice uid 0 pid 7 tty pts/1", "apply s.yaml\nevil\x1b", "ab12")));
    ASSERT_TRUE(store.append_journal(journal_line(time, "bob", "detach web0", "")));
    EXPECT_EQ(*read_file(directory.file("journal.log"), kLimit),
              "2026-11-23T18:46:37Z who=\"alice uid 0 pid 7 tty pts/1\" what=\"apply s.yaml evil \" digest=ab12\n"
              "2026-11-23T18:46:37Z who=\"bob\" what=\"detach web0\" digest=-\n");
}

TEST(Journal, NamesThePersonBehindSudo) {
    ::setenv("SUDO_USER", "alice", 1);
    const std::string expected = "alice uid " + std::to_string(::getuid()) + " pid " + std::to_string(::getpid());
    EXPECT_TRUE(caller_text().starts_with(expected)) << caller_text();
    ::unsetenv("SUDO_USER");
    ::setenv("USER", "bob\nroot", 1);
    EXPECT_TRUE(caller_text().starts_with("bob root uid ")) << caller_text();
    ::unsetenv("USER");
    EXPECT_TRUE(caller_text().starts_with("uid-" + std::to_string(::getuid()))) << caller_text();
}

// In a child, since the mount namespace cannot be left again. What the child finds wrong, it prints.
int full_disk_child(const std::string& mount_point) {
    const uid_t uid = ::getuid();
    const gid_t gid = ::getgid();
    bool ready = ::unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) == 0;
    if (uid == 0) {
        ready = ready && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    } else {
        std::ofstream("/proc/self/setgroups") << "deny";
        std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
        std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
    }
    if (!ready || ::mount("sgt-full", mount_point.c_str(), "tmpfs", 0, "size=64k") != 0) {
        std::perror("mount a small tmpfs in a private namespace");
        return 1;
    }
    const auto store = Store::open(mount_point, true);
    if (!store || !store->save_applied(example(1)) || !store->save_image_cache("old")) {
        std::fprintf(stderr, "the first save should fit\n");
        return 1;
    }
    const std::string before = *read_file(mount_point + "/applied.json", kLimit);
    std::ofstream(mount_point + "/filler") << std::string(256 * 1024, 'x');  // stops where the disk is full
    Applied larger = example(2);
    larger.source = std::string(16384, 's');
    const auto saved = store->save_applied(larger);
    const auto image = store->save_image_cache(std::string(16384, 'i'));
    const auto staged = store->stage_applied(larger);
    int wrong = 0;
    const auto expect = [&](bool good, const char* what) {
        if (!good) {
            std::fprintf(stderr, "%s\n", what);
            wrong = 1;
        }
    };
    expect(!saved && saved.error().code == ErrorCode::kExhausted, "a full disk is kExhausted");
    expect(!saved &&
               saved.error().message.find("No space left on device; the old file is unchanged") != std::string::npos,
           saved ? "saved" : saved.error().message.c_str());
    expect(!image && image.error().code == ErrorCode::kExhausted, "a full disk is kExhausted for the image too");
    expect(!staged && staged.error().code == ErrorCode::kExhausted, "a full disk is known before the flip");
    expect(*read_file(mount_point + "/applied.json", kLimit) == before, "the old file changed");
    expect(store->load_applied() && (*store->load_applied())->generation == 1, "the old state is lost");
    expect(**store->load_image_cache() == "old", "the old image is lost");
    expect(std::distance(std::filesystem::directory_iterator(mount_point), {}) == 3, "a temporary file was left");
    expect(store->lock(milliseconds(0)).has_value(), "the lock needs no space");
    expect(!store->append_journal(std::string(8192, 'j')), "the journal cannot have been written");
    return wrong;
}

TEST(Store, LeavesTheOldFilesOnAFullDisk) {
    const TemporaryDirectory directory;
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(full_disk_child(directory.path()));
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace sgbpf
