// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The seam to the kernel: abstract Datapath, so that everything above it runs in a unit test with
// FakeDatapath (tests/support). It knows edits, ABI structs and devices; never groups or rules.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/abi/config.h>
#include <sgbpf/abi/event.h>
#include <sgbpf/abi/flow.h>
#include <sgbpf/abi/interface.h>
#include <sgbpf/abi/verdict.h>
#include <sgbpf/prefix.hpp>
#include <sgbpf/resets.hpp>
#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

#include "base/fd.hpp"
#include "image/edit_list.hpp"
#include "image/image.hpp"
#include "image/maps.hpp"
#include "image/raw_maps.hpp"

namespace sgbpf {

struct ControlState {
    std::uint64_t generation = 0;
    std::uint64_t pending = 0;  // != 0: a commit was interrupted
    Digest digest{};
    std::uint32_t ticks_per_second = 0;
    std::uint64_t confirm_state = SG_CONFIRM_NONE;  // enum sg_confirm_state
    std::uint64_t confirm_from = 0;                 // generation to go back to
    std::uint64_t confirm_until = 0;                // CLOCK_BOOTTIME, nanoseconds
    Digest digest_before{};                         // of confirm_from
};

// A program at a device's XDP hook; at most one of each mode.
enum class XdpMode : std::uint8_t { kNative, kGeneric, kOffloaded };
struct XdpProgram {
    XdpMode mode = XdpMode::kNative;
    std::uint32_t program_id = 0;
};

// A network device as rtnetlink describes it.
struct Device {
    std::string netns;  // name under /run/netns, empty = the caller's namespace
    int ifindex = 0;
    std::string name;
    std::string alias;
    std::string kind;         // IFLA_INFO_KIND: "tun", "veth", "macvtap", "bridge" ...; empty = physical
    std::string master_kind;  // kind of the device it is a port of, empty = none
    MacAddress mac;
    unsigned hardware_type = 1;  // ARPHRD_*; 1 = Ethernet
    bool is_loopback = false;
    bool is_representor = false;  // has a phys_port_name of a VF or SF
    std::vector<XdpProgram> xdp;  // whoever's
};

// Native and generic are modes of XDP, which judges what arrives: role host's inbound rules only.
enum class HookChoice { kAuto, kNative, kGeneric, kTcx, kClsact };

struct AttachRequest {
    Device device;
    std::uint32_t interface_slot = 0;
    std::string interface_id;  // names the pins
    HookChoice hook = HookChoice::kAuto;
    Role role = Role::kWorkload;
    std::uint64_t since = 0;  // struct sg_binding: the unconfirmed commit that wants it, 0 = none
};

// What is in force at one device, both directions.
struct Attachment {
    Device device;  // ifindex 0: the device is gone, only pins are left
    std::uint32_t interface_slot = 0;
    std::string interface_id;
    Role role = Role::kWorkload;
    std::string hook;                                // "tcx", "clsact", "xdp native + tcx" (in + out) ...
    std::vector<std::string> ladder;                 // set by attach(): what was refused on the way to `hook`
    std::uint64_t since = 0;                         // struct sg_binding
    std::array<unsigned, SG_DIRECTIONS> position{};  // 1 = first
    std::array<unsigned, SG_DIRECTIONS> programs{};  // on the hook, ours included
    std::vector<std::string> foreign_before;         // programs of others that run before ours at the same hook
    std::string foreign_xdp;                         // another's XDP program, which sees packets before that hook
    std::string problem;                             // empty = both directions attached and bound
};

struct FlowFilter {
    std::optional<std::uint32_t> interface_slot;
    std::optional<Prefix> peer;
    std::optional<Protocol> protocol;
    std::optional<bool> established_only;
    std::optional<std::uint32_t> flow_slot;      // only this record
    std::optional<std::uint8_t> state;           // enum sg_flow_state
    std::optional<std::uint32_t> rule;           // slot of the rule that admitted it
    bool contexts = false;                       // also those of datagrams in fragments, which are no flows
    std::function<bool(const sg_flow&)> choose;  // asked last; none = all
    std::size_t limit = 0;                       // 0 = all
    std::chrono::milliseconds time_limit{};      // stops looking after that; 0 = never
};
// One flow: with another incarnation the record is another's.
struct FlowRef {
    std::uint32_t slot = 0;
    std::uint32_t incarnation = 0;
};
struct FlowSnapshot {
    std::vector<sg_flow> flows;
    std::vector<FlowRef> refs;  // of each
    std::uint64_t now = 0;      // ticks, to tell ages
    std::uint32_t ticks_per_second = 0;
    std::uint64_t live = 0;    // matching, also those beyond the limit
    unsigned looked_at = 100;  // percent of the table; less: the time was over
};

// What tells both ends that a TCP flow is over. Ethernet frames, each of which is enough where its sequence number is
// right; none: that end cannot be told.
struct FlowReset {
    sg_flow_key key{};
    std::vector<std::vector<std::byte>> to_local;   // MAC addresses 0: the device knows them
    std::vector<std::vector<std::byte>> to_remote;  // without MAC addresses: the host routes them
};
// Of flows at one device. Role host needs no frames: its sockets are closed, which tells both ends.
struct ResetOrder {
    Device device;
    Role role = Role::kWorkload;
    MacAddress guest;  // 0: the neighbour table is asked
    std::vector<FlowReset> flows;
};

struct MapUsage {
    std::string name;
    std::uint64_t used = 0;
    std::uint64_t limit = 0;
    std::uint64_t bytes = 0;  // kernel memory, as fdinfo says
};

// A packet to judge without letting it happen.
struct DryRun {
    unsigned direction = SG_IN;
    std::uint32_t interface_slot = 0;
    std::vector<std::byte> frame;  // from the Ethernet header on
    std::uint32_t length = 0;      // on the wire, if more than `frame` holds; 0 = the frame's
    bool xdp = false;              // by the XDP programs, as where the interface is filtered there
};
// What a run of the real programs said.
struct Judged {
    bool passed = false;
    int code = 0;  // of the hook: tc -1 = next program, 2 = drop; XDP 2 = pass, 1 = drop
    sg_outcome outcome{};
};

struct EventBatch {
    std::uint64_t lost = 0;  // since the last one: over the rate, or no room
    bool more = false;       // it ended before what there is did
};
// Verdicts as they happen, until destroyed.
class EventStream {
public:
    virtual ~EventStream() = default;
    // Asks for more, and shows what came since the last call: some thousands at most, and until `visit` says
    // false. Each event is shown once. Call it at least every second.
    virtual Result<EventBatch> read(const std::function<bool(const sg_event&)>& visit) = 0;
    // Nothing is written any more; what was can still be read.
    virtual Result<void> hush() = 0;
};

// Accounts by interface slot; [0] is the pool.
struct AccountsSnapshot {
    std::vector<sg_account> accounts;
    std::uint64_t now = 0;  // ticks
    std::uint32_t ticks_per_second = 0;
};

class Datapath {
public:
    virtual ~Datapath() = default;

