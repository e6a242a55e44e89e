// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The budget of the verifier: instructions it visits per program. A rise is a review topic now, not a
// refusal on an older kernel later (architecture, "The pipeline must load on 6.1").
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include "datapath/libbpf_words.hpp"
#include "support/test_programs.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint32_t kBudget = 100'000;

void expect_within_budget(ObjectKind kind, std::size_t programs, std::uint32_t test_mode, std::uint32_t dry_run) {
    LibbpfWords::silence();
    const std::vector<std::string> names = Object::program_names(kind);
    EXPECT_GE(names.size(), programs);
    Object::Request request;
    request.kind = kind;
    request.programs.assign(names.begin(), names.end());
    request.create = small_capacities();
    request.config = sg_config{.abi_version = SG_ABI_VERSION,
                               .ticks_per_second = 1000,
                               .flow_slots = request.create->flows,
                               .test_mode = test_mode,
                               .dry_run = dry_run};
    auto object = Object::load(request);
    ASSERT_TRUE(object) << object.error().message << "\n" << object.error().detail;
    for (const std::string& name : names) {
        SCOPED_TRACE(name);
        bpf_prog_info info{};
        __u32 size = sizeof(info);
        ASSERT_EQ(bpf_obj_get_info_by_fd(object->program(name), &info, &size), 0);
        ASSERT_GT(info.verified_insns, 0u) << "the kernel does not report visited instructions";
        EXPECT_LE(info.verified_insns, kBudget);
        std::printf("%-16s visits %6u instructions, %5u bytes translated\n", name.c_str(), info.verified_insns,
                    info.xlated_prog_len);
    }
}

TEST(VerifierBudget, LivePrograms) {
    expect_within_budget(ObjectKind::kTc, 9, 0, 0);
}
TEST(VerifierBudget, TestModePrograms) {
    expect_within_budget(ObjectKind::kTc, 9, 1, 0);
}
TEST(VerifierBudget, DryRunPrograms) {
    expect_within_budget(ObjectKind::kTc, 9, 1, 1);
}
TEST(VerifierBudget, LiveXdpPrograms) {
    expect_within_budget(ObjectKind::kXdp, 2, 0, 0);
}
TEST(VerifierBudget, TestModeXdpPrograms) {
    expect_within_budget(ObjectKind::kXdp, 2, 1, 0);
}
TEST(VerifierBudget, DryRunXdpPrograms) {
    expect_within_budget(ObjectKind::kXdp, 2, 1, 1);
}

}  // namespace
}  // namespace sgbpf::test
