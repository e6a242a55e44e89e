// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// A newer binary meets attachments of an older one: their programs are swapped where they are, never
// detached. The older build is played by another program under an old build name.
#include <filesystem>

#include <bpf/bpf.h>
#include <unistd.h>

#include "attach_fixture.hpp"
#include "datapath/object.hpp"

namespace sgbpf::test {
namespace {

class Upgrade : public AttachFixture {
protected:
    [[nodiscard]] std::string instance() const {
        for (const auto& entry : std::filesystem::directory_iterator(bpffs() + "/sgbpf/v3")) {
            if (entry.path().filename().string().starts_with("ns-")) {
                return entry.path().string();
            }
        }
        return {};
    }
    void pretend_old_build() {
        std::filesystem::rename(instance() + "/build-" + Object::build_id(), instance() + "/build-0000000000000000");
        datapath_ = make_kernel_datapath(options());
        ASSERT_TRUE(datapath_->open(small_capacities(), false));
    }
    // What runs at a hook first.
    std::string name_at(const Device& where, Hook hook) {
        const auto programs = at(where, hook);
        return programs.empty() ? "" : program_info_by_id(programs[0].program_id)->name;
    }
};

TEST_F(Upgrade, SwapsProgramsOfLiveLinksInPlace) {
    add_veth("web0", "guest0");
    add_veth("web1", "guest1");
    const Attachment zero = attached(request("web0", 1));
    const Attachment one = attached(request("web1", 2));
    const Fd old = foreign_program("old_build");
    for (const Attachment* made : {&zero, &one}) {
        for (const char* suffix : {"_in", "_out"}) {
            const Fd link(bpf_obj_get((instance() + "/links/" + made->interface_id + suffix).c_str()));
            ASSERT_EQ(bpf_link_update(link.get(), old.get(), nullptr), 0);
        }
    }
    for (const char* name : {"/sg_tc_in", "/sg_tc_out"}) {
        ASSERT_EQ(::unlink((instance() + name).c_str()), 0);
        ASSERT_EQ(bpf_obj_pin(old.get(), (instance() + name).c_str()), 0);
    }
    pretend_old_build();
    const auto link_before = at(zero.device, Hook::kIngress)[0].link_id;
    const auto other_before = at(one.device, Hook::kEgress)[0].link_id;

    attached(request("web0", 1));
    EXPECT_EQ(name_at(zero.device, Hook::kIngress), "sg_tc_out");
    EXPECT_EQ(name_at(zero.device, Hook::kEgress), "sg_tc_in");
    EXPECT_EQ(name_at(one.device, Hook::kIngress), "sg_tc_out");
    EXPECT_EQ(name_at(one.device, Hook::kEgress), "sg_tc_in");
    EXPECT_EQ(at(zero.device, Hook::kIngress)[0].link_id, link_before);
    EXPECT_EQ(at(one.device, Hook::kEgress)[0].link_id, other_before);
    EXPECT_TRUE(std::filesystem::exists(instance() + "/build-" + Object::build_id()));
    EXPECT_FALSE(std::filesystem::exists(instance() + "/build-0000000000000000"));
    // The new programs know the old bindings.
    send_frame("guest1");
    EXPECT_EQ(not_ready(2), (Counts{0, 1}));
}

TEST_F(Upgrade, SwapsTheXdpProgramOfRoleHostInPlace) {
    add_veth("eth0", "wire0");
    const Attachment made = attached(host_request("eth0", 1, HookChoice::kGeneric));
    const std::string path = instance() + "/links/" + id(1) + "_in";
    const Fd old = foreign_xdp_program("old_build");
    const Fd link(bpf_obj_get(path.c_str()));
    ASSERT_EQ(bpf_link_update(link.get(), old.get(), nullptr), 0);
    ASSERT_EQ(::unlink((instance() + "/sg_xdp_in").c_str()), 0);
    ASSERT_EQ(bpf_obj_pin(old.get(), (instance() + "/sg_xdp_in").c_str()), 0);
    const auto before = link_info(link.get());
    pretend_old_build();
    EXPECT_EQ(attached(host_request("eth0")).hook, "xdp generic + tcx");
    const auto after = link_info(link.get());
    ASSERT_TRUE(before && after);
    EXPECT_EQ(after->id, before->id);
    EXPECT_EQ(program_info_by_id(after->program_id)->name, "sg_xdp_in");
    EXPECT_EQ(name_at(made.device, Hook::kEgress), "sg_tc_out");
}

TEST_F(Upgrade, FinishesAnInterruptedOne) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0"));
    const Fd old = foreign_program("old_build");
    const Fd link(bpf_obj_get((instance() + "/links/" + id(1) + "_out").c_str()));
    ASSERT_EQ(bpf_link_update(link.get(), old.get(), nullptr), 0);
    // A crash after pinning under the temporary name.
    ASSERT_EQ(bpf_obj_pin(old.get(), (instance() + "/sg_tc_in_next").c_str()), 0);
    pretend_old_build();
    attached(request("web0"));
    EXPECT_EQ(name_at(made.device, Hook::kIngress), "sg_tc_out");
    EXPECT_FALSE(std::filesystem::exists(instance() + "/sg_tc_in_next"));
}

// A program with other instructions that uses the instance's map of devices, as any build of ours does.
Fd older_program(const std::string& ifindex_map) {
    const Fd map(bpf_obj_get(ifindex_map.c_str()));
    // r1 = map; r0 = -1 (next program); exit
    const std::array<bpf_insn, 4> code = {bpf_insn{BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map.get()},
                                          bpf_insn{0, 0, 0, 0, 0}, bpf_insn{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, -1},
                                          bpf_insn{BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    return Fd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sg_tc_old", "GPL", code.data(), code.size(), nullptr));
}

TEST_F(Upgrade, SwapsClsactFiltersInPlace) {
    add_veth("web0", "guest0");
    const Attachment made = attached(request("web0", 1, HookChoice::kClsact));
    const Fd old = older_program(instance() + "/sg_ifindex");
    ASSERT_TRUE(old.valid());
    for (const Hook hook : {Hook::kIngress, Hook::kEgress}) {
        ASSERT_TRUE(clsact_attach(made.device.ifindex, hook, old.get(), true));
        ASSERT_EQ(program_info_by_id(filters_at(made.device, hook)[0].program_id)->name, "sg_tc_old");
    }
    pretend_old_build();
    EXPECT_EQ(attached(request("web0")).hook, "clsact");
    ASSERT_EQ(filters_at(made.device, Hook::kIngress).size(), 1U);
    EXPECT_EQ(program_info_by_id(filters_at(made.device, Hook::kIngress)[0].program_id)->name, "sg_tc_out");
    EXPECT_EQ(program_info_by_id(filters_at(made.device, Hook::kEgress)[0].program_id)->name, "sg_tc_in");
    send_frame("guest0");
    EXPECT_EQ(not_ready(1), (Counts{0, 1}));
}

TEST_F(Upgrade, LeavesProgramsWithTheSameInstructionsAlone) {
    add_veth("web0", "guest0");
    add_veth("web1", "guest1");
    const Attachment zero = attached(request("web0", 1));
    const Attachment one = attached(request("web1", 2, HookChoice::kClsact));
    const auto link_before = at(zero.device, Hook::kIngress);
    const auto filter_before = filters_at(one.device, Hook::kIngress);
    pretend_old_build();
    attached(request("web0", 1));
    EXPECT_EQ(at(zero.device, Hook::kIngress)[0].program_id, link_before[0].program_id);
    EXPECT_EQ(filters_at(one.device, Hook::kIngress)[0].program_id, filter_before[0].program_id);
    EXPECT_TRUE(std::filesystem::exists(instance() + "/build-" + Object::build_id()));
}

}  // namespace
}  // namespace sgbpf::test
