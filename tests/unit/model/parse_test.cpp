// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What the parser makes of good input, and whole-file mistakes. Refusals by kind are in the corpus.
#include "model/parse.hpp"
#include "model/text.hpp"

#include "base/file.hpp"
#include "tests/unit/base/temporary_directory.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace sgbpf {
namespace {

constexpr const char* kHead = "schema: sgbpf/v1\nvpcs:\n  prod: {cidrs: [10.0.0.0/16]}\n";

std::string all_of(const std::vector<Diagnostic>& diagnostics) {
    std::string text;
    for (const Diagnostic& diagnostic : diagnostics) {
        text += diagnostic.to_string() + '\n';
    }
    return text;
}

State good(const std::string& text) {
    ParsedState parsed = parse_state(text, "s.yaml", "");
    EXPECT_TRUE(parsed.ok()) << all_of(parsed.errors) << text;
    return std::move(parsed.state);
}

State with_rule(const std::string& rule) {
    return good(std::string(kHead) + "groups:\n  web:\n    vpc: prod\n    description: Web\n    inbound:\n      - " +
                rule + "\n");
}

std::vector<std::string> texts(const std::vector<Rule>& rules, unsigned direction) {
    std::vector<std::string> lines;
    for (const Rule& rule : rules) {
        lines.push_back(rule_text(rule, direction));
    }
    return lines;
}

using Lines = std::vector<std::string>;

TEST(ParsedRules, OneRulePerPeer) {  // SG-2.4
    const State state = with_rule("{type: http, cidr: [0.0.0.0/0, \"::/0\"], description: Web, tags: {a: b}}");
    const auto& rules = state.groups.at("prod/web").rules[SG_IN];
    EXPECT_EQ(texts(rules, SG_IN), (Lines{"tcp 80 from 0.0.0.0/0", "tcp 80 from ::/0"}));
    for (const Rule& rule : rules) {
        EXPECT_EQ(rule.description, "Web");
        EXPECT_EQ(rule.tags.at("a"), "b");
        EXPECT_TRUE(rule.id.empty());
    }
}

TEST(ParsedRules, SpellingsOfOneProtocolAreOneProtocol) {  // SG-2.6, SG-2.7
    const std::pair<const char*, const char*> rows[] = {
        {"protocol: -1", "all from 10.0.0.0/8"},
        {"protocol: \"-1\"", "all from 10.0.0.0/8"},
        {"protocol: all", "all from 10.0.0.0/8"},
        {"protocol: ALL, port: 0", "all from 10.0.0.0/8"},  // SG-2.18
        {"type: all", "all from 10.0.0.0/8"},
        {"protocol: 6, port: 80", "tcp 80 from 10.0.0.0/8"},
        {"protocol: TCP, port: 80-80", "tcp 80 from 10.0.0.0/8"},
        {"type: http", "tcp 80 from 10.0.0.0/8"},
        {"protocol: 17, port: 0-65535", "udp 0-65535 from 10.0.0.0/8"},
        {"type: all-udp", "udp 0-65535 from 10.0.0.0/8"},
        {"protocol: 58", "icmpv6 all from 10.0.0.0/8"},  // SG-2.21
        {"protocol: icmp, icmp: echo-request", "icmp echo-request from 10.0.0.0/8"},
        {"protocol: 1, icmp: {type: 8, code: -1}", "icmp echo-request from 10.0.0.0/8"},
        {"protocol: 1, icmp: {type: 8, code: 0}", "icmp type 8 code 0 from 10.0.0.0/8"},
        {"protocol: 1, icmp: {type: -1, code: 3}", "icmp all from 10.0.0.0/8"},  // SG-2.20
        {"protocol: 1, icmp: -1", "icmp all from 10.0.0.0/8"},
        {"protocol: 132, port: 80", "protocol 132 from 10.0.0.0/8"},  // SG-2.11
        {"protocol: 0", "protocol 0 from 10.0.0.0/8"},
    };
    for (const auto& [selector, text] : rows) {
        SCOPED_TRACE(selector);
        const State state = with_rule(std::string("{") + selector + ", cidr: 10.0.0.0/8}");
        EXPECT_EQ(texts(state.groups.at("prod/web").rules[SG_IN], SG_IN), Lines{text});
    }
}

TEST(ParsedRules, TypesAreTheOnesOfTheSeed) {  // SG-14.1
    const std::pair<const char*, const char*> rows[] = {
        {"ssh", "tcp 22"},        {"rdp", "tcp 3389"},      {"http", "tcp 80"},    {"https", "tcp 443"},
        {"mysql", "tcp 3306"},    {"mssql", "tcp 1433"},    {"dns-udp", "udp 53"}, {"dns-tcp", "tcp 53"},
        {"all-icmp", "icmp all"}, {"postgres", "tcp 5432"},
    };
    for (const auto& [type, text] : rows) {
        const State state = with_rule(std::string("{type: ") + type + ", group: self}");
        EXPECT_EQ(texts(state.groups.at("prod/web").rules[SG_IN], SG_IN),
                  Lines{std::string(text) + " from group prod/web"});
    }
}

TEST(ParsedRules, PeersAreCanonical) {  // SG-2.27 to SG-2.29
    const State state =
        with_rule("{protocol: all, cidr: [100.68.0.18/18, \"2001:DB8:0::/32\", \"::ffff:192.0.2.9/120\"]}");
    EXPECT_EQ(texts(state.groups.at("prod/web").rules[SG_IN], SG_IN),
              (Lines{"all from 100.68.0.0/18", "all from 2001:db8::/32", "all from ::ffff:192.0.2.0/120"}));
}

TEST(Defaults, NewGroupAllowsNothingInAndEverythingOut) {  // SG-3.1 to SG-3.3
    const State v4 = good(std::string(kHead) + "groups: {web: {vpc: prod, description: Web}}\n");
    EXPECT_TRUE(v4.groups.at("prod/web").rules[SG_IN].empty());
    EXPECT_EQ(texts(v4.groups.at("prod/web").rules[SG_OUT], SG_OUT), Lines{"all to 0.0.0.0/0"});
    const State v6 = good("schema: sgbpf/v1\nvpcs: {prod: {cidrs: [10.0.0.0/16, \"2001:db8::/56\"]}}\n"
                          "groups: {web: {vpc: prod, description: Web}}\n");
    EXPECT_EQ(texts(v6.groups.at("prod/web").rules[SG_OUT], SG_OUT), (Lines{"all to 0.0.0.0/0", "all to ::/0"}));
}

TEST(Defaults, EmptyOutboundIsNoOutbound) {  // SG-3.5
    const State state = good(std::string(kHead) + "groups: {web: {vpc: prod, description: Web, outbound: []}}\n");
    EXPECT_TRUE(state.groups.at("prod/web").rules[SG_OUT].empty());
}

TEST(Defaults, EveryVpcHasADefaultGroup) {  // SG-3.8, SG-3.9, section 3.2
    const State state = good("schema: sgbpf/v1\nvpcs:\n  a: {cidrs: [10.0.0.0/16]}\n"
                             "  b: {cidrs: [10.1.0.0/16, \"2001:db8::/56\"]}\n");
    ASSERT_EQ(state.groups.size(), 2U);
    const Group& group = state.groups.at("b/default");
    EXPECT_TRUE(group.is_default);
    EXPECT_EQ(group.name, "default");
    EXPECT_EQ(texts(group.rules[SG_IN], SG_IN), Lines{"all from group b/default"});
    EXPECT_EQ(texts(group.rules[SG_OUT], SG_OUT), (Lines{"all to 0.0.0.0/0", "all to ::/0"}));
    EXPECT_EQ(texts(state.groups.at("a/default").rules[SG_OUT], SG_OUT), Lines{"all to 0.0.0.0/0"});
}

TEST(Defaults, AnEntryOfTheFileReplacesOnlyTheRulesItNames) {  // SG-3.10
    const State state = good(std::string(kHead) + "groups: {default: {vpc: prod, inbound: []}}\n");
    const Group& group = state.groups.at("prod/default");
    EXPECT_TRUE(group.is_default);
    EXPECT_TRUE(group.rules[SG_IN].empty());
    EXPECT_EQ(texts(group.rules[SG_OUT], SG_OUT), Lines{"all to 0.0.0.0/0"});
    EXPECT_EQ(group.description, "default VPC security group");
}

TEST(Defaults, InterfaceWithoutGroupsTakesTheDefaultGroup) {  // SG-1.29
    const State state = good(std::string(kHead) + "interfaces: {a: {vpc: prod, match: tap0, addresses: [10.0.0.1]}}\n");
    EXPECT_EQ(state.interfaces.at("a").groups, Lines{"prod/default"});
    EXPECT_EQ(state.interfaces.at("a").role, Role::kWorkload);
    EXPECT_TRUE(state.interfaces.at("a").source_dest_check);
    EXPECT_EQ(state.interfaces.at("a").timeouts, Timeouts{});
}

TEST(ParsedInterface, KeepsEveryField) {
    const State state =
        good(std::string(kHead) + "groups: {b: {vpc: prod, description: B}, a: {vpc: prod, description: A}}\n"
                                  "interfaces:\n  web0:\n    vpc: prod\n    role: host\n"
                                  "    match: {device: tap*, mac: \"fe:54:00:12:34:56\", alias: vm 1, netns: blue}\n"
                                  "    mac: \"52:54:00:12:34:56\"\n    addresses: [10.0.1.10, 10.0.2.0/28]\n"
                                  "    allowed_addresses: [\"2001:db8::/64\", 10.0.9.1]\n    groups: [b, a, b]\n"
                                  "    source_dest_check: false\n"
                                  "    timeouts: {tcp_established: 60, udp: 60, udp_stream: 120}\n");
    const Interface& interface = state.interfaces.at("web0");
    EXPECT_EQ(interface.role, Role::kHost);
    EXPECT_EQ(match_text(interface.match), "netns blue device tap* mac fe:54:00:12:34:56 alias vm 1");
    EXPECT_EQ(interface.mac->to_string(), "52:54:00:12:34:56");
    ASSERT_EQ(interface.addresses.size(), 2U);
    EXPECT_EQ(interface.addresses[0].to_string(), "10.0.1.10/32");
    EXPECT_EQ(interface.addresses[1].to_string(), "10.0.2.0/28");
    ASSERT_EQ(interface.allowed_addresses.size(), 2U);
    EXPECT_EQ(interface.allowed_addresses[0].to_string(), "2001:db8::/64");
    EXPECT_EQ(interface.groups, (Lines{"prod/a", "prod/b"}));  // SG-1.25
    EXPECT_FALSE(interface.source_dest_check);
    EXPECT_EQ(interface.timeouts, (Timeouts{60, 60, 120}));
}

TEST(ParsedNames, TrailingSpacesOfAGroupsNameGo) {  // SG-1.11
    const State state = good(std::string(kHead) + "groups: {\"Test \": {vpc: prod, description: \"a \"}}\n");
    EXPECT_EQ(state.groups.at("prod/Test").name, "Test");
    EXPECT_EQ(state.groups.at("prod/Test").description, "a ");
}

TEST(References, OwnVpcComesFirst) {
    const State state = good("schema: sgbpf/v1\nvpcs: {a: {cidrs: [10.0.0.0/16]}, b: {cidrs: [10.1.0.0/16]}}\n"
                             "peerings: {p: {vpcs: [b, a], status: active}}\n"
                             "groups:\n  a/web: {vpc: a, description: W, inbound: [{protocol: all, group: web},"
                             " {protocol: all, group: b/web}, {protocol: all, group: default}]}\n"
                             "  b/web: {vpc: b, description: W, inbound: [{protocol: all, group: self}]}\n");
    EXPECT_EQ(texts(state.groups.at("a/web").rules[SG_IN], SG_IN),
              (Lines{"all from group a/web", "all from group b/web", "all from group a/default"}));
    EXPECT_EQ(texts(state.groups.at("b/web").rules[SG_IN], SG_IN), Lines{"all from group b/web"});
}

TEST(References, APeeringThatIsNotActiveMakesTheRuleStaleButLegal) {  // SG-4.26
    for (const char* status : {"deleted", "pending-acceptance", "failed"}) {
        const ParsedState parsed =
            parse_state("schema: sgbpf/v1\nvpcs: {a: {cidrs: [10.0.0.0/16]}, b: {cidrs: [10.1.0.0/16]}}\n"
                        "peerings: {p: {vpcs: [b, a], status: " +
                            std::string(status) +
                            "}}\n"
                            "groups:\n  web: {vpc: a, description: W, inbound: [{protocol: all, group: b/default}]}\n",
                        "s.yaml", "");
        EXPECT_TRUE(parsed.ok()) << all_of(parsed.errors);
        EXPECT_NE(all_of(parsed.warnings).find(std::string("peering p is ") + status), std::string::npos);
    }
}

TEST(Warnings, ShowBothTextsOfClearedHostBits) {  // SG-2.27
    const ParsedState parsed =
        parse_state(std::string(kHead) +
                        "groups: {w: {vpc: prod, description: W, inbound: [{protocol: all, cidr: 100.68.0.18/18}]}}\n",
                    "s.yaml", "");
    EXPECT_EQ(all_of(parsed.warnings), "s.yaml:4:73: warning: groups.w.inbound[0].cidr: 100.68.0.18/18 has bits set "
                                       "after its prefix length; read as 100.68.0.0/18\n");
}

TEST(Warnings, SayWhatIsIgnoredOrDangerous) {
    const std::pair<const char*, const char*> rows[] = {
        {"{protocol: 132, port: 80, cidr: 10.0.0.0/8}", "port: ignored: protocol 132 has no ports here"},  // SG-2.11
        {"{protocol: all, port: 0, cidr: 10.0.0.0/8}", "port: ignored: protocol all has no ports"},
        {"{protocol: icmp, port: 8, icmp: all, cidr: 10.0.0.0/8}", "use icmp: for type and code"},
        {"{type: ssh, cidr: 0.0.0.0/0}", "SSH is open to the world (LINT-1)"},  // SG-14.2
        {"{type: rdp, cidr: \"::/0\"}", "RDP is open to the world (LINT-2)"},
        {"{protocol: icmp, icmp: all, cidr: \"::/0\"}", "protocol icmp never comes from ::/0"},  // SG-2.13
        {"{protocol: icmp, icmp: {type: -1, code: 3}, cidr: 10.0.0.0/8}", "the code is read as -1"},
    };
    for (const auto& [rule, text] : rows) {
        SCOPED_TRACE(rule);
        const ParsedState parsed = parse_state(
            std::string(kHead) + "groups: {w: {vpc: prod, description: W, inbound: [" + rule + "]}}\n", "s.yaml", "");
        EXPECT_TRUE(parsed.ok()) << all_of(parsed.errors);
        EXPECT_NE(all_of(parsed.warnings).find(text), std::string::npos) << all_of(parsed.warnings);
    }
    EXPECT_TRUE(parse_state(std::string(kHead) + "groups: {w: {vpc: prod, description: W, inbound: [{type: ssh, cidr: "
                                                 "10.0.0.0/8}]}}\n",
                            "s.yaml", "")
                    .warnings.empty());
}

TEST(Warnings, AskForQuotesAroundAMacThatYaml11ReadsAsANumber) {
    const std::string text =
        std::string(kHead) +
        "interfaces: {a: {vpc: prod, match: tap0, addresses: [10.0.0.1], mac: 52:54:00:12:34:56}}\n";
    const ParsedState parsed = parse_state(text, "s.yaml", "");
    ASSERT_TRUE(parsed.ok()) << all_of(parsed.errors);
    EXPECT_EQ(parsed.state.interfaces.at("a").mac->to_string(), "52:54:00:12:34:56");
    EXPECT_NE(all_of(parsed.warnings).find("quote \"52:54:00:12:34:56\""), std::string::npos);
}

TEST(Places, CountCharactersAndLinesWhateverTheLineEnds) {
    const std::string lines[] = {"schema: sgbpf/v1", "vpcs:", "  prod: {cidrs: [10.0.0.0/16]}",
                                 "groups:", "  w: {vpc: prod, description: Caf\xc3\xa9, owner: x}"};
    for (const char* end : {"\n", "\r\n", "\r"}) {
        std::string text = "\xef\xbb\xbf";
        for (const std::string& line : lines) {
            text += line + end;
        }
        const ParsedState parsed = parse_state(text, "s.yaml", "");
        ASSERT_EQ(parsed.errors.size(), 2U) << all_of(parsed.errors);
        EXPECT_EQ(parsed.errors[0].line, 5);
        EXPECT_EQ(parsed.errors[0].column, 31);
        EXPECT_EQ(parsed.errors[1].line, 5);
        EXPECT_EQ(parsed.errors[1].column, 44);  // e-acute is one column
    }
}

TEST(Places, AreInTheOrderOfTheFile) {
    const ParsedState parsed =
        parse_state("schema: sgbpf/v1\ninterfaces: {a: {}}\ngroups: {b: {}}\nvpcs: {c: {}}\n", "s.yaml", "");
    ASSERT_GE(parsed.errors.size(), 3U);
    for (std::size_t i = 1; i < parsed.errors.size(); ++i) {
        EXPECT_LE(parsed.errors[i - 1].line, parsed.errors[i].line) << all_of(parsed.errors);
    }
}

TEST(Places, QuoteKeysThatAreNoWords) {
    const ParsedState parsed = parse_state(std::string(kHead) + "groups: {\"a.b c\": {vpc: prod}}\n", "s.yaml", "");
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_EQ(parsed.errors[0].path, "groups.\"a.b c\"");
}

TEST(StateFile, MissingOrDirectoryIsOneSentence) {
    const TemporaryDirectory directory;
    EXPECT_EQ(parse_state_file(directory.file("s.yaml")).error().code, ErrorCode::kNotFound);
    const auto parsed = parse_state_file(directory.path());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    EXPECT_NE(parsed.error().message.find("it is a directory"), std::string::npos);
}

TEST(StateFile, OfAHundredMegabytesIsRefusedByItsSize) {
    const TemporaryDirectory directory;
    const std::string path = directory.write("s.yaml", kHead);
    ASSERT_EQ(::truncate(path.c_str(), 100 * 1000 * 1000), 0);
    const auto parsed = parse_state_file(path);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
    EXPECT_NE(parsed.error().message.find("larger than 64 MiB"), std::string::npos);
}

TEST(StateFile, EmptyNeverMeansDeleteAll) {
    for (const char* text : {"", "\n\n", "# nothing\n", "---\n", "---\n...\n", "\xef\xbb\xbf", "~\n", "null\n"}) {
        SCOPED_TRACE(text);
        const ParsedState parsed = parse_state(text, "s.yaml", "");
        ASSERT_EQ(parsed.errors.size(), 1U) << all_of(parsed.errors);
        EXPECT_EQ(parsed.errors[0].to_string(), "s.yaml: is empty: nothing is read from it and nothing changes");
    }
}

TEST(StateFile, Utf16IsCalledByItsName) {
    for (const std::string_view text : {std::string_view("\xff\xfes\0c\0", 6), std::string_view("\xfe\xff\0s\0c", 6)}) {
        EXPECT_EQ(parse_state(text, "s.yaml", "").errors.at(0).message, "is UTF-16 text; save it as UTF-8");
    }
}

TEST(StateFile, ComesFromStandardInputToo) {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_GT(::write(ends[1], kHead, std::string_view(kHead).size()), 0);
    ::close(ends[1]);
    const int saved = ::dup(STDIN_FILENO);
    ASSERT_EQ(::dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    const auto parsed = parse_state_file("-");
    if (saved >= 0) {
        ::dup2(saved, STDIN_FILENO);
        ::close(saved);
    }
    ::close(ends[0]);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_TRUE(parsed->ok());
    EXPECT_EQ(parsed->sources, Lines{"<stdin>"});
}

TEST(EntriesFile, IsFoundBesideTheStateFileAndListedAsASource) {
    const TemporaryDirectory directory;
    directory.write("office.txt", "198.51.100.0/24 # head office\n\n10.0.0.0/8\n");
    const auto parsed = parse_state_file(
        directory.write("s.yaml", std::string(kHead) +
                                      "prefix_lists: {o: {family: ipv4, max_entries: 2, entries_file: office.txt}}\n"));
    ASSERT_TRUE(parsed);
    ASSERT_TRUE(parsed->ok()) << all_of(parsed->errors);
    EXPECT_EQ(parsed->sources, (Lines{directory.file("s.yaml"), directory.file("office.txt")}));
    const auto& entries = parsed->state.prefix_lists.at("o").entries;
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].prefix.to_string(), "10.0.0.0/8");  // sorted: a list is a set
    EXPECT_EQ(entries[1].prefix.to_string(), "198.51.100.0/24");
}

