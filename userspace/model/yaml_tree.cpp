// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "model/yaml_tree.hpp"

#include "base/strings.hpp"

#include <algorithm>
#include <istream>
#include <streambuf>

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <fmt/format.h>

namespace sgbpf {

namespace {

// Lists in maps in lists: the schema needs 7 levels.
constexpr std::size_t kMaxDepth = 32;
constexpr const char* kUnclosed = "this quoted text is never closed";

std::string too_deep_text() {
    return fmt::format("nested more than {} levels deep", kMaxDepth);
}

Place place_of(const YAML::Mark& mark) {
    return mark.is_null() ? Place{}
                          : Place{static_cast<std::uint32_t>(mark.pos), static_cast<std::uint32_t>(mark.line)};
}

class TreeBuilder final : public YAML::EventHandler {
public:
    explicit TreeBuilder(Report& report) : report_(report) { stack_.emplace_back(); }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ == 2) {
            report_.error(place_of(mark), {}, "a second document starts here; a state file is one document");
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        add(node(YamlNode::Kind::kNull, mark, {}, anchor));
    }

    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        if (!aliases_) {
            report_.error(place_of(mark), {}, kAlias);
        }
        aliases_ = true;  // one is enough: the cure is the same for all
        add(node(YamlNode::Kind::kBroken, mark, {}, 0));
    }

    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        YamlNode scalar = node(YamlNode::Kind::kScalar, mark, tag, anchor);
        scalar.quoted = tag == "!";
        scalar.text = value;
        last_scalar_ = scalar.place;
        add(std::move(scalar));
    }

    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(node(YamlNode::Kind::kList, mark, tag, anchor));
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(node(YamlNode::Kind::kMap, mark, tag, anchor));
    }
    void OnMapEnd() override { close(); }

    [[nodiscard]] bool has_document() const { return documents_ > 0 && !stack_[0].children.empty(); }
    [[nodiscard]] int documents() const { return documents_; }
    [[nodiscard]] bool too_deep() const { return too_deep_; }
    [[nodiscard]] Place last_scalar() const { return last_scalar_; }
    YamlNode take_root() { return std::move(stack_[0].children[0]); }

    static constexpr const char* kAlias =
        "aliases (*name) are not supported: write the value out, or quote the text if it begins with *";

private:
    YamlNode node(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
        YamlNode made;
        made.kind = kind;
        made.place = place_of(mark);
        if (anchor != 0) {
            if (!anchors_) {
                report_.error(made.place, {},
                              "anchors (&name) are not supported: write the value out where it is needed, or quote the "
                              "text if it begins with &");
            }
            anchors_ = true;
            if (kind == YamlNode::Kind::kNull) {
                made.kind = YamlNode::Kind::kBroken;
            }
        }
        if (!tag.empty() && tag != "?" && tag != "!") {
            report_.error(made.place, {},
                          fmt::format("tags (here {}) are not supported: quote the text if it begins with !", tag));
        }
        return made;
    }

    void open(YamlNode parent) {
        if (stack_.size() > kMaxDepth && !too_deep_) {
            too_deep_ = true;
            report_.error(parent.place, {}, too_deep_text());
        }
        stack_.push_back(std::move(parent));
    }

    void close() {
        YamlNode done = std::move(stack_.back());
        stack_.pop_back();
        add(std::move(done));
    }

    void add(YamlNode child) {
        YamlNode& parent = stack_.back();
        // yaml-cpp places an absent value at the next token, which may be lines away: say the key's place.
        if (parent.kind == YamlNode::Kind::kMap && parent.children.size() % 2 == 1 &&
            child.kind == YamlNode::Kind::kNull && child.place.line != parent.children.back().place.line) {
            child.place = parent.children.back().place;
        }
        if (documents_ == 1) {
            parent.children.push_back(std::move(child));
        }
    }

    Report& report_;
    std::vector<YamlNode> stack_;  // [0] holds the document
    int documents_ = 0;
    bool too_deep_ = false;
    bool anchors_ = false;
    bool aliases_ = false;
    Place last_scalar_;
};

// A stream over memory that copies nothing.
class ViewBuffer final : public std::streambuf {
public:
    explicit ViewBuffer(std::string_view text) {
        char* begin = const_cast<char*>(text.data());  // setg wants char*; nothing writes
        setg(begin, begin, begin + text.size());
    }
};

