// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The pinned maps as a whole: made once, found again, refused when they are not ours.
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/grace.hpp"
#include "datapath/pins.hpp"
#include "support/kernel_fixture.hpp"

namespace sgbpf::test {
namespace {

class TreeTest : public KernelTest {
protected:
    // Runs `body` in a child process; true when it returned true.
    template <typename Body> static bool in_another_process(Body body) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::_exit(body() ? 0 : 1);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    [[nodiscard]] std::string maps_directory() const { return bpffs() + "/sgbpf/v3/maps"; }
};

bpf_map_info info_of(const std::string& path) {
    bpf_map_info info{};
    const Fd fd(bpf_obj_get(path.c_str()));
    std::uint32_t size = sizeof(info);
    EXPECT_EQ(bpf_obj_get_info_by_fd(fd.get(), &info, &size), 0) << path;
    return info;
}

TEST_F(TreeTest, ANewHostIsEmptyAndHasNothingLoaded) {
    auto datapath = make_kernel_datapath(options());
    EXPECT_TRUE(datapath->is_empty().value());
    const auto opened = datapath->open(small_capacities(), false);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kNotFound);
    EXPECT_NE(opened.error().message.find("nothing is loaded"), std::string::npos) << opened.error().message;
    // Asking made nothing.
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
    EXPECT_EQ(datapath->control().error().code, ErrorCode::kNotFound);
}

TEST_F(TreeTest, CreatesTheMapsThatUserSpaceAndProgramsAgreeOn) {
    const Capacities capacities = small_capacities();
    auto datapath = loaded(capacities);
    EXPECT_FALSE(datapath->is_empty().value());
    std::set<std::string> names;
    for (const MapInfo& row : kMaps) {
        SCOPED_TRACE(row.name);
        names.insert(std::string(row.name));
        const bpf_map_info info = info_of(maps_directory() + "/" + std::string(row.name));
        EXPECT_EQ(info.type, row.kind == MapKind::kArray  ? BPF_MAP_TYPE_ARRAY
                             : row.kind == MapKind::kHash ? BPF_MAP_TYPE_HASH
                                                          : BPF_MAP_TYPE_LPM_TRIE);
        EXPECT_EQ(info.key_size, row.key_bytes);
        EXPECT_EQ(info.value_size, row.value_bytes);
        EXPECT_EQ(info.max_entries, capacities.*row.capacity);
        EXPECT_EQ(info.name, row.name);
        EXPECT_EQ((info.map_flags & BPF_F_MMAPABLE) != 0, row.kind == MapKind::kArray);
    }
    for (const char* own : {"sg_control", "sg_flow_index", "sg_flows", "sg_flow_free", "sg_counters", "sg_rule_counts",
                            "sg_flow_hints", "sg_accounts", "sg_sweep", "sg_confirm", "sg_events", "sg_event_counts"}) {
        names.insert(own);
    }
    std::set<std::string> pinned;
    for (const auto& entry : std::filesystem::directory_iterator(maps_directory())) {
        pinned.insert(entry.path().filename().string());
    }
    EXPECT_EQ(pinned, names);
    const auto found = datapath->capacities();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->flows, capacities.flows);
    EXPECT_EQ(found->rule_refs, capacities.rule_refs);
    EXPECT_EQ(found->ifindexes, capacities.ifindexes);
}

