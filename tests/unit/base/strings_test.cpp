// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "base/strings.hpp"

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

TEST(ParseDecimal, TakesOnlyPlainDecimalNumbers) {
    EXPECT_EQ(parse_decimal("0"), 0U);
    EXPECT_EQ(parse_decimal("65535"), 65535U);
    EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
    for (const char* text : {"", "022", "00", "0x50", "1e3", "+1", "-1", " 1", "1 ", "1_000", "1.0", "\xd9\xa1",
                             "18446744073709551616", "99999999999999999999", "100000000000000000000"}) {
        SCOPED_TRACE(text);
        EXPECT_EQ(parse_decimal(text), std::nullopt);
    }
}

TEST(Utf8, FindsTheFirstBrokenByte) {
    EXPECT_EQ(find_invalid_utf8(""), std::string_view::npos);
    EXPECT_EQ(find_invalid_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), std::string_view::npos);
    struct Row {
        const char* name;
        std::string_view text;
        std::size_t offset;
    };
    const Row rows[] = {
        {"Latin-1", "ab\xe9", 2},
        {"overlong slash", "\xc0\xaf", 0},
        {"overlong in three", "a\xe0\x80\xaf", 1},
        {"surrogate", "\xed\xa0\x80", 0},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 0},
        {"cut short", "\xe2\x82", 0},
        {"tail alone", "abc\x80", 3},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        EXPECT_EQ(find_invalid_utf8(row.text), row.offset);
    }
}

TEST(Suggestion, FindsTheWordThatWasMeant) {
    const std::vector<std::string> words = {"port", "protocol", "prefix_list", "description", "cidr", "group"};
    EXPECT_EQ(closest("ports", words), "port");
    EXPECT_EQ(closest("proto", words), "protocol");
    EXPECT_EQ(closest("prefix-list", words), "prefix_list");
    EXPECT_EQ(closest("PrefixList", words), "prefix_list");
    EXPECT_EQ(closest("cdir", words), "cidr");
    EXPECT_EQ(closest("descripton", words), "description");
    EXPECT_EQ(closest("colour", words), "");
    EXPECT_EQ(closest("", words), "");
    EXPECT_EQ(did_you_mean("cdir", words), "; did you mean cidr?");
    EXPECT_EQ(did_you_mean("colour", words), "");
}

TEST(Printable, ShowsWhatCannotBePrinted) {
    EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
    EXPECT_EQ(printable("a\x1b[31m\n\xff"), "a\\x1b[31m\\x0a\\xff");
    EXPECT_EQ(printable("abcdef", 3), "abc...");
}

TEST(Counted, SpeaksEnglish) {
    EXPECT_EQ(counted(0, "rule"), "0 rules");
    EXPECT_EQ(counted(1, "rule"), "1 rule");
    EXPECT_EQ(counted(2, "entry", "entries"), "2 entries");
}

}  // namespace
}  // namespace sgbpf
