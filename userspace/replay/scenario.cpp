// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "replay/scenario.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/strings.hpp"
#include "frame/build.hpp"
#include "frame/names.hpp"
#include "model/parse.hpp"

namespace sgbpf {

namespace {

using nlohmann::json;

constexpr std::size_t kMinFrameBytes = 14;
constexpr std::size_t kMaxFrameBytes = 65536 + 14;
constexpr std::uint64_t kMaxTimeMs = std::uint64_t{100} * 365 * 24 * 3600 * 1000;
constexpr std::size_t kMaxErrors = 50;
constexpr std::size_t kMaxScenarioBytes = std::size_t{256} << 20;
// Who sends what `text` describes, where the state names no MAC. Locally administered.
constexpr MacAddress kLocalMac{{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kRemoteMac{{2, 0, 0, 0, 0, 2}};

const std::vector<std::string> kPacketKeys = {"packet", "text",   "interface", "direction", "t_ms",
                                              "expect", "reason", "rule",      "note"};

std::optional<std::vector<std::byte>> bytes_of_hex(std::string_view text) {
    std::vector<std::byte> bytes;
    int high = -1;
    for (const char c : text) {
        int digit = 0;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if (c >= 'a' && c <= 'f') {
            digit = c - 'a' + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = c - 'A' + 10;
        } else if (c == ' ' && high < 0) {
            continue;
        } else {
            return std::nullopt;
        }
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<std::byte>(high * 16 + digit));
            high = -1;
        }
    }
    return high < 0 ? std::optional(std::move(bytes)) : std::nullopt;
}

class Reader {
public:
    Reader(const std::string& file, const std::string& directory) : file_(file), directory_(directory) {
        scenario_.file = file;
    }

    void line(std::string_view text) {
        ++line_;
        if (!text.empty() && text.back() == '\r') {
            text.remove_suffix(1);
        }
        if (text.find_first_not_of(" \t") == std::string_view::npos) {
            return;
        }
        if (not_a_scenario_) {
            return;
        }
        const json value = parse(text);
        if (value.is_discarded()) {
            not_a_scenario_ = scenario_.steps.empty() && text.find_first_not_of(" \t") != text.find('{');
            return;
        }
        ScenarioStep step{.line = line_, .time_ms = time_ms_, .note = {}, .what = {}};
        const std::size_t errors_before = errors_.size();
        if (value.contains("note")) {
            if (!value["note"].is_string()) {
                error("\"note\" is text in quotes");
            } else {
                step.note = value["note"];
            }
        }
        read_time(value, step);
        if (value.contains("apply")) {
            allow(value, {"apply", "t_ms", "note"}, "a line with \"apply\"");
            step.what = apply(value["apply"]);
        } else if (value.contains("packet") || value.contains("text")) {
            allow(value, kPacketKeys, "a packet");
            step.what = packet(value);
        } else {
            allow(value, {"note", "apply", "packet", "text", "interface", "direction", "t_ms"}, "a line");
            if (!value.contains("note") && errors_.size() == errors_before) {
                error("neither \"apply\" nor \"packet\" nor \"text\" nor \"note\"");
            }
        }
        scenario_.steps.push_back(std::move(step));
    }

    Result<Scenario> finish() {
        if (errors_.empty() && std::none_of(scenario_.steps.begin(), scenario_.steps.end(), [](const auto& step) {
                return std::holds_alternative<PacketStep>(step.what);
            })) {
            errors_.push_back(
                fmt::format("{}: no packet in it; write for instance {{\"text\": \"tcp 192.0.2.7:40000 -> "
                            "10.0.1.10:443\", \"interface\": \"web0\", \"direction\": \"in\"}}",
                            file_));
        }
        if (errors_.empty()) {
            return std::move(scenario_);
        }
        Error error = make_error(ErrorCode::kInvalid, errors_.front());
        for (std::size_t i = 0; i < std::min(errors_.size(), kMaxErrors); ++i) {
            error.detail += errors_[i] + "\n";
        }
        if (errors_.size() > kMaxErrors) {
            error.detail += fmt::format("... and {} more\n", errors_.size() - kMaxErrors);
        }
        error.detail += fmt::format("{}; nothing was judged\n", counted(errors_.size(), "error"));
        return unexpected(std::move(error));
    }

private:
    void error(std::string_view sentence) { errors_.push_back(fmt::format("{}:{}: {}", file_, line_, sentence)); }

