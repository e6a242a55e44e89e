// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/file.hpp"
#include "tests/unit/base/temporary_directory.hpp"

#include <sys/stat.h>
#include <unistd.h>

namespace sgbpf {
namespace {

constexpr std::size_t kLimit = 1 << 20;

TEST(ReadFile, ReturnsEveryByte) {
    const TemporaryDirectory directory;
    const std::string bytes("a\0b\r\n\xff", 6);
    const auto read = read_file(directory.write("f", bytes), kLimit);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, bytes);
    EXPECT_EQ(*read_file(directory.write("empty", ""), kLimit), "");
}

TEST(ReadFile, NamesWhatIsMissing) {
    const auto read = read_file("/nonexistent/s.yaml", kLimit);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(read.error().message, "read /nonexistent/s.yaml: No such file or directory");
}

TEST(ReadFile, RefusesADirectory) {
    const TemporaryDirectory directory;
    const auto read = read_file(directory.path(), kLimit);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
    EXPECT_NE(read.error().message.find("it is a directory; name a file"), std::string::npos);
}

TEST(ReadFile, RefusesWhatExceedsTheLimitWithoutReadingIt) {
    const TemporaryDirectory directory;
    const std::string path = directory.write("big", "");
    ASSERT_EQ(::truncate(path.c_str(), 100 << 20), 0);  // sparse: 100 MiB of nothing
    const auto read = read_file(path, kLimit);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(read.error().message, "read " + path + ": larger than 1 MiB, which is the limit for one file");
}

TEST(ReadFile, StopsReadingAnEndlessDevice) {
    const auto read = read_file("/dev/zero", kLimit);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
}

TEST(ReadFile, AcceptsExactlyTheLimit) {
    const TemporaryDirectory directory;
    const auto read = read_file(directory.write("f", std::string(kLimit, 'x')), kLimit);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->size(), kLimit);
    EXPECT_FALSE(read_file(directory.write("g", std::string(kLimit + 1, 'x')), kLimit));
}

TEST(ReadFile, ReadsAPipe) {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_EQ(::write(ends[1], "abc", 3), 3);
    ::close(ends[1]);
    const auto read = read_all(ends[0], "pipe", kLimit);
    ::close(ends[0]);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, "abc");
}

TEST(WriteFile, ReplacesTheWholeFileAndLeavesNothingElse) {
    const TemporaryDirectory directory;
    const std::string path = directory.write("f", "old and longer");
    ASSERT_TRUE(write_file_atomically(path, "new", 0600));
    EXPECT_EQ(*read_file(path, kLimit), "new");
    struct stat status = {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(WriteFile, LeavesNoTemporaryFileWhenItCannotRename) {
    const TemporaryDirectory directory;
    std::filesystem::create_directory(directory.file("f"));
    std::filesystem::create_directory(directory.file("f/g"));
    EXPECT_FALSE(write_file_atomically(directory.file("f"), "new", 0600));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

TEST(AppendLine, KeepsWhatWasThere) {
    const TemporaryDirectory directory;
    ASSERT_TRUE(append_line(directory.file("log"), "one", 0600));
    ASSERT_TRUE(append_line(directory.file("log"), "two", 0600));
    EXPECT_EQ(*read_file(directory.file("log"), kLimit), "one\ntwo\n");
}

TEST(AppendLine, SaysThatTheDiskIsFull) {
    const auto appended = append_line("/dev/full", "line", 0600);
    ASSERT_FALSE(appended);
    EXPECT_EQ(appended.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(appended.error().message, "append to /dev/full: No space left on device");
}

}  // namespace
}  // namespace sgbpf
