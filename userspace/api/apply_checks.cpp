// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/apply_checks.hpp"

#include <fmt/format.h>

#include "api/session_guard.hpp"

namespace sgbpf {

const Attachment* moved_attachment(const Prepared& work, const std::string& name) {
    const std::uint32_t slot = work.transition.slots.find(work.transition.desired.interfaces.at(name).id)->second;
    const Attachment* before = attachment_of_device(work.transition.host.attachments, work.devices.found.at(name));
    const bool moves = before != nullptr && before->interface_slot != 0 && before->interface_slot != slot;
    return moves ? before : nullptr;
}

Error refusal_of(const std::vector<Error>& problems) {
    Error error = problems.front();
    for (std::size_t i = 1; i < problems.size(); ++i) {
        error.detail += problems[i].message + "\n";
    }
    error.message += "; nothing changed";
    return error;
}

namespace {

// Bindings have no generation: a device that changed its interface could not be given back.
Result<void> refuse_moves_to_confirm(const Prepared& work) {
    std::vector<Error> moves;
    for (const std::string& name : work.to_attach) {
        const Attachment* before = attachment_of_device(work.transition.host.attachments, work.devices.found.at(name));
        const bool left = before != nullptr && before->interface_slot == 0 && !before->hook.empty();
        if (left || moved_attachment(work, name) != nullptr) {
            moves.push_back(make_error(ErrorCode::kRefused,
                                       fmt::format("{} goes to another interface, {}, which --confirm cannot undo; "
                                                   "apply that without --confirm",
                                                   device_words(work.devices.found.at(name)), name)));
        }
    }
    return moves.empty() ? Result<void>{} : unexpected(refusal_of(moves));
}

}  // namespace

Result<void> check_prepared(const Prepared& work, const ApplyOptions& options) {
    if (!work.devices.problems.empty()) {
        return unexpected(refusal_of(work.devices.problems));
    }
    if (options.require_devices && !work.plan.waiting.empty()) {
        std::vector<Error> missing;
        for (const std::string& waiting : work.plan.waiting) {
            missing.push_back(make_error(ErrorCode::kRefused, waiting + " (--require-devices)"));
        }
        return unexpected(refusal_of(missing));
    }
    if (options.confirm_seconds != 0) {
        if (auto moves = refuse_moves_to_confirm(work); !moves) {
            return moves;
        }
    }
    if (!work.leaving.empty() && !options.allow_leaving && !(options.ask_leaving && options.ask_leaving(work.plan))) {
        std::vector<Error> left;
        for (const std::string& sentence : work.plan.leaving) {
            left.push_back(make_error(ErrorCode::kRefused, sentence));
        }
        Error error = refusal_of(left);
        error.message += "; say --prune if that is meant";
        return unexpected(std::move(error));
    }
    return {};
}

Result<void> guard_session(const Engine::Parts& parts, const Prepared& work, const ApplyOptions& options) {
    if (!options.session) {
        return {};
    }
    auto leaves = check_session_leaves(parts, *options.session, work.leaving,
                                       "a device without an interface drops all but ARP, ND and DHCP");
    if (!leaves) {
        return leaves;
    }
    const Transition& next = work.transition;
    if (next.writes() == 0 && work.to_attach.empty()) {
        return {};
    }
    return check_session(parts, *options.session, {next.desired, next.next, work.devices.found, next.host});
}

}  // namespace sgbpf