    // One object without a key twice, or discarded after saying why.
    json parse(std::string_view text) {
        std::vector<std::set<std::string>> keys;
        std::string twice;
        const auto watch = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
            if (event == json::parse_event_t::object_start) {
                keys.emplace_back();
            } else if (event == json::parse_event_t::object_end) {
                keys.pop_back();
            } else if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second &&
                       twice.empty()) {
                twice = parsed.get<std::string>();
            }
            return true;
        };
        json value = json::parse(text, watch, false);
        if (value.is_discarded() || !value.is_object()) {
            error("no JSON object on this line; a line is for instance {\"apply\": \"s.yaml\"}, and a state file needs "
                  "a capture beside it");
            return json(json::value_t::discarded);
        }
        if (!twice.empty()) {
            error(fmt::format("key \"{}\" stands twice", printable(twice)));
            return json(json::value_t::discarded);
        }
        return value;
    }

    void allow(const json& value, const std::vector<std::string>& keys, std::string_view what) {
        for (const auto& [key, ignored] : value.items()) {
            if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
                error(fmt::format("{} has no key \"{}\"{}", what, printable(key), did_you_mean(key, keys)));
            }
        }
    }

    // A key that must be text; null after saying why.
    const std::string* text_at(const json& value, const char* key, std::string_view example) {
        if (!value.contains(key)) {
            error(fmt::format("key \"{}\" is missing: {}", key, example));
            return nullptr;
        }
        const auto* text = value[key].get_ptr<const std::string*>();
        if (text == nullptr) {
            error(fmt::format("\"{}\" is text in quotes: {}", key, example));
        }
        return text;
    }

    void read_time(const json& value, ScenarioStep& step) {
        if (!value.contains("t_ms")) {
            return;
        }
        const json& time = value["t_ms"];
        if (!time.is_number_unsigned() || time.get<std::uint64_t>() > kMaxTimeMs) {
            error(fmt::format("t_ms {} is no number of milliseconds from the start, 0 to {}", printable(time.dump()),
                              kMaxTimeMs));
            return;
        }
        step.time_ms = time.get<std::uint64_t>();
        if (step.time_ms < time_ms_) {
            error(fmt::format("t_ms {} is before {} of line {}; time only goes forward", step.time_ms, time_ms_,
                              time_line_));
            return;
        }
        time_ms_ = step.time_ms;
        time_line_ = line_;
    }

    ApplyStep apply(const json& from) {
        std::optional<ParsedState> parsed;
        applied_ = true;
        state_ = nullptr;
        const std::string here = fmt::format("{}:{}", file_, line_);
        if (from.is_object()) {
            parsed = parse_state(from.dump(), here, directory_);
            // Line and column inside of a line say nothing.
            for (const auto& [diagnostics, to] :
                 {std::pair(&parsed->errors, &errors_), std::pair(&parsed->warnings, &scenario_.warnings)}) {
                for (const Diagnostic& one : *diagnostics) {
                    to->push_back(one.file == here ? fmt::format("{}: apply{}: {}", here,
                                                                 one.path.empty() ? "" : "." + one.path, one.message)
                                                   : fmt::format("{}: {}", here, one.to_string()));
                }
            }
        } else if (const auto* path = from.get_ptr<const std::string*>(); path != nullptr && *path != "-") {
            const auto file = std::filesystem::path(directory_) / *path;  // an absolute path stays what it is
            auto read = parse_state_file(file.string());
            if (!read) {
                error("apply: " + read.error().message);
                return {};
            }
            parsed = std::move(*read);
            for (const Diagnostic& one : parsed->errors) {
                error(one.to_string());
            }
            for (const Diagnostic& one : parsed->warnings) {
                scenario_.warnings.push_back(fmt::format("{}: {}", here, one.to_string()));
            }
        } else {
            error("\"apply\" is the path of a state file, or the state as an object");
            return {};
        }
        if (!parsed->ok()) {
            return {};
        }
        state_ = std::make_shared<const State>(std::move(parsed->state));
        return ApplyStep{state_};
    }

    PacketStep packet(const json& value) {
        PacketStep step;
        if (!applied_) {
            error("a packet before the first \"apply\"; nothing is in force yet");
        }
        const Interface* interface = nullptr;
        if (const auto* name = text_at(value, "interface", "\"web0\"")) {
            step.interface = *name;
            if (state_ != nullptr) {
                const auto found = state_->interfaces.find(*name);
                if (found == state_->interfaces.end()) {
                    std::vector<std::string> names;
                    for (const auto& [one, ignored] : state_->interfaces) {
                        names.push_back(one);
                    }
                    error(fmt::format("no interface {} in the state applied last{}", printable(*name),
                                      did_you_mean(*name, names)));
                } else {
                    interface = &found->second;
                }
            }
        }
        if (const auto* direction = text_at(value, "direction", "\"in\" or \"out\"")) {
            if (*direction != "in" && *direction != "out") {
                error(fmt::format("direction \"{}\" is neither in nor out", printable(*direction)));
            }
            step.direction = *direction == "out" ? SG_OUT : SG_IN;
        }
        read_frame(value, interface, step);
        read_expectations(value, step);
        return step;
    }

    void read_frame(const json& value, const Interface* interface, PacketStep& step) {
        if (value.contains("packet") && value.contains("text")) {
            error("\"packet\" and \"text\" are two ways to say one thing; write one of them");
        } else if (value.contains("text")) {
            const auto* text = text_at(value, "text", "\"tcp 192.0.2.7:40000 -> 10.0.1.10:443\"");
            if (text == nullptr) {
                return;
            }
            const auto spec = parse_packet(*text);
            if (!spec) {
                error(fmt::format("text: {}", spec.error().message));
                return;
            }
            const MacAddress local = interface != nullptr ? interface->mac.value_or(kLocalMac) : kLocalMac;
            step.frame = step.direction == SG_OUT ? build_frame(*spec, local, kRemoteMac)
                                                  : build_frame(*spec, kRemoteMac, local);
        } else if (const auto* hex = text_at(value, "packet", "the frame in hexadecimal")) {
            auto bytes = bytes_of_hex(*hex);
            if (!bytes) {
                error(fmt::format("packet \"{}\" is no hexadecimal; write two digits for each byte",
                                  printable(*hex, 24)));
                return;
            }
            if (bytes->size() < kMinFrameBytes || bytes->size() > kMaxFrameBytes) {
                error(fmt::format("packet of {}: a frame has {} to {}, Ethernet header included",
                                  counted(bytes->size(), "byte"), kMinFrameBytes, kMaxFrameBytes));
                return;
            }
            step.frame = std::move(*bytes);
        }
    }

    void read_expectations(const json& value, PacketStep& step) {
        if (value.contains("expect")) {
            const auto* expect = text_at(value, "expect", "\"pass\" or \"drop\"");
            if (expect != nullptr && *expect != "pass" && *expect != "drop") {
                error(fmt::format("expect \"{}\" is neither pass nor drop", printable(*expect)));
            } else if (expect != nullptr) {
                step.pass = *expect == "pass";
            }
        }
        if (value.contains("reason")) {
            const auto* name = text_at(value, "reason", "\"no-rule\"");
            step.reason = name != nullptr ? reason_by_name(*name) : std::nullopt;
            if (name != nullptr && !step.reason) {
                const auto names = reason_names();
                const std::string close = did_you_mean(*name, names);
                error(fmt::format("there is no reason \"{}\"{}", printable(*name),
                                  close.empty() ? fmt::format("; there are {}", fmt::join(names, ", ")) : close));
            }
            if (step.reason && step.pass && *step.pass != (reason_words(*step.reason).verdict == SG_PASS)) {
                error(fmt::format("expect \"{}\" contradicts reason \"{}\"", *step.pass ? "pass" : "drop", *name));
            }
        }
        if (value.contains("rule")) {
            if (const auto* rule = text_at(value, "rule", "\"sgr-0123456789abcdef0\" or \"web\"")) {
                step.rule = *rule;
                if (rule->empty()) {
                    error("\"rule\" is empty; write a rule's id or its group");
                }
            }
        }
    }

    std::string file_;
    std::string directory_;
    Scenario scenario_;
    std::vector<std::string> errors_;
    std::size_t line_ = 0;
    std::uint64_t time_ms_ = 0;
    std::size_t time_line_ = 0;
    bool not_a_scenario_ = false;         // its first line is something else: all others would be wrong as well
    bool applied_ = false;                // an "apply" was there, right or wrong
    std::shared_ptr<const State> state_;  // null: the last one was wrong
};

}  // namespace

Result<Scenario> parse_scenario(std::string_view text, const std::string& file, const std::string& directory) {
    Reader reader(file, directory);
    while (!text.empty()) {
        const auto end = text.find('\n');
        reader.line(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return reader.finish();
}

Result<Scenario> read_scenario(const std::string& path) {
    const bool standard_input = path == "-";
    auto text = standard_input ? read_all(STDIN_FILENO, "standard input", kMaxScenarioBytes)
                               : read_file(path, kMaxScenarioBytes);
    if (!text) {
        return unexpected(std::move(text).error());
    }
    return standard_input ? parse_scenario(*text, "<stdin>", "")
                          : parse_scenario(*text, path, std::filesystem::path(path).parent_path().string());
}

}  // namespace sgbpf
