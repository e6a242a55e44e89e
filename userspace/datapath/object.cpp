// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The only file that includes the skeletons: they hold the object files as bytes.
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
#include "sg_xdp.skel.h"

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

// One of the two skeletons, which libbpf's tool gives unrelated types.
struct Object::Skeleton {
    sg_tc* tc = nullptr;
    sg_xdp* xdp = nullptr;

    Skeleton() = default;
    Skeleton(const Skeleton&) = delete;
    Skeleton& operator=(const Skeleton&) = delete;
    ~Skeleton() {
        sg_tc__destroy(tc);
        sg_xdp__destroy(xdp);
    }

    bool open(ObjectKind kind) {
        if (kind == ObjectKind::kTc) {
            tc = sg_tc__open();
        } else {
            xdp = sg_xdp__open();
        }
        return tc != nullptr || xdp != nullptr;
    }
    [[nodiscard]] bpf_object* object() const { return tc != nullptr ? tc->obj : xdp->obj; }
    int load(const sg_config& config) const {
        // The skeletons declare types of their own for the same records.
        static_assert(sizeof(tc->rodata->sg_config) == sizeof(config) &&
                      sizeof(xdp->rodata->sg_config) == sizeof(config));
        void* constants =
            tc != nullptr ? static_cast<void*>(&tc->rodata->sg_config) : static_cast<void*>(&xdp->rodata->sg_config);
        std::memcpy(constants, &config, sizeof(config));
        return tc != nullptr ? sg_tc__load(tc) : sg_xdp__load(xdp);
    }
    [[nodiscard]] sg_test& test() const { return tc != nullptr ? tc->bss->sg_test : xdp->bss->sg_test; }
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
        } else if (name == "sg_flow_hints") {
            failed = bpf_map__set_max_entries(map, hint_elements(request.create->flows));
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
    if (!skeleton->open(request.kind)) {
        return unexpected(load_error(errno, words));
    }
    bpf_object* object = skeleton->object();
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
    const int failed = skeleton->load(request.config);
    if (failed != 0) {
        return unexpected(load_error(-failed, words));
    }
    return Object(std::move(skeleton));
}

int Object::program(std::string_view name) const {
    const bpf_program* program = bpf_object__find_program_by_name(skeleton_->object(), std::string(name).c_str());
    return program == nullptr ? -1 : bpf_program__fd(program);
}

int Object::map(std::string_view name) const {
    const bpf_map* map = bpf_object__find_map_by_name(skeleton_->object(), std::string(name).c_str());
    return map == nullptr ? -1 : bpf_map__fd(map);
}

std::vector<std::string> Object::program_names(ObjectKind kind) {
    Skeleton skeleton;
    std::vector<std::string> names;
    if (skeleton.open(kind)) {
        bpf_program* program = nullptr;
        bpf_object__for_each_program(program, skeleton.object()) {
            names.emplace_back(bpf_program__name(program));
        }
    }
    return names;
}

sg_test& Object::test() const {
    return skeleton_->test();
}

std::string Object::build_id() {
    static const std::string id = [] {
        // FNV-1a, 64 bits: tells builds apart, protects from nothing.
        std::uint64_t hash = 0xcbf29ce484222325U;
        const auto add = [&hash](const void* bytes, std::size_t size) {
            for (std::size_t i = 0; i < size; ++i) {
                hash = (hash ^ static_cast<const unsigned char*>(bytes)[i]) * 0x100000001b3U;
            }
        };
        std::size_t size = 0;
        const void* tc = sg_tc__elf_bytes(&size);
        add(tc, size);
        const void* xdp = sg_xdp__elf_bytes(&size);
        add(xdp, size);
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