TEST(EntriesFile, ThatIsBrokenThroughoutDoesNotFloodTheReport) {
    const TemporaryDirectory directory;
    std::string text;
    for (int i = 0; i < 5000; ++i) {
        text += "nonsense\n";
    }
    directory.write("x.txt", text);
    const ParsedState parsed =
        parse_state(std::string(kHead) + "prefix_lists: {o: {family: ipv4, max_entries: 2, entries_file: x.txt}}\n",
                    "s.yaml", directory.path());
    ASSERT_EQ(parsed.errors.size(), 101U);
    EXPECT_NE(parsed.errors[0].message.find("x.txt has 4900 more errors"), std::string::npos)
        << parsed.errors[0].message;
    EXPECT_EQ(parsed.errors[1].line, 1);
    EXPECT_EQ(parsed.errors[1].file, directory.file("x.txt"));
}

TEST(EntriesFile, ThatIsBinaryIsOneSentence) {
    const TemporaryDirectory directory;
    directory.write("x.txt", std::string_view("10.0.0.0/8\n\0\0", 13));
    const ParsedState parsed =
        parse_state(std::string(kHead) + "prefix_lists: {o: {family: ipv4, max_entries: 2, entries_file: x.txt}}\n",
                    "s.yaml", directory.path());
    ASSERT_EQ(parsed.errors.size(), 1U);
    EXPECT_NE(parsed.errors[0].message.find("is a binary file, not a list of CIDRs"), std::string::npos);
}

