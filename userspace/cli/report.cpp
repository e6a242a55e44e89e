// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "cli/report.hpp"

#include <fmt/format.h>

#include "base/strings.hpp"
#include "cli/output.hpp"
#include "model/text.hpp"

namespace sgbpf::cli {

bool say_input(Context& context, const InputReport& input) {
    for (const std::string& warning : input.warnings) {
        context.words(warning);
    }
    for (const std::string& error : input.errors) {
        context.words(error);
    }
    if (input.errors.empty()) {
        return true;
    }
    context.words(counted(input.errors.size(), "error") + "; nothing changed");
    context.exit = kExitBadInput;
    return false;
}

std::string resets_text(const FlowsEnded& ended) {
    return ended.resets ? "; " + ended.resets->to_string() : "";
}

Json resets_json(const FlowsEnded& ended) {
    if (!ended.resets) {
        return nullptr;
    }
    return {{"Sent", ended.resets->sent},
            {"UnknownSequence", ended.resets->unknown},
            {"NotSent", ended.resets->unsent},
            {"Why", ended.resets->why}};
}

std::string plan_text(const Plan& plan, std::size_t limit) {
    std::string out;
    const std::size_t shown = limit == 0 ? plan.changes.size() : std::min(limit, plan.changes.size());
    for (std::size_t i = 0; i < shown; ++i) {
        out += harmless(plan.changes[i]) + "\n";
    }
    if (shown < plan.changes.size()) {
        out += fmt::format("... and {} more; `sgbpf diff` shows all\n", plan.changes.size() - shown);
    }
    for (const std::string& left : plan.leaving) {
        out += "! " + harmless(left) + "\n";
    }
    for (const std::string& device : plan.attaching) {
        out += "+ attach " + harmless(device) + "\n";
    }
    if (!plan.interfaces.empty()) {
        constexpr std::size_t kShown = 8;
        std::vector<std::string> names(plan.interfaces.begin(),
                                       plan.interfaces.begin() +
                                           static_cast<std::ptrdiff_t>(std::min(kShown, plan.interfaces.size())));
        out += "~ interfaces touched: " + harmless(join(names, ", "));
        out += plan.interfaces.size() > kShown ? fmt::format(" and {} more\n", plan.interfaces.size() - kShown) : "\n";
    }
    return out;
}

Json plan_json(const Plan& plan) {
    Json changes = Json::array();
    for (const std::string& change : plan.changes) {
        changes.push_back(
            {{"Change", change.substr(0, 1)}, {"Object", change.substr(std::min<std::size_t>(2, change.size()))}});
    }
    return {{"Differs", plan.differs()},
            {"Changes", changes},
            {"InterfacesTouched", plan.interfaces},
            {"Leaving", plan.leaving},
            {"Attaching", plan.attaching},
            {"Waiting", plan.waiting},
            {"Warnings", plan.input.warnings},
            {"Notes", plan.notes},
            {"MapWrites", plan.writes},
            {"LiveFlowsAffected", plan.flows_of_leaving},
            {"ComparedWithKernel", plan.compared_with_kernel}};
}

std::string device_text(const std::string& device, const std::string& netns) {
    return netns.empty() ? device : device + " in netns " + netns;
}

std::string attached_text(const AttachedDevice& device) {
    std::string text = fmt::format("{}: {} (ifindex {}) {} in+out, position {}/{}", device.interface,
                                   device_text(device.device, device.netns), device.ifindex, device.hook,
                                   device.position[SG_IN], device.programs[SG_IN]);
    if (device.position[SG_IN] != device.position[SG_OUT] || device.programs[SG_IN] != device.programs[SG_OUT]) {
        text += fmt::format(" in and {}/{} out", device.position[SG_OUT], device.programs[SG_OUT]);
    }
    text += fmt::format(", generation {}{}", device.generation, device.already ? " (was attached)" : "");
    return device.adopting_s == 0 ? text
                                  : text + fmt::format(", adopting existing connections for {} s", device.adopting_s);
}

std::string ladder_text(const AttachedDevice& device) {
    if (device.ladder.empty()) {
        return {};
    }
    return fmt::format("{}: {}; {}", device_text(device.device, device.netns), join(device.ladder, "; "), device.hook);
}

Json attached_json(const AttachedDevice& device) {
    return {{"Interface", device.interface},
            {"Device", device.device},
            {"Role", role_text(device.role)},
            {"Netns", device.netns},
            {"IfIndex", device.ifindex},
            {"Hook", device.hook},
            {"Position", {{"In", device.position[SG_IN]}, {"Out", device.position[SG_OUT]}}},
            {"Programs", {{"In", device.programs[SG_IN]}, {"Out", device.programs[SG_OUT]}}},
            {"Generation", device.generation},
            {"WasAttached", device.already},
            {"AdoptingSeconds", device.adopting_s},
            {"Refused", device.ladder},
            {"ForeignBefore", device.foreign_before},
            {"ForeignXdp", device.foreign_xdp}};
}

}  // namespace sgbpf::cli
