// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The budget of the verifier: instructions it visits per program. A rise is a review topic now, not a
// refusal on an older kernel later (architecture, "The pipeline must load on 6.1").
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include "support/test_programs.hpp"

namespace sgbpf::test {
namespace {

constexpr std::uint32_t kBudget = 100'000;

void expect_within_budget(TestPrograms::Mode mode) {
    auto programs = TestPrograms::load(small_capacities(), mode);
    ASSERT_TRUE(programs) << programs.error().message << "\n" << programs.error().detail;
    const std::vector<std::string> names = (*programs)->program_names();
    EXPECT_GE(names.size(), 7u);
    for (const std::string& name : names) {
        SCOPED_TRACE(name);
        bpf_prog_info info{};
        __u32 size = sizeof(info);
        ASSERT_EQ(bpf_obj_get_info_by_fd((*programs)->program_fd(name), &info, &size), 0);
        ASSERT_GT(info.verified_insns, 0u) << "the kernel does not report visited instructions";
        EXPECT_LE(info.verified_insns, kBudget);
        std::printf("%-16s visits %6u instructions, %5u bytes translated\n", name.c_str(), info.verified_insns,
                    info.xlated_prog_len);
    }
}

TEST(VerifierBudget, LivePrograms) {
    expect_within_budget(TestPrograms::Mode::kLive);
}
TEST(VerifierBudget, TestModePrograms) {
    expect_within_budget(TestPrograms::Mode::kTest);
}

}  // namespace
}  // namespace sgbpf::test
