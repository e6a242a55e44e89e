// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// check and diff: what a file says, and what it would change. They change nothing.
#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/context.hpp"
#include "cli/output.hpp"
#include "cli/report.hpp"

namespace sgbpf::cli {

namespace {

// The tries of CIDRs always, and whatever is more than half full.
std::string needs_text(const std::vector<CapacityNeed>& needs) {
    const CapacityNeed* prefixes = nullptr;
    const CapacityNeed* fullest = nullptr;
    for (const CapacityNeed& need : needs) {
        const bool is_cidrs = need.map == "sg_cidr4" || need.map == "sg_cidr6";
        if (is_cidrs && (prefixes == nullptr || need.need > prefixes->need)) {
            prefixes = &need;
        }
        if (fullest == nullptr || need.need * fullest->limit > fullest->need * need.limit) {
            fullest = &need;
        }
    }
    std::string text;
    if (prefixes != nullptr) {
        text = fmt::format("; needs {} of {} prefixes", prefixes->need, prefixes->limit);
    }
    if (fullest != nullptr && fullest != prefixes && fullest->need * 2 > fullest->limit) {
        text += fmt::format(", {} of {} {}", fullest->need, fullest->limit, fullest->words);
    }
    return text;
}

void check(Context& context, const std::string& file, bool image) {
    Engine* engine = context.engine(Needs::kNothing);
    if (engine == nullptr) {
        return;
    }
    auto report = engine->check(file, image);
    if (!report) {
        context.fail(report.error());
        return;
    }
    const bool bad = !report->input.errors.empty();
    if (context.options.json) {
        Json needs = Json::array();
        for (const CapacityNeed& need : report->needs) {
            needs.push_back(
                {{"Map", need.map}, {"Description", need.words}, {"Need", need.need}, {"Limit", need.limit}});
        }
        context.json({{"Valid", !bad && report->too_large.empty()},
                      {"Errors", report->input.errors},
                      {"Warnings", report->input.warnings},
                      {"Groups", report->groups},
                      {"Rules", report->rules},
                      {"Interfaces", report->interfaces},
                      {"Maps", needs},
                      {"Refusal", report->too_large}});
        context.exit = bad ? kExitBadInput : report->too_large.empty() ? kExitFine : kExitRefused;
        return;
    }
    if (!say_input(context, report->input)) {
        return;
    }
    if (!report->too_large.empty()) {
        context.fail(kExitRefused, report->too_large);
        return;
    }
    if (image) {
        context.data(report->image);
        return;
    }
    context.data(fmt::format("ok: {}, {}, {}{}\n", counted(report->groups, "group"), counted(report->rules, "rule"),
                             counted(report->interfaces, "interface"), needs_text(report->needs)));
}

void diff(Context& context, const std::string& file) {
    const bool kernel = context.env.lacks_privilege.empty();
    Engine* engine = kernel ? context.engine(Needs::kRead) : context.engine_without_kernel();
    if (engine == nullptr) {
        return;
    }
    auto plan = engine->diff(file);
    if (!plan) {
        context.fail(plan.error());
        return;
    }
    if (!context.options.json && !say_input(context, plan->input)) {
        return;
    }
    if (!plan->input.errors.empty()) {
        context.json({{"Errors", plan->input.errors}, {"Warnings", plan->input.warnings}});
        context.exit = kExitBadInput;
        return;
    }
    context.exit = plan->differs() ? kExitDiffers : kExitFine;
    if (!plan->compared_with_kernel) {
        context.words("note: without privilege this compares with the file that was applied last, not with the kernel");
    }
    if (context.options.json) {
        context.json(plan_json(*plan));
        return;
    }
    for (const std::string& note : plan->notes) {
        context.words(note);
    }
    for (const std::string& waiting : plan->waiting) {
        context.words("waiting: " + waiting);
    }
    context.data(plan_text(*plan, 0));
    if (!plan->differs()) {
        context.data("no changes\n");
    } else if (plan->compared_with_kernel) {
        context.data(fmt::format("~ {}, {} affected\n", counted(plan->writes, "map write"),
                                 counted(plan->flows_of_leaving, "live flow")));
    }
}

}  // namespace

void add_check_commands(CLI::App& app, Context& context) {
    struct Arguments {
        std::string file;
        bool image = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* check_command = app.add_subcommand("check", "Read a state file and say what is wrong with it, or what it "
                                                          "needs. No root, no kernel");
    check_command->add_option("file", arguments->file, "State file, - for standard input")->required();
    check_command->add_flag("--image", arguments->image, "Print the canonical text of what would be loaded");
    check_command->footer("Examples:\n  sgbpf check s.yaml\n  sgbpf check --image s.yaml | less");
    check_command->callback([&context, arguments] { check(context, arguments->file, arguments->image); });

    CLI::App* diff_command = app.add_subcommand("diff", "Say what `apply` would change. Exit 0: nothing, 1: something");
    diff_command->add_option("file", arguments->file, "State file, - for standard input")->required();
    diff_command->footer("Example:\n  sgbpf diff s.yaml && echo nothing to do");
    diff_command->callback([&context, arguments] { diff(context, arguments->file); });
}

}  // namespace sgbpf::cli
