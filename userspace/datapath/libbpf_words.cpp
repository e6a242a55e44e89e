// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "datapath/libbpf_words.hpp"

#include <cstdarg>
#include <cstdio>
#include <utility>

#include <bpf/libbpf.h>

namespace sgbpf {

namespace {

std::string* g_words = nullptr;

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
    if (g_words == nullptr || level == LIBBPF_DEBUG) {
        return 0;
    }
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, again);
    va_end(again);
    if (length > 0) {
        std::string line(static_cast<std::size_t>(length) + 1, '\0');
        std::vsnprintf(line.data(), line.size(), format, arguments);
        line.pop_back();
        *g_words += line;
    }
    return length;
}

}  // namespace

LibbpfWords::LibbpfWords() : outer_(std::exchange(g_words, &text_)) {
    silence();
}

LibbpfWords::~LibbpfWords() {
    g_words = outer_;
}

void LibbpfWords::silence() {
    libbpf_set_print(keep_words);
}

std::string LibbpfWords::last_lines(std::size_t lines) const {
    std::size_t at = text_.size();
    for (std::size_t seen = 0; at > 0; --at) {
        if (text_[at - 1] == '\n' && at != text_.size() && ++seen == lines) {
            break;
        }
    }
    return text_.substr(at);
}

}  // namespace sgbpf
