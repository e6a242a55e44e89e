// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The only file that includes the skeleton: it holds the object file as bytes.
#include "datapath/object.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sgbpf/abi/abi.h>
#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/verdict.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include "sg_tc.skel.h"

#include "datapath/features.hpp"
#include "datapath/libbpf_words.hpp"
#include "datapath/map.hpp"

namespace sgbpf {

namespace {

Error load_error(int failed, const LibbpfWords& words) {
    if (failed == EPERM || failed == EACCES) {
        // The verifier says EACCES for a program it refuses; then there is a log.
        if (words.text().find("BEGIN PROG LOAD LOG") == std::string::npos) {
            return kernel_error("load the BPF programs", failed);
        }
    }
    if (failed == ENOMEM) {
        return make_error(ErrorCode::kExhausted, "load the BPF programs: not enough memory for the maps", failed,
                          words.last_lines(20));
    }
    return make_error(ErrorCode::kUnsupported,
                      fmt::format("kernel {} refuses the BPF programs: {}", kernel_release(), std::strerror(failed)),
                      failed, words.last_lines(20));
}

}  // namespace

struct Object::Skeleton {
    sg_tc* object = nullptr;

    Skeleton() = default;
    Skeleton(const Skeleton&) = delete;
    Skeleton& operator=(const Skeleton&) = delete;
    ~Skeleton() { sg_tc__destroy(object); }
};

Object::Object(std::unique_ptr<Skeleton> skeleton) : skeleton_(std::move(skeleton)) {}
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

namespace {

// Sizes of maps to create; maps that exist already; maps nobody needs.
Result<void> choose_maps(bpf_object* object, const Object::Request& request) {
    const auto capacity_of = [](std::string_view name) -> const MapSpec* {
        if (name == kIfindexSpec.name) {
            return &kIfindexSpec;
        }
        const auto specs = host_map_specs();
        const auto found =
            std::find_if(specs.begin(), specs.end(), [name](const MapSpec& s) { return s.name == name; });
        return found == specs.end() ? nullptr : &*found;
    };
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        const std::string_view name = bpf_map__name(map);
        const auto given = std::find_if(request.maps.begin(), request.maps.end(),
                                        [name](const auto& entry) { return entry.first == name; });
        int failed = 0;
        if (given != request.maps.end()) {
            failed = bpf_map__reuse_fd(map, given->second);
        } else if (name.find('.') != std::string_view::npos) {
            continue;  // .rodata, .bss: each loaded object has its own
        } else if (!request.create) {
            failed = bpf_map__set_autocreate(map, false);
        } else if (const MapSpec* spec = capacity_of(name); spec != nullptr && spec->capacity != nullptr) {
            failed = bpf_map__set_max_entries(map, (*request.create).*spec->capacity);
        }
        if (failed != 0) {
            return unexpected(kernel_error(fmt::format("prepare map {}", name), -failed));
        }
    }
    return {};
}

}  // namespace

Result<Object> Object::load(const Request& request) {
    const LibbpfWords words;
    auto skeleton = std::make_unique<Skeleton>();
    skeleton->object = sg_tc__open();
    if (skeleton->object == nullptr) {
        return unexpected(load_error(errno, words));
    }
    bpf_object* object = skeleton->object->obj;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object) {
        const bool wanted = std::find(request.programs.begin(), request.programs.end(), bpf_program__name(program)) !=
                            request.programs.end();
        bpf_program__set_autoload(program, wanted);
    }
    auto chosen = choose_maps(object, request);
    if (!chosen) {
        return unexpected(chosen.error());
    }
    static_assert(sizeof(skeleton->object->rodata->sg_config) == sizeof(sg_config));
    std::memcpy(&skeleton->object->rodata->sg_config, &request.config, sizeof(sg_config));
    const int failed = sg_tc__load(skeleton->object);
    if (failed != 0) {
        return unexpected(load_error(-failed, words));
    }
    return Object(std::move(skeleton));
}

int Object::program(std::string_view name) const {
    const bpf_program* program = bpf_object__find_program_by_name(skeleton_->object->obj, std::string(name).c_str());
    return program == nullptr ? -1 : bpf_program__fd(program);
}

int Object::map(std::string_view name) const {
    const bpf_map* map = bpf_object__find_map_by_name(skeleton_->object->obj, std::string(name).c_str());
    return map == nullptr ? -1 : bpf_map__fd(map);
}

std::string Object::build_id() {
    static const std::string id = [] {
        // FNV-1a, 64 bits: tells builds apart, protects from nothing.
        std::size_t size = 0;
        const auto* bytes = static_cast<const unsigned char*>(sg_tc__elf_bytes(&size));
        std::uint64_t hash = 0xcbf29ce484222325U;
        for (std::size_t i = 0; i < size; ++i) {
            hash = (hash ^ bytes[i]) * 0x100000001b3U;
        }
        return fmt::format("{:016x}", hash);
    }();
    return id;
}

Result<TestRun> run_program(int program_fd, std::string_view name, std::span<const std::byte> frame) {
    TestRun run;
    run.data.resize(frame.size());
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.data_out = run.data.data();
    options.data_size_out = static_cast<std::uint32_t>(run.data.size());
    options.repeat = 1;
    const int failed = bpf_prog_test_run_opts(program_fd, &options);
    if (failed != 0) {
        return unexpected(kernel_error(fmt::format("run program {}", name), -failed));
    }
    run.verdict = options.retval;
    run.data.resize(options.data_size_out);
    return run;
}

}  // namespace sgbpf
