// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The packet vectors and sequences of the specification (section 12) through the real programs, of tc
// and of XDP, state compiled and committed as `sgbpf apply` does. What a later issue closes is listed by id below; a
// gap that no longer is one fails too.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "support/live_policy.hpp"
#include "support/vectors.hpp"

namespace sgbpf::test {
namespace {

using nlohmann::json;

const std::map<std::string, std::string> kKnownGaps = {
    {"P-072", "membership is matched by address; no port identity is carried (SG-4.23, ARCHITECTURE.md)"},
};

class World {
public:
    explicit World(TestPrograms::Mode mode) : state_(vector_state(vector_file())) {
        auto policy = LivePolicy::make(state_, small_capacities(), mode, vector_host(vector_file()));
        if (!policy) {
            ADD_FAILURE() << policy.error().message;
            return;
        }
        policy_ = std::move(*policy);
    }

    // Judges one packet object; empty = as expected, else what differs.
    std::string judge(const json& step, std::uint64_t now_ms) {
        const json& expect = step.at("expect");
        const unsigned direction = step.at("direction") == "in" ? SG_IN : SG_OUT;
        const PacketResult result =
            policy_->judge(direction, step.at("interface"), vector_frame(step.at("packet")), now_ms);
        const std::string got = "got reason " + std::to_string(result.reason) + " rule " + policy_->rule_id(result) +
                                (result.tracked ? " tracked" : " untracked");
        if (result.passed() != (expect.at("verdict") == "accept")) {
            return "expected " + expect.at("verdict").get<std::string>() + ", " + got;
        }
        if (expect.contains("tracked") && expect["tracked"].get<bool>() != result.tracked) {
            return "expected tracked = " + expect["tracked"].dump() + ", " + got;
        }
        if (expect.value("reason", "") == "source-dest-check" && result.reason != SG_REASON_SOURCE_DEST) {
            return "expected reason source-dest-check, " + got;
        }
        if (expect.value("reason", "") == "no-tracking-capacity" && result.reason != SG_REASON_NO_CAPACITY) {
            return "expected reason no-tracking-capacity, " + got;
        }
        if (result.passed() && result.reason == SG_REASON_RULE) {
            const json& rules = expect.value("matching_rules", json::array());
            if (std::find(rules.begin(), rules.end(), policy_->rule_id(result)) == rules.end()) {
                return "the rule named is not among those that match: " + got;
            }
        }
        return {};
    }

    void flush() {
        ASSERT_TRUE(policy_->flush_all());
        ASSERT_TRUE(policy_->programs().live_flows().empty());
        // Nothing leaks: every slot but slot 0 is free again.
        ASSERT_EQ(policy_->programs().free_flow_slots(), small_capacities().flows - 1);
    }

    // False: the action cannot be expressed yet.
    bool act(const json& action) {
        if (!apply_action(state_, vector_file(), action)) {
            return false;
        }
        const auto committed = policy_->commit(state_);
        EXPECT_TRUE(committed) << committed.error().message;
        return true;
    }

private:
    State state_;
    std::unique_ptr<LivePolicy> policy_;
};

// Passes when `difference` is empty, or when it is not and the id is a known gap.
void expect_or_gap(const std::string& id, const std::string& difference) {
    const auto gap = kKnownGaps.find(id);
    if (gap == kKnownGaps.end()) {
        EXPECT_EQ(difference, "");
    } else {
        EXPECT_NE(difference, "") << id << " works now: remove it from the known gaps (" << gap->second << ")";
    }
}

std::string test_name(const std::string& id) {
    return id.substr(0, 1) + id.substr(2);
}

// Which case, and which programs judge it.
using Mode = TestPrograms::Mode;
using Case = std::tuple<std::size_t, Mode>;

auto cases(const char* part) {
    return testing::Combine(testing::Range(std::size_t{0}, vector_file().at(part).size()),
                            testing::Values(Mode::kTest, Mode::kTestXdp));
}

template <const char* const& part> std::string case_name(const testing::TestParamInfo<Case>& one) {
    const auto& [index, mode] = one.param;
    return test_name(vector_file().at(part).at(index).at("id")) + (mode == Mode::kTest ? "_tc" : "_xdp");
}
constexpr const char* kVectors = "vectors";
constexpr const char* kSequences = "sequences";

class Vector : public testing::TestWithParam<Case> {
protected:
    static void TearDownTestSuite() { worlds().clear(); }
    static std::map<Mode, std::unique_ptr<World>>& worlds() {
        static std::map<Mode, std::unique_ptr<World>> made;
        return made;
    }
    static World& world(Mode mode) {
        auto& one = worlds()[mode];
        if (!one) {
            one = std::make_unique<World>(mode);
        }
        return *one;
    }
};

TEST_P(Vector, IsJudgedAsWritten) {
    const auto& [index, mode] = GetParam();
    const json& vector = vector_file().at("vectors").at(index);
    SCOPED_TRACE(vector.at("title").get<std::string>() + " " + vector.at("refs").dump());
    world(mode).flush();
    expect_or_gap(vector.at("id"), world(mode).judge(vector, 1'000'000));
}

INSTANTIATE_TEST_SUITE_P(Spec, Vector, cases("vectors"), case_name<kVectors>);

class Sequence : public testing::TestWithParam<Case> {};

TEST_P(Sequence, IsJudgedAsWritten) {
    const auto& [index, mode] = GetParam();
    const json& sequence = vector_file().at("sequences").at(index);
    SCOPED_TRACE(sequence.at("title").get<std::string>() + " " + sequence.at("refs").dump());
    World world(mode);
    std::string difference;
    std::size_t number = 0;
    for (const json& step : sequence.at("steps")) {
        ++number;
        if (step.contains("action")) {
            if (!world.act(step["action"])) {
                difference = "action " + step["action"].dump() + " cannot be expressed";
                break;
            }
            continue;
        }
        const std::uint64_t now_ms = 1'000'000 + step.at("t").get<std::uint64_t>() * 1000;
        const std::string one = world.judge(step, now_ms);
        if (!one.empty()) {
            difference += "step " + std::to_string(number) + ": " + one + "\n";
        }
    }
    expect_or_gap(sequence.at("id"), difference);
}

INSTANTIATE_TEST_SUITE_P(Spec, Sequence, cases("sequences"), case_name<kSequences>);

TEST(KnownGaps, NameCasesThatExist) {
    for (const auto& [id, reason] : kKnownGaps) {
        bool found = false;
        for (const char* part : {"vectors", "sequences"}) {
            for (const json& one : vector_file().at(part)) {
                found = found || one.at("id") == id;
            }
        }
        EXPECT_TRUE(found) << id;
        EXPECT_GT(reason.size(), 10u) << id;
    }
    EXPECT_EQ(vector_file().at("vectors").size(), 79u);
    EXPECT_EQ(vector_file().at("sequences").size(), 22u);
}

}  // namespace
}  // namespace sgbpf::test
