// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The corpus tests/data/state, which schema_test.py reads too. Each file of bad/ begins with
// `# expect: FRAGMENT || FRAGMENT ...`: one fragment for each error, and no error besides.
#include "model/ids.hpp"
#include "model/json.hpp"
#include "model/parse.hpp"
#include "model/yaml_out.hpp"

#include "base/file.hpp"
#include "base/strings.hpp"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

namespace sgbpf {
namespace {

std::vector<std::filesystem::path> corpus(const char* kind) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(SGBPF_TEST_DATA) / "state" / kind)) {
        files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

std::string text_of(const std::filesystem::path& file) {
    return *read_file(file.string(), kMaxStateBytes);
}

std::string all_of(const std::vector<Diagnostic>& diagnostics) {
    std::string text;
    for (const Diagnostic& diagnostic : diagnostics) {
        text += diagnostic.to_string() + '\n';
    }
    return text;
}

std::vector<std::string> expected_of(const std::string& text) {
    constexpr std::string_view kMark = "# expect: ";
    std::string line = text.substr(0, text.find('\n'));
    EXPECT_TRUE(line.starts_with(kMark));
    line.erase(0, kMark.size());
    std::vector<std::string> fragments;
    for (std::size_t end = line.find(" || "); end != std::string::npos; end = line.find(" || ")) {
        fragments.push_back(line.substr(0, end));
        line.erase(0, end + 4);
    }
    fragments.push_back(line);
    return fragments;
}

TEST(Corpus, GoodFilesAreRead) {
    const auto files = corpus("good");
    EXPECT_GE(files.size(), 15U);
    for (const auto& file : files) {
        SCOPED_TRACE(file.filename().string());
        const auto parsed = parse_state_file(file.string());
        ASSERT_TRUE(parsed) << parsed.error().message;
        EXPECT_TRUE(parsed->ok()) << all_of(parsed->errors);
    }
}

TEST(Corpus, BadFilesAreRefusedWithExactlyTheExpectedSentences) {
    const auto files = corpus("bad");
    EXPECT_GE(files.size(), 60U);
    for (const auto& file : files) {
        SCOPED_TRACE(file.filename().string());
        const auto parsed = parse_state_file(file.string());
        ASSERT_TRUE(parsed) << parsed.error().message;
        const std::vector<std::string> expected = expected_of(text_of(file));
        EXPECT_EQ(parsed->errors.size(), expected.size()) << all_of(parsed->errors);
        for (const std::string& fragment : expected) {
            EXPECT_NE(all_of(parsed->errors).find(fragment), std::string::npos) << "no \"" << fragment << "\" in\n"
                                                                                << all_of(parsed->errors);
        }
    }
}

TEST(Corpus, EveryErrorNamesALineOfItsFile) {
    for (const auto& file : corpus("bad")) {
        SCOPED_TRACE(file.filename().string());
        const std::string text = text_of(file);
        const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
        const auto parsed = parse_state_file(file.string());
        ASSERT_TRUE(parsed);
        for (const Diagnostic& error : parsed->errors) {
            EXPECT_EQ(find_invalid_utf8(error.message), std::string::npos);
            if (error.file != file.string() || error.message.starts_with("is empty: nothing")) {
                continue;
            }
            EXPECT_GE(error.line, 1) << error.to_string();
            EXPECT_LE(error.line, lines) << error.to_string();
            EXPECT_GE(error.column, 1) << error.to_string();
        }
    }
}

TEST(Corpus, WhatIsWrittenReadsTheSame) {
    for (const auto& file : corpus("good")) {
        SCOPED_TRACE(file.filename().string());
        State state = parse_state_file(file.string())->state;
        for (const bool with_ids : {false, true}) {
            if (with_ids) {
                CountingIds ids;
                assign_ids(state, nullptr, ids);
            }
            const std::string yaml = to_yaml(state);
            const ParsedState again = parse_state(yaml, "again.yaml", "");
            EXPECT_TRUE(again.ok()) << all_of(again.errors) << yaml;
            EXPECT_EQ(to_json(again.state).dump(1), to_json(state).dump(1)) << yaml;
            EXPECT_EQ(to_yaml(again.state), yaml);
        }
        const auto stored = state_from_json(nlohmann::json::parse(to_json(state).dump()));
        ASSERT_TRUE(stored) << stored.error().message;
        EXPECT_EQ(to_json(*stored).dump(1), to_json(state).dump(1));
    }
}

// No crash, no hang, and never a state without an error from half a file that says less than the whole.
TEST(Corpus, SurvivesFilesCutAnywhere) {
    for (const auto& file : corpus("good")) {
        SCOPED_TRACE(file.filename().string());
        const std::string text = text_of(file);
        const std::size_t step = text.size() / 300 + 1;
        for (std::size_t length = 0; length < text.size(); length += step) {
            const ParsedState parsed =
                parse_state(std::string_view(text).substr(0, length), "cut.yaml", file.parent_path());
            for (const Diagnostic& error : parsed.errors) {
                EXPECT_FALSE(error.message.empty());
            }
        }
    }
}

TEST(Corpus, SurvivesAnyByteAnywhere) {
    constexpr std::string_view kBytes("\0\t\n\r \"#&'*,-:?@[]{}|%\x7f\x80\xff"
                                      "09aZ",
                                      29);
    for (const auto& file : corpus("good")) {
        SCOPED_TRACE(file.filename().string());
        std::string text = text_of(file);
        const std::size_t step = text.size() / 200 + 1;
        for (std::size_t at = 0; at < text.size(); at += step) {
            const char saved = text[at];
            text[at] = kBytes[(at * 7) % kBytes.size()];
            const ParsedState parsed = parse_state(text, "changed.yaml", file.parent_path());
            for (const Diagnostic& error : parsed.errors) {
                EXPECT_EQ(find_invalid_utf8(error.to_string()), std::string::npos);
            }
            text[at] = saved;
        }
    }
}

}  // namespace
}  // namespace sgbpf
