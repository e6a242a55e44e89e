// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The BPF objects of this binary, loaded: which programs, on which maps. Hides the skeletons.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sgbpf/abi/config.h>
#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "base/fd.hpp"

namespace sgbpf {

// Programs for tcx and clsact, with those that user space runs; or for XDP. Both know the same maps.
enum class ObjectKind { kTc, kXdp };

class Object {
public:
    struct Request {
        ObjectKind kind = ObjectKind::kTc;
        std::vector<std::string_view> programs;              // the others are left out
        std::vector<std::pair<std::string_view, int>> maps;  // use these (borrowed descriptors)
        std::optional<Capacities> create;                    // set: create the other maps, of these sizes
        sg_config config{};
    };
    // Errors: kPermission; kUnsupported when the verifier refuses, with its last lines as detail.
    static Result<Object> load(const Request& request);

    Object(Object&&) noexcept;
    Object& operator=(Object&&) noexcept;
    ~Object();

    // Descriptors stay the object's. -1: was not asked for.
    [[nodiscard]] int program(std::string_view name) const;
    [[nodiscard]] int map(std::string_view name) const;
    // Inputs and outcome of a run in test_mode: the object's own memory.
    [[nodiscard]] sg_test& test() const;

    // Names of all programs of the object file.
    static std::vector<std::string> program_names(ObjectKind kind);

    // What tells this binary's programs from an older one's: a hash of the object files, 16 hex.
    static std::string build_id();

private:
    struct Skeleton;
    explicit Object(std::unique_ptr<Skeleton> skeleton);
    std::unique_ptr<Skeleton> skeleton_;
};

struct TestRun {
    std::uint32_t verdict = 0;
    std::vector<std::byte> data;  // the frame as the program left it
};
// Runs a program once on a frame. The frame begins with 14 bytes of Ethernet header.
Result<TestRun> run_program(int program_fd, std::string_view name, std::span<const std::byte> frame);

}  // namespace sgbpf
