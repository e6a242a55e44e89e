// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What libbpf says (the verifier's log included) goes into an Error's detail, never to stderr.
#pragma once

#include <cstddef>
#include <string>

namespace sgbpf {

// Collects libbpf's warnings while it lives; the innermost one gets them. libbpf knows one callback per
// process, so captures belong to one thread.
class LibbpfWords {
public:
    LibbpfWords();
    ~LibbpfWords();
    LibbpfWords(const LibbpfWords&) = delete;
    LibbpfWords& operator=(const LibbpfWords&) = delete;
    [[nodiscard]] const std::string& text() const { return text_; }
    // The reason stands at the end of a verifier log.
    [[nodiscard]] std::string last_lines(std::size_t lines) const;

    // From now on libbpf is quiet outside captures.
    static void silence();

private:
    std::string text_;
    std::string* outer_;
};

}  // namespace sgbpf