std::string explained(const std::string& message) {
    struct Row {
        std::string_view from;
        const char* to;
    };
    static constexpr Row kRows[] = {
        {"the referenced anchor is not defined", TreeBuilder::kAlias},
        {"illegal map value", "a colon is not allowed here; quote text that contains a colon and a space or ends in a "
                              "colon (\"fe80::\"), and check the indentation"},
        {"end of map flow not found",
         "the { before this is not closed, or a value ends in a colon and must be quoted (\"fe80::\")"},
        {"end of sequence flow not found",
         "the [ before this is not closed, or a value ends in a colon and must be quoted (\"fe80::\")"},
        {"end of map not found", "this line does not belong to the mapping above it; check the indentation"},
        {"end of sequence not found", "this line does not belong to the list above it; check the indentation"},
        {"illegal flow end", "this bracket does not match the one that was opened last"},
        {"unknown token", "text cannot begin with this character; quote it"},
        {"illegal block entry", "a list element is not allowed here; check the indentation"},
        {"illegal map key", "a key is not allowed here; check the indentation"},
        {"bad file", "the text cannot be read; brackets may be nested too deeply"},
    };
    for (const Row& row : kRows) {
        if (message == row.from) {
            return row.to;
        }
    }
    return message;
}

// yaml-cpp 0.7 takes the end of the file for the closing quote. Only the last scalar can be affected.
bool is_unterminated(std::string_view text, Place place) {
    if (place.offset >= text.size() || (text[place.offset] != '"' && text[place.offset] != '\'')) {
        return false;
    }
    const char quote = text[place.offset];
    for (std::size_t i = place.offset + 1; i < text.size(); ++i) {
        if (quote == '"' && text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            if (quote == '\'' && i + 1 < text.size() && text[i + 1] == '\'') {
                ++i;
                continue;
            }
            return false;
        }
    }
    return true;
}

bool check_bytes(std::string_view text, Report& report) {
    const auto place_at = [&](std::size_t offset) {
        const auto end = text.begin() + static_cast<std::ptrdiff_t>(offset);
        return Place{static_cast<std::uint32_t>(offset),
                     static_cast<std::uint32_t>(std::count(text.begin(), end, '\n'))};
    };
    if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
        report.document_error("is UTF-16 text; save it as UTF-8");
        return false;
    }
    if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
        report.error(place_at(nul), {}, "this is a binary file, not a state file (it contains a NUL byte)");
        return false;
    }
    if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
        report.error(place_at(bad), {}, "this is not UTF-8 text; save the file as UTF-8");
        return false;
    }
    bool good = true;
    std::uint32_t line = 0;
    for (std::size_t start = 0; start < text.size(); ++line) {
        const std::size_t end = std::min(text.find('\n', start), text.size());
        const std::string_view content = text.substr(start, end - start);
        const std::size_t indent = std::min(content.find_first_not_of(" \t"), content.size());
        const std::size_t tab = content.substr(0, indent).find('\t');
        if (tab != std::string_view::npos && indent < content.size() && content[indent] != '#') {
            report.error({static_cast<std::uint32_t>(start + tab), line}, {},
                         "a tab is used as indentation; YAML wants spaces");
            good = false;
        }
        start = end + 1;
    }
    return good;
}

}  // namespace

std::string normalise_text(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) {
        text.remove_prefix(3);
    }
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\r') {
            out += text[i];
        } else if (i + 1 >= text.size() || text[i + 1] != '\n') {
            out += '\n';
        }
    }
    return out;
}

bool read_yaml(std::string_view text, Report& report, YamlNode& root) {
    if (!check_bytes(text, report)) {
        return false;
    }
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    TreeBuilder builder(report);
    try {
        YAML::Parser parser(stream);
        // Two are enough to say that there are too many.
        while (builder.documents() < 2 && parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::DeepRecursion& error) {
        if (!builder.too_deep()) {
            report.error(place_of(error.mark), {}, too_deep_text());
        }
        return false;
    } catch (const YAML::Exception& error) {
        if (is_unterminated(text, builder.last_scalar())) {
            report.error(builder.last_scalar(), {}, kUnclosed);
        } else if (!builder.too_deep()) {
            report.error(place_of(error.mark), {}, explained(error.msg));
        }
        return false;
    }
    if (!builder.has_document()) {
        report.document_error("is empty: nothing is read from it and nothing changes");
        return false;
    }
    if (is_unterminated(text, builder.last_scalar())) {
        report.error(builder.last_scalar(), {}, kUnclosed);
        return false;
    }
    if (builder.documents() > 1 || builder.too_deep()) {
        return false;
    }
    root = builder.take_root();
    return true;
}

}  // namespace sgbpf