TEST_F(TreeTest, StartsWithAllFlowSlotsFreeAndASweeperThatRuns) {
    auto datapath = loaded();
    const Fd free_list(bpf_obj_get((maps_directory() + "/sg_flow_free").c_str()));
    std::set<std::uint32_t> slots;
    std::uint32_t slot = 0;
    while (bpf_map_lookup_and_delete_elem(free_list.get(), nullptr, &slot) == 0) {
        slots.insert(slot);
    }
    // Slot 0 is nobody's.
    EXPECT_EQ(slots.size(), small_capacities().flows - 1);
    EXPECT_EQ(*slots.begin(), 1U);

    const auto control = datapath->control();
    ASSERT_TRUE(control);
    EXPECT_TRUE((std::set<std::uint32_t>{100, 250, 300, 1000}.contains(control->ticks_per_second)));
    EXPECT_EQ(control->generation, 0U);
    EXPECT_EQ(control->pending, 0U);

    // The last word of the sweeper counts passes over all records: one per tick when they are few.
    const std::string path = maps_directory() + "/sg_sweep";
    const Fd sweep(bpf_obj_get(path.c_str()));
    const auto passes = [&] {
        std::array<std::uint64_t, 16> value{};
        const std::uint32_t zero = 0;
        EXPECT_EQ(bpf_map_lookup_elem(sweep.get(), &zero, value.data()), 0);
        return value[info_of(path).value_size / 8 - 1];
    };
    const std::uint64_t before = passes();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (passes() < before + 2 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_GE(passes(), before + 2);
}

TEST_F(TreeTest, IsFoundByAnotherProcessAfterTheFirstEnded) {
    const Digest digest = {1, 2, 3, 0xff};
    ASSERT_TRUE(in_another_process([&] {
        auto datapath = make_kernel_datapath(options());
        return datapath->open(small_capacities(), true).has_value() && datapath->set_pending(7).has_value() &&
               datapath->flip(7, digest).has_value();
    }));
    auto datapath = make_kernel_datapath(options());
    ASSERT_TRUE(datapath->open(Capacities{}, false));
    const auto control = datapath->control();
    ASSERT_TRUE(control);
    EXPECT_EQ(control->generation, 7U);
    EXPECT_EQ(control->pending, 7U);
    EXPECT_EQ(control->digest, digest);
    ASSERT_TRUE(datapath->set_pending(0));
    EXPECT_EQ(datapath->control()->pending, 0U);
}

// Capacities are fixed when the maps are made; the engine compares and decides.
TEST_F(TreeTest, KeepsPinnedSizesAndReportsThem) {
    loaded();
    Capacities other = small_capacities();
    other.rules = 4096;
    auto datapath = loaded(other);
    EXPECT_EQ(datapath->capacities()->rules, small_capacities().rules);
}

TEST_F(TreeTest, RefusesPinsOfAnotherVersion) {
    loaded();
    std::filesystem::rename(bpffs() + "/sgbpf/v3", bpffs() + "/sgbpf/v9");
    auto datapath = make_kernel_datapath(options());
    EXPECT_FALSE(datapath->is_empty().value());
    for (const bool create : {false, true}) {
        const auto opened = datapath->open(small_capacities(), create);
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().code, ErrorCode::kUnsupported);
        EXPECT_NE(opened.error().message.find("sgbpf/v9 was pinned by another version"), std::string::npos)
            << opened.error().message;
    }
    EXPECT_TRUE(std::filesystem::exists(bpffs() + "/sgbpf/v9/maps/sg_control"));
}

TEST_F(TreeTest, RefusesMapsOfAnotherLayout) {
    loaded();
    const Fd fd(bpf_obj_get((maps_directory() + "/sg_control").c_str()));
    sg_control control{};
    control.abi_version = SG_ABI_VERSION + 1;
    const std::uint32_t zero = 0;
    ASSERT_EQ(bpf_map_update_elem(fd.get(), &zero, &control, BPF_ANY), 0);
    auto opened = make_kernel_datapath(options())->open(small_capacities(), true);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(opened.error().message.find("layout 4"), std::string::npos) << opened.error().message;
}

TEST_F(TreeTest, RefusesAPinThatIsAnotherMap) {
    loaded();
    const std::string path = maps_directory() + "/sg_rules";
    // Another type, another value size.
    for (const Fd& other : {Fd(bpf_map_create(BPF_MAP_TYPE_HASH, "sg_rules", 4, sizeof(sg_rule), 16, nullptr)),
                            Fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "sg_rules", 4, 8, 16, nullptr))}) {
        ASSERT_EQ(::unlink(path.c_str()), 0);
        ASSERT_EQ(bpf_obj_pin(other.get(), path.c_str()), 0);
        const auto opened = make_kernel_datapath(options())->open(small_capacities(), true);
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(opened.error().message.find("sg_rules"), std::string::npos) << opened.error().message;
    }

    ASSERT_EQ(::unlink(path.c_str()), 0);
    auto opened = make_kernel_datapath(options())->open(small_capacities(), true);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
    // Damaged, and still removable.
    EXPECT_TRUE(make_kernel_datapath(options())->remove_all());
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
}

