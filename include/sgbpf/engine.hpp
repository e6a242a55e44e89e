// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Everything sgbpf can do on one host, as functions that return structs: what the CLI calls and what
// others may embed. Nothing here prints, asks or exits.
//
// Words in the reports are ready to show ("web0: no device named tap-web0"); what a caller may want
// to branch on is a field of its own. An `Error` means: nothing was changed, unless its text says so.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sgbpf/abi/verdict.h>
#include <sgbpf/prefix.hpp>
#include <sgbpf/resets.hpp>
#include <sgbpf/result.hpp>
#include <sgbpf/state.hpp>

namespace sgbpf {

class Datapath;
class IdSource;
class Store;
struct HostConfig;
enum class HookChoice;

enum class LogLevel { kDebug, kInfo, kWarning };
using LogSink = std::function<void(LogLevel, const std::string&)>;

// What reading a state file said. `errors` not empty: nothing was changed, nothing else is filled in.
struct InputReport {
    std::vector<std::string> errors;    // "FILE:LINE:COLUMN: PATH: words"
    std::vector<std::string> warnings;  // the same form
};

// How many elements of a map a state needs.
struct CapacityNeed {
    std::string map;    // "sg_cidr4"
    std::string words;  // "IPv4 prefixes"
    std::uint64_t need = 0;
    std::uint64_t limit = 0;
};

struct CheckReport {
    InputReport input;
    std::size_t groups = 0;
    std::size_t rules = 0;
    std::size_t interfaces = 0;
    std::vector<CapacityNeed> needs;
    std::string too_large;  // empty = fits; else the sentence naming map, need and limit
    std::string image;      // canonical text; only when asked for
};

struct Timing {
    double parse_ms = 0;   // read, parse, validate
    double engine_ms = 0;  // compile, plan, write and flip
    double grace_ms = 0;   // waiting for readers to leave the old generation, and cleaning up
};

struct Plan {
    InputReport input;
    std::vector<std::string> changes;     // "+ rule web in tcp 443 from ::/0"; '+', '-' or '~', by object
    std::vector<std::string> interfaces;  // whose rules change
    std::vector<std::string> leaving;     // interfaces and devices that leave the file while filtered
    std::vector<std::string> attaching;   // "web0: tap-web0"
    std::vector<std::string> waiting;     // "db0: no device named tap-db0"
    std::vector<std::string> notes;       // what was found on the way ("repaired an interrupted commit")
    std::size_t writes = 0;               // map writes of the commit
    std::uint64_t flows_of_leaving = 0;   // live flows that end with the change
    bool compared_with_kernel = true;     // false: only the applied file was readable
    [[nodiscard]] bool differs() const {
        return !changes.empty() || writes != 0 || !leaving.empty() || !attaching.empty();
    }
};

// A connection that must not be cut: the operator's own (SSH_CONNECTION).
struct OperatorSession {
    Address peer;
    std::uint16_t peer_port = 0;
    Address local;
    std::uint16_t local_port = 0;
    static Result<OperatorSession> parse(const std::string& ssh_connection);
    [[nodiscard]] std::string to_string() const;  // "198.51.100.7:50122 -> :22"
};

// Flows that a command ended.
struct FlowsEnded {
    std::uint64_t flows = 0;
    std::optional<ResetsSent> resets;  // asked for
};

struct ApplyOptions {
    bool require_devices = false;  // an absent device is an error
    bool allow_leaving = false;    // --prune, --yes
    HookChoice hook{};
    std::optional<OperatorSession> session;  // refused if it would be cut
    std::optional<Revocation> revoke;        // for every interface, whatever it says (SG-5.21); also without changes
    bool reset = false;                      // both ends of TCP flows that are killed are told so
    std::uint32_t adopt_seconds = 0;         // connections that run already are taken up for so long; 0 = none
    std::uint32_t confirm_seconds = 0;       // the kernel undoes it by itself unless `confirm` follows; 0 = it stays
    std::string who;                         // for the journal
    std::string command;                     // for the journal
    // Something leaves the file while it is filtered and allow_leaving is not set: true = go on. Null = refuse.
    std::function<bool(const Plan&)> ask_leaving;
    // Called once, when nothing can be refused any more and before the first write.
    std::function<void(const Plan&)> before_write;
};

// A device that is filtered.
struct AttachedDevice {
    std::string interface;
    std::string device;
    std::string netns;
    int ifindex = 0;
    std::string hook;
    std::array<unsigned, SG_DIRECTIONS> position{};
    std::array<unsigned, SG_DIRECTIONS> programs{};
    std::uint64_t generation = 0;
    bool already = false;          // it was attached before
    std::uint32_t adopting_s = 0;  // connections that run already are taken up for so long
    Role role{};
    std::vector<std::string> ladder;  // hooks that were refused before `hook`, each with its reason
    std::vector<std::string> foreign_before;
    std::string foreign_xdp;
};

struct ApplyReport {
    Plan plan;
    bool committed = false;  // a generation was committed; false = no changes
    std::uint64_t generation = 0;
    std::string undone_at;  // local time "12:01:00"; empty = it stays
    std::size_t writes = 0;
    Timing timing;
    FlowsEnded ended;                        // of rules that are gone
    std::vector<AttachedDevice> attached;    // by this run
    std::vector<std::string> attach_errors;  // the commit holds, but these devices are not filtered
    std::vector<std::string> notes;          // what else happened ("tap-web0 stays attached and ...")
};

struct ConfirmReport {
    std::uint64_t generation = 0;  // in force now
    bool rolled_back = false;      // it was too late, or asked for
    std::vector<std::string> notes;
};

struct AttachReport {
    std::vector<AttachedDevice> attached;
    std::vector<std::string> waiting;
    std::vector<std::string> errors;  // one sentence per device that could not be attached
};

struct DetachReport {
    std::string interface;  // empty: its interface is not in the applied state
    std::string device;     // "tap-web0", "tap-web0 in netns blue"
    bool quarantined = false;
};

// A row of `status`.
struct InterfaceStatus {
    std::string interface;
    std::string device;
    std::string role;
    std::string hook;
    std::uint64_t generation = 0;
    std::string state;  // "filtering", "waiting", "detached", "dropping all", "problem"
    std::uint64_t flows = 0;
    std::uint64_t drops = 0;  // packets, both directions, since the interface got its slot
};

// Something an operator should know. Unhealthy ones make `status` exit 1.
struct Condition {
    bool unhealthy = false;
    std::string name;  // stable, for scripts: "map-nearly-full"
    std::string text;
};

struct StatusReport {
    bool empty = false;  // nothing was ever applied on this host
    std::uint64_t generation = 0;
    std::string digest;  // hex
    std::vector<InterfaceStatus> interfaces;
    std::vector<std::string> waiting;  // "db0: no device named tap-db0"
    std::vector<Condition> conditions;
    [[nodiscard]] bool healthy() const;
};

struct RuleRow {
    unsigned direction = SG_IN;
    Rule rule;
    std::string group;    // name
    std::string peer;     // "10.0.0.0/8", "office (pl-...)", "group mysql"
    std::string peer_id;  // of a list or group
    std::string group_id;
    std::uint64_t packets = 0;  // of all interfaces with that group
    std::uint64_t bytes = 0;
};

struct FlowRow {
    std::string interface;
    std::string protocol;
    std::string local;  // "10.0.1.10:443", "[2001:db8::1]:443"; ICMP: address only
    std::string remote;
    bool opened_out = false;
    std::string state;
    std::string detail;  // ICMP: "echo-request id 7"
    std::uint64_t age_s = 0;
    std::uint64_t idle_s = 0;
    std::uint64_t left_s = 0;
    std::string tracked;                     // why it has an entry
    std::string tier;                        // "opening", "established"
    bool adopted = false;                    // was open before its device was attached
    bool windows_known = false;              // its sequence numbers are known from the SYN on (strict mode)
    std::string rule;                        // id, empty if unknown
    std::array<std::uint64_t, 2> packets{};  // from the opener, towards it
    std::array<std::uint64_t, 2> bytes{};
};

struct FlowsReport {
    std::vector<FlowRow> flows;
    std::uint64_t matching = 0;  // also those beyond the limit
    unsigned looked_at = 100;    // percent of the table; less: the time was over
};

struct FlowQuery {
    std::string interface;
    std::string group;  // of the interfaces that carry it: name, or VPC/NAME; empty = any
    std::optional<Prefix> peer;
    std::optional<Protocol> protocol;
    std::string state;  // name of a flow state; empty = any
    std::string rule;   // id of the rule that admitted it; empty = any
    std::size_t limit = 0;
    std::uint64_t seconds = 0;  // stop looking after that; 0 = never
};

struct CounterRow {
    unsigned direction = SG_IN;
    std::string reason;
    bool drop = false;
    std::string sentence;
    std::uint64_t packets = 0;
};

// What an interface may have of the flow table, and has (SG-5.46..5.52).
struct AllowanceReport {
    std::uint64_t flows = 0;
    std::uint64_t max_flows = 0;
    std::uint64_t opening = 0;
    std::uint64_t max_opening = 0;
    std::uint64_t reserved = 0;
    std::uint64_t available = 0;           // entries it can still open now
    std::uint64_t exceeded = 0;            // packets dropped for lack of one, both directions
    std::uint64_t linklocal_exceeded = 0;  // packets of never-filtered traffic over the rate (SG-5.49)
    std::uint64_t recycled = 0;            // unanswered flows that made room (opening_recycle)
    std::uint64_t adopted = 0;             // flows taken up (attach --adopt)
    std::uint64_t adopting_s = 0;          // for how much longer it does; 0 = it does not
    std::uint64_t corrected = 0;           // times that a recount found another number
};

struct CountersReport {
    std::string interface;                                            // "(unbound)" for slot 0
    std::vector<CounterRow> rows;                                     // only reasons seen
    std::array<std::array<std::uint64_t, 2>, SG_DIRECTIONS> bytes{};  // [direction][verdict]
    std::optional<AllowanceReport> allowance;                         // not of slot 0
};

struct MapRow {
    std::string name;
    std::uint64_t used = 0;
    std::uint64_t limit = 0;
    std::uint64_t bytes = 0;
};

struct PolicyRow {
    std::string interface;
    unsigned direction = SG_IN;
    std::uint32_t slot = 0;
    std::uint32_t policy = 0;
    std::vector<std::string> groups;
    std::size_t rules = 0;
};

// What would happen to a packet at an interface? `packet` in words ("tcp 192.0.2.7:40000 -> 10.0.1.10:443"), or a
// frame.
struct WhyQuest {
    std::string interface;
    unsigned direction = SG_IN;
    std::string packet;            // empty: `frame`
    std::vector<std::byte> frame;  // from the Ethernet header on
    std::uint32_t length = 0;      // on the wire, if more than `frame` holds
    bool has_source_mac = true;    // false: the frame's is not known, for what leaves it is the guest's
};

struct NearestRule {
    RuleRow rule;
    std::vector<std::string> differs;  // "protocol", "port", "type", "peer", "family"
    std::string difference;            // "another port"
};

struct WhyReport {
    std::string interface;
    unsigned direction = SG_IN;
    std::string packet;  // in one line
    bool passes = false;
    std::string reason;    // "no-rule"
    std::string sentence;  // what that means
    std::string detail;    // for this packet and this interface
    std::uint64_t generation = 0;
    std::string rule_id;          // that admits it, or admitted its flow; empty = none
    std::optional<RuleRow> rule;  // not set though there is an id: it is gone since
    std::string stage;            // where it was found: any-peer, cidr, prefix-list, group; empty = was not asked
    std::string entry;            // of the rule's prefix list, the longest that holds the peer
    std::string member;           // of the rule's group, the interface that has the peer's address
    std::string tracking;         // tracked, would-be-tracked, not-tracked; empty = dropped, or never filtered
    std::string tracking_why;     // why it is, or is not
    std::optional<FlowRow> flow;  // that it belongs to
    std::optional<NearestRule> nearest;  // no rule admits it: the one that comes closest
    std::vector<std::string> notes;      // why the answer may not be what happens ("web0 is not attached")
};

// Can `from` open a connection to `to`? Judged at both ends, by each address family that both have.
struct ReachQuest {
    std::string from;
    std::string to;
    std::string service;  // "tcp 3306", "udp 53", "icmp echo-request", "gre"
    std::optional<Family> family;
};

struct ReachReport {
    struct Path {
        Family family = Family::kIpv4;
        WhyReport out;        // at `from`
        WhyReport in;         // at `to`
        std::string replies;  // "tracked at both ends", "by rule sgr-... at web0"
        bool reaches = false;
    };
    std::vector<Path> paths;
    std::string relation;                // "both are in VPC prod"
    [[nodiscard]] bool reaches() const;  // by every family
};

struct MonitorQuery {
    std::string interface;  // empty = all
    bool drops = false;     // only what is dropped
    bool packets = false;   // also every packet of tracked flows
    std::optional<unsigned> direction;
    std::optional<Prefix> peer;
    std::optional<Protocol> protocol;
    std::optional<std::uint16_t> port;  // of either end
    std::string reason;                 // name; empty = any
    std::uint64_t count = 0;            // ends after that many; 0 = never
    std::uint64_t seconds = 0;          // ends after that time; 0 = never
};
// One verdict.
struct EventRow {
    std::chrono::system_clock::time_point time;
    std::string interface;
    unsigned direction = SG_IN;
    bool drop = false;
    std::string reason;
    std::string rule;    // id; empty = none
    std::string packet;  // "tcp 192.0.2.7:4444 > 10.0.1.10:22 S"
    std::uint32_t length = 0;
    std::uint64_t generation = 0;
};
struct MonitorReport {
    std::uint64_t shown = 0;
    std::uint64_t lost = 0;  // over the rate, or not read in time; filters of ours are not applied to them
};

class Engine {
public:
    // All arguments must outlive the engine. `datapath` may be null: then only what needs no kernel
    // (check, and diff against the applied file) works, and the rest says so. `store` may be null for
    // what only reads: nothing is known then of what was applied.
    Engine(Datapath* datapath, Store* store, const HostConfig& host, IdSource& ids, LogSink log);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Needs no privilege, no kernel and no state directory.
    Result<CheckReport> check(const std::string& file, bool with_image);
    // What apply would do. Takes no lock and writes nothing.
    Result<Plan> diff(const std::string& file);
    Result<ApplyReport> apply(const std::string& file, const ApplyOptions& options);
    // Ends the time of an apply with confirm_seconds: keeps it, or with `undo` goes back at once.
    Result<ConfirmReport> confirm(bool undo);