    // Opens what is pinned, or creates it (maps, free slots, sweeper) when `create`. Errors: no
    // bpffs, pins of another ABI version, capacities that differ from the pinned maps' (named).
    virtual Result<void> open(const Capacities& capacities, bool create) = 0;
    // True when nothing is pinned: a host that never applied anything.
    virtual Result<bool> is_empty() = 0;
    virtual Result<Capacities> capacities() = 0;

    // Exclusive among all processes that write these maps, whatever state directory they use; held until
    // the descriptor is closed. kRefused at once if another holds it.
    virtual Result<Fd> lock() { return Fd(); }

    // Commit. One writer at a time (the caller holds the lock).
    virtual Result<ControlState> control() = 0;
    virtual Result<RawMaps> read_maps() = 0;
    // Performs edits [first, first + count) in order. An error names map and edit; what was written
    // before it stays.
    virtual Result<void> write(const EditList& edits, std::size_t first, std::size_t count) = 0;
    // Interfaces keep that many flows for themselves: the others of the table are the pool that all share. One
    // 32-bit store; saturates.
    virtual Result<void> set_reserved_flows(std::uint64_t reserved) = 0;
    virtual Result<void> set_pending(std::uint64_t generation) = 0;
    virtual Result<void> flip(std::uint64_t generation, const Digest& digest) = 0;
    virtual Result<void> wait_grace_period() = 0;
    // From now on the kernel goes back to the generation and digest in force by itself at `until`
    // (CLOCK_BOOTTIME, nanoseconds), unless disarmed. Before the flip of the commit to be undone.
    virtual Result<void> arm_rollback(std::uint64_t until) = 0;
    // Stops the timer. True: it was still armed, confirm_state is none now. False: it has fired, or never
    // was; confirm_state is left as it is.
    virtual Result<bool> disarm_rollback() = 0;
    // Goes back at once, as the timer would. True: done; false: there was nothing to undo.
    virtual Result<bool> roll_back_now() = 0;
    // The last step of cleaning up after a rollback: confirm_state = none.
    virtual Result<void> forget_rollback() = 0;