TEST_F(TreeTest, ReplacesWhatACrashedCreationLeft) {
    std::filesystem::create_directories(bpffs() + "/sgbpf/staging/maps");
    const Fd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "half", 4, 8, 16, nullptr));
    ASSERT_EQ(bpf_obj_pin(map.get(), (bpffs() + "/sgbpf/staging/maps/sg_flows").c_str()), 0);
    auto datapath = make_kernel_datapath(options());
    EXPECT_TRUE(datapath->is_empty().value());
    const auto opened = datapath->open(small_capacities(), false);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(datapath->open(small_capacities(), true));
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf/staging"));
}

TEST_F(TreeTest, SaysWhatToMountWhereThereIsNoBpffs) {
    KernelOptions elsewhere = options();
    elsewhere.bpffs = "/run";
    auto opened = make_kernel_datapath(elsewhere)->open(small_capacities(), true);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(opened.error().message.find("/run is not a BPF file system"), std::string::npos);
    EXPECT_NE(opened.error().message.find("mount -t bpf bpf /sys/fs/bpf"), std::string::npos);
    EXPECT_NE(opened.error().message.find("--bpffs"), std::string::npos);

    elsewhere.bpffs = "/run/nowhere";
    opened = make_kernel_datapath(elsewhere)->open(small_capacities(), true);
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().message.find("/run/nowhere does not exist"), std::string::npos);
}

// This process has mounts of its own, so mounting at the default place is nobody else's business.
TEST_F(TreeTest, MountsTheDefaultBpffsOnlyToCreate) {
    KernelOptions standard;
    while (::umount2("/sys/fs/bpf", MNT_DETACH) == 0) {
    }
    auto datapath = make_kernel_datapath(standard);
    EXPECT_TRUE(datapath->is_empty().value());
    auto opened = datapath->open(small_capacities(), false);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kNotFound);
    EXPECT_NE(opened.error().message.find("nothing is loaded"), std::string::npos);

    standard.mount_default_bpffs = false;
    EXPECT_EQ(make_kernel_datapath(standard)->open(small_capacities(), true).error().code, ErrorCode::kUnsupported);

    opened = datapath->open(small_capacities(), true);
    EXPECT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(datapath->remove_all());
    ASSERT_EQ(::umount2("/sys/fs/bpf", MNT_DETACH), 0);
}

TEST_F(TreeTest, SaysWhichPrivilegeIsMissing) {
    loaded();
    ASSERT_EQ(::chmod(bpffs().c_str(), 0755), 0);
    EXPECT_TRUE(in_another_process([&] {
        if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) {
            return false;
        }
        const auto opened = make_kernel_datapath(options())->open(small_capacities(), true);
        return !opened && opened.error().code == ErrorCode::kPermission &&
               opened.error().message.find("needs root or CAP_BPF+CAP_NET_ADMIN") != std::string::npos;
    }));
}

TEST_F(TreeTest, RemovesEverythingAndCanStartAgain) {
    auto datapath = loaded();
    ASSERT_TRUE(datapath->remove_all());
    EXPECT_FALSE(std::filesystem::exists(bpffs() + "/sgbpf"));
    EXPECT_TRUE(datapath->is_empty().value());
    EXPECT_EQ(datapath->control().error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(datapath->remove_all());
    EXPECT_TRUE(datapath->open(small_capacities(), true));
}

TEST_F(TreeTest, WaitsForAGracePeriodInBothWays) {
    EXPECT_TRUE(grace_by_membarrier());
    EXPECT_TRUE(grace_by_map_in_map());
    EXPECT_TRUE(loaded()->wait_grace_period());
}

}  // namespace
}  // namespace sgbpf::test