    // Attaches the devices of one interface of the applied state, or of all (empty name).
    // `session`: refused if that would be cut. `adopt_seconds`: for so long, connections that run already are taken
    // up where the rules of either direction admit them; devices that were attached before too.
    Result<AttachReport> attach(const std::string& interface, HookChoice hook,
                                const std::optional<OperatorSession>& session = std::nullopt,
                                std::uint32_t adopt_seconds = 0);
    // `name`: interface or device. The devices that `detach` would touch, for the question to the user.
    Result<std::vector<DetachReport>> detach_preview(const std::string& name);
    // Afterwards the device passes ALL traffic; with `quarantine` it stays attached and drops all.
    // An interface that carries `session` is not quarantined.
    Result<std::vector<DetachReport>> detach(const std::string& name, bool quarantine,
                                             const std::optional<OperatorSession>& session = std::nullopt);
    // Detaches every device, removes every map, and forgets what was applied (ids are kept).
    Result<std::vector<std::string>> remove_all();

    Result<StatusReport> status();
    Result<std::vector<RuleRow>> show_rules(const std::string& interface);  // empty = all groups
    Result<FlowsReport> show_flows(const FlowQuery& query);
    Result<std::vector<CountersReport>> show_counters(const std::string& interface);  // empty = all
    Result<std::vector<MapRow>> show_maps();
    Result<std::vector<PolicyRow>> show_policies(const std::string& interface);
    // What the real programs say to a packet now. Takes no lock; no map, no flow and no counter changes.
    Result<WhyReport> why(const WhyQuest& quest);
    Result<ReachReport> reach(const ReachQuest& quest);
    // Verdicts as they happen. `show` gets each, or with null the number lost since the last call; false ends it.
    Result<MonitorReport> monitor(const MonitorQuery& query,
                                  const std::function<bool(const EventRow*, std::uint64_t lost)>& show);
    // The applied state, as it is enforced.
    Result<State> applied_state();

    // `reset`: both ends of TCP flows are told first.
    Result<FlowsEnded> flush_flows(const FlowQuery& query, bool reset = false);

    struct Parts;  // private to api/

private:
    std::unique_ptr<Parts> parts_;
};

}  // namespace sgbpf
