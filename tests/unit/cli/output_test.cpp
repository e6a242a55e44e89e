// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Tables, numbers and exit codes: what scripts and eyes rely on.
#include "cli/output.hpp"

#include <gtest/gtest.h>

#include "cli/exit_code.hpp"

namespace sgbpf::cli {
namespace {

TEST(Table, AlignsColumnsAndMarksEmptyCells) {
    Table table({{"NAME"}, {"FLOWS", Align::kRight}, {"STATE"}});
    table.add({"web0", "7", "filtering"});
    table.add({"a-longer-name", "12345678", ""});
    EXPECT_EQ(table.to_string(), "NAME              FLOWS  STATE\n"
                                 "web0                  7  filtering\n"
                                 "a-longer-name  12345678  -\n");
}

TEST(Table, WithoutRowsIsItsHeader) {
    EXPECT_EQ(Table({{"A"}, {"B"}}).to_string(), "A  B\n");
}

TEST(Table, CountsCharactersNotBytes) {
    Table table({{"NAME"}, {"X"}});
    table.add({"\xc3\xa4\xc3\xb6", "1"});
    table.add({"abcd", "2"});
    EXPECT_EQ(table.to_string(), "NAME  X\n\xc3\xa4\xc3\xb6    1\nabcd  2\n");
}

TEST(Output, CannotBeDrivenByNames) {
    EXPECT_EQ(harmless("a\x1b[2Jb"), "a\\x1b[2Jb");
    Table table({{"NAME"}});
    table.add({"evil\nweb0"});
    EXPECT_EQ(table.to_string(), "NAME\nevil\\x0aweb0\n");
}

TEST(Output, WritesTimesAndSizesForPeople) {
    EXPECT_EQ(duration(59), "59s");
    EXPECT_EQ(duration(725), "12m05s");
    EXPECT_EQ(duration(11220), "3h07m");
    EXPECT_EQ(duration(432000), "5d00h");
    EXPECT_EQ(bytes(512), "512 B");
    EXPECT_EQ(bytes(16 << 20), "16.0 MiB");
    EXPECT_EQ(milliseconds(4.06), "4.1 ms");
    EXPECT_EQ(milliseconds(120.4), "120 ms");
    EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

TEST(ExitCode, IsAFunctionOfTheErrorCode) {
    EXPECT_EQ(exit_code(ErrorCode::kInvalid), 2);
    EXPECT_EQ(exit_code(ErrorCode::kNotFound), 2);
    EXPECT_EQ(exit_code(ErrorCode::kExists), 2);
    EXPECT_EQ(exit_code(ErrorCode::kRefused), 3);
    EXPECT_EQ(exit_code(ErrorCode::kExhausted), 3);
    EXPECT_EQ(exit_code(ErrorCode::kPermission), 4);
    EXPECT_EQ(exit_code(ErrorCode::kUnsupported), 4);
    EXPECT_EQ(exit_code(ErrorCode::kCorrupt), 4);
    EXPECT_EQ(exit_code(ErrorCode::kSystem), 4);
}

}  // namespace
}  // namespace sgbpf::cli