TEST(Rules, TwoIdenticalOnesAreNamedByBothPlaces) {  // SG-2.35
    const ParsedState parsed =
        parse_state(std::string(kHead) + "groups:\n  w:\n    vpc: prod\n    description: W\n    inbound:\n"
                                         "      - {type: http, cidr: 10.0.0.0/8}\n"
                                         "      - {type: https, cidr: 10.0.0.0/8}\n"
                                         "      - {protocol: 6, port: 80-80, cidr: [192.0.2.0/24, 10.9.9.9/8]}\n",
                    "s.yaml", "");
    ASSERT_EQ(parsed.errors.size(), 1U) << all_of(parsed.errors);
    EXPECT_EQ(parsed.errors[0].to_string(),
              "s.yaml:11:57: groups.w.inbound[2]: \"tcp 80 from 10.0.0.0/8\" is there already, as "
              "groups.w.inbound[0] on line 9");
}

TEST(Rules, OverlappingOrOppositeOnesAreNoDuplicates) {  // SG-2.37, SG-2.38
    good(std::string(kHead) +
         "groups:\n  w:\n    vpc: prod\n    description: W\n"
         "    inbound: [{protocol: tcp, port: 80, cidr: 10.0.0.0/8}, {protocol: tcp, port: 80-81, cidr: 10.0.0.0/8},"
         " {protocol: tcp, port: 80, cidr: 10.0.0.0/16}, {protocol: udp, port: 80, cidr: 10.0.0.0/8},"
         " {protocol: all, cidr: 10.0.0.0/8}]\n"
         "    outbound: [{protocol: tcp, port: 80, cidr: 10.0.0.0/8}]\n");
}

}  // namespace
}  // namespace sgbpf