    // Devices and hooks.
    virtual Result<std::vector<Device>> devices(const std::string& netns) = 0;
    virtual Result<Attachment> attach(const AttachRequest& request) = 0;
    virtual Result<void> detach(const Attachment& attachment) = 0;
    // Binds an attached device to no interface (slot 0): it then drops all but the exempt list. Its links
    // stay, under a name of their own: the interface's id may get another device.
    virtual Result<void> unbind(const Attachment& attachment) = 0;
    // The commit that the device was attached for is confirmed: its `since` is forgotten.
    virtual Result<void> keep_binding(const Attachment& attachment) = 0;
    virtual Result<std::vector<Attachment>> attachments() = 0;
    // Unpins and detaches everything of ours.
    virtual Result<void> remove_all() = 0;

    // Reading and flushing.
    virtual Result<FlowSnapshot> read_flows(const FlowFilter& filter) = 0;
    virtual Result<sg_counters> read_counters(std::uint32_t interface_slot) = 0;  // summed over CPUs
    virtual Result<std::vector<sg_rule_counters>> read_rule_counters(const std::vector<std::uint32_t>& slots) = 0;
    virtual Result<AccountsSnapshot> read_accounts() = 0;
    // For so long from now, connections that were open before are taken up at this interface (0 = no more).
    virtual Result<void> adopt(std::uint32_t interface_slot, std::uint32_t seconds) = 0;
    // Counters of these slots start at zero again, interfaces' accounts too. Precondition: no packet counts there
    // meanwhile, and the flows of the interface slots were flushed.
    virtual Result<void> reset_counters(const std::vector<std::uint32_t>& rule_slots,
                                        const std::vector<std::uint32_t>& interface_slots) = 0;
    // Ends these flows, unless they ended meanwhile. Returns how many.
    virtual Result<std::uint64_t> reap_flows(const std::vector<FlowRef>& flows) = 0;
    // Reads and ends, until none is left of those that were there.
    virtual Result<std::uint64_t> flush_flows(const FlowFilter& what) = 0;
    // Sequence numbers of flows that were ended since they were read: those of their last packets, where the record
    // is not another flow's already.
    virtual Result<void> read_last_sequences(FlowSnapshot& ended) = 0;
    // What cannot be sent is counted, with its reason. Role workload: after the flows have ended, when no packet makes
    // the numbers wrong any more; our programs are not asked. Role host: before, as the kernel's own packets of the
    // flow.
    virtual Result<ResetsSent> send_resets(const ResetOrder& order) = 0;
    // Judges packets, in order, by the programs of this binary on the maps in force, now. Writes no map.
    virtual Result<std::vector<Judged>> dry_run(const std::vector<DryRun>& packets) = 0;
    // Judges packets by the programs of this binary on maps of their own that hold `image`: what it would do,
    // before anything is changed. Flows that were opened before are unknown there.
    virtual Result<std::vector<Judged>> try_image(const MapImage& image, const Capacities& capacities,
                                                  const std::vector<DryRun>& packets) = 0;
    // Devices of the caller's namespace that packets between these two addresses cross: the one that owns
    // `local`, the one the route to `peer` leaves by, and what those are stacked on (VLAN, macvlan).
    virtual Result<std::vector<int>> devices_between(const Address& local, const Address& peer) = 0;
    // `what`: enum sg_monitor; `interface_slot` 0 = all. kRefused: somebody listens already.
    virtual Result<std::unique_ptr<EventStream>> listen(std::uint16_t what, std::uint32_t interface_slot) = 0;
    virtual Result<std::vector<MapUsage>> map_usage() = 0;
};

}  // namespace sgbpf
