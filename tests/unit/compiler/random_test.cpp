// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Random states and changes: the maps must decide as the specification does, before, during and after a
// commit, stopped anywhere. A failure names its seed.
#include <gtest/gtest.h>

#include "api/commit.hpp"
#include "tests/support/commits.hpp"
#include "tests/support/states.hpp"

namespace sgbpf {
namespace {

using test::differs;
using test::FakeDatapath;
using test::NewFlow;
using test::RandomStates;

MapImage compiled(const State& state, const MapImage& previous) {
    Result<MapImage> image = compile({state, previous, Capacities{}, nullptr});
    EXPECT_TRUE(image) << image.error().message;
    return std::move(*image);
}

std::vector<std::uint32_t> slots(const std::vector<NewFlow>& flows, std::initializer_list<const State*> states,
                                 std::initializer_list<const MapImage*> images) {
    std::vector<std::uint32_t> found;
    for (const NewFlow& flow : flows) {
        std::uint32_t slot = 0;
        for (const State* state : states) {
            const auto interface = state->interfaces.find(flow.interface);
            if (slot == 0 && interface != state->interfaces.end()) {
                slot = test::slot_of(interface->second.id, images);
            }
        }
        found.push_back(slot);
    }
    return found;
}

FakeDatapath empty_datapath() {
    FakeDatapath datapath;
    EXPECT_TRUE(datapath.open(Capacities{}, true));
    return datapath;
}

TEST(RandomStates, MapsDecideAsTheSpecificationDoes) {
    for (std::uint32_t seed = 0; seed < 150; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomStates random(seed);
        State state = random.make();
        FakeDatapath maps = empty_datapath();
        MapImage image;
        for (int step = 0; step < 4; ++step) {
            SCOPED_TRACE("step " + std::to_string(step));
            MapImage next = compiled(state, image);
            const CommitPlan plan = plan_commit(image, next, maps.generation());
            const auto committed = run_commit(maps, plan);
            ASSERT_TRUE(committed) << committed.error().message;
            image = std::move(next);
            const auto flows = random.flows(state, state, 300);
            ASSERT_EQ(differs(maps, maps.generation(), state, flows, slots(flows, {&state}, {&image})), "");
            ASSERT_EQ(differs(maps, image), "");
            // The same content read back has the same digest, and compiles to nothing new.
            ASSERT_EQ(digest(image_from_maps(*maps.read_maps(), maps.generation())), digest(image));
            ASSERT_EQ(plan_commit(image, compiled(state, image), maps.generation()).edits(), 0U);
            random.change(state);
        }
    }
}

TEST(RandomStates, TheCacheRestoresTheImage) {
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        RandomStates random(seed);
        State state = random.make();
        const MapImage first = compiled(state, MapImage{});
        random.change(state);
        const MapImage image = compiled(state, first);
        const auto restored = deserialise(serialise(image));
        ASSERT_TRUE(restored) << restored.error().message;
        ASSERT_EQ(to_text(*restored), to_text(image));
        ASSERT_EQ(digest(*restored), digest(image));
        ASSERT_EQ(plan_commit(*restored, compiled(state, *restored), 1).edits(), 0U);
        random.change(state);
        ASSERT_EQ(to_text(compiled(state, *restored)), to_text(compiled(state, image)));
    }
}

// One interrupted commit: the flows see one state, whole; repair changes nothing for them; another commit
// then works as if nothing had happened.
struct Interruption {
    const State& before;
    const State& after;
    const State& then;
    const MapImage& image_before;
    const MapImage& image_after;
    const std::vector<NewFlow>& flows;
};

void check_interruption(const Interruption& it, FakeDatapath maps, const CommitPlan& plan, std::size_t stop) {
    const auto flow_slots = slots(it.flows, {&it.before, &it.after}, {&it.image_before, &it.image_after});
    CommitHooks hooks;
    hooks.before_edit = [&](std::size_t edit) { return edit < stop; };
    const auto committed = run_commit(maps, plan, &hooks);
    ASSERT_EQ(static_cast<bool>(committed), stop >= plan.edits());

    const bool flipped = maps.generation() == plan.to;
    const bool published = stop >= plan.before.size() + plan.publish.size();
    ASSERT_EQ(flipped, published);
    const State& in_force = flipped || (plan.single_write && published) ? it.after : it.before;
    ASSERT_EQ(differs(maps, maps.generation(), in_force, it.flows, flow_slots), "");
    if (flipped && stop == plan.before.size() + plan.publish.size() && !plan.single_write) {
        // A packet that read the generation just before the flip.
        ASSERT_EQ(differs(maps, plan.from, it.before, it.flows, flow_slots), "");
    }

    // Repair edit by edit: no verdict may change on the way.
    const RawMaps raw = *maps.read_maps();
    const MapImage found = image_from_maps(raw, maps.generation());
    const EditList edits = repair_edits(raw, found);
    FakeDatapath half = maps;
    for (std::size_t i = 0; i < edits.size(); ++i) {
        ASSERT_TRUE(half.write(edits, i, 1));
        if (i % 5 == stop % 5) {
            ASSERT_EQ(differs(half, half.generation(), in_force, it.flows, flow_slots), "") << "repair edit " << i;
        }
    }
    const auto repaired = repair(maps);
    ASSERT_TRUE(repaired) << repaired.error().message;
    ASSERT_EQ(differs(maps, maps.generation(), in_force, it.flows, flow_slots), "");
    ASSERT_EQ(differs(maps, *repaired), "");
    ASSERT_EQ((*maps.control()).pending, 0U);

    // Half of the time the cached image still describes the maps.
    const MapImage& cached = flipped ? it.image_after : it.image_before;
    const bool use_cache = stop % 2 == 0 && digest(cached) == digest(*repaired);
    const MapImage& current = use_cache ? cached : *repaired;
    const MapImage next = compiled(it.then, current);
    const auto recommitted = run_commit(maps, plan_commit(current, next, maps.generation()));
    ASSERT_TRUE(recommitted) << recommitted.error().message;
    ASSERT_EQ(differs(maps, maps.generation(), it.then, it.flows, slots(it.flows, {&it.then}, {&next})), "");
    ASSERT_EQ(differs(maps, next), "");
    for (const auto& [name, interface] : it.then.interfaces) {
        const auto slot = current.interface_slot(interface.id);
        if (slot) {
            ASSERT_EQ(next.interface_slot(interface.id), slot) << "flows would be lost";
        }
    }
    next.rules.slots.for_each([&](const FixedId& id, std::uint32_t slot) {
        if (const auto known = current.rule_slot(id_text(id))) {
            ASSERT_EQ(*known, slot) << "flows would name another rule";
        }
    });
}

TEST(RandomStates, AStopAtAnyEditLeavesOneStateInForce) {
    for (std::uint32_t seed = 0; seed < 25; ++seed) {
        RandomStates random(1000 + seed);
        const State s0 = random.make();
        State s1 = s0;
        random.change(s1);
        State s2 = s1;
        random.change(s2);
        FakeDatapath maps = empty_datapath();
        const MapImage image0 = compiled(s0, MapImage{});
        ASSERT_TRUE(run_commit(maps, plan_commit(MapImage{}, image0, 0)));
        const MapImage image1 = compiled(s1, image0);
        const CommitPlan plan = plan_commit(image0, image1, maps.generation());
        const auto flows = random.flows(s0, s1, 120);
        for (std::size_t stop = 0; stop <= plan.edits(); ++stop) {
            SCOPED_TRACE("seed " + std::to_string(seed) + " stop " + std::to_string(stop) + " of " +
                         std::to_string(plan.before.size()) + "+" + std::to_string(plan.publish.size()) + "+" +
                         std::to_string(plan.after.size()));
            check_interruption({s0, s1, s2, image0, image1, flows}, maps, plan, stop);
            ASSERT_FALSE(::testing::Test::HasFatalFailure());
        }
    }
}

}  // namespace
}  // namespace sgbpf
