// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "api/host_state.hpp"

#include <cstring>
#include <set>

#include <fmt/format.h>

#include "api/commit.hpp"
#include "api/confirm.hpp"
#include "image/plan.hpp"

namespace sgbpf {

namespace {

// The cached image, if it is the one in force. It is that also while a commit is pending that did not
// flip: a flip stores the new digest before the new generation.
std::optional<MapImage> cached_image(const Store* store, const ControlState& control) {
    for (const bool staged : {false, true}) {
        const auto bytes =
            store == nullptr ? Result<std::optional<std::string>>(std::nullopt) : store->load_image_cache(staged);
        if (!bytes || !*bytes) {
            continue;
        }
        auto image = deserialise(std::as_bytes(std::span(**bytes)));
        if (image && digest(*image) == control.digest) {
            return std::move(*image);
        }
    }
    return std::nullopt;
}

Result<void> load_image(Datapath& datapath, const Store* store, Access access, HostState& host) {
    auto cached = cached_image(store, host.control);
    const bool pending = host.control.pending != 0 && !host.unconfirmed && !host.rolled_back;
    if (cached && !pending) {
        host.image = std::move(*cached);
        return {};
    }
    host.from_kernel = true;
    if (access == Access::kWrite && pending) {
        auto image = repair(datapath, cached ? &*cached : nullptr);
        if (!image) {
            return unexpected(image.error());
        }
        host.image = std::move(*image);
        host.control.pending = 0;
        host.notes.emplace_back("repaired an interrupted commit");
        return {};
    }
    host.interrupted = pending;
    if (cached) {
        host.image = std::move(*cached);
        return {};
    }
    auto maps = datapath.read_maps();
    if (!maps) {
        return unexpected(maps.error());
    }
    host.image = image_from_maps(*maps, host.control.generation);
    return {};
}

// A commit that waits for its confirmation is in force, or was undone by the kernel. One that died before
// its flip has nothing in force that could be confirmed: it is undone now.
Result<void> meet_confirmation(Datapath& datapath, const Store* store, Access access, HostState& host) {
    if (host.control.confirm_state == SG_CONFIRM_NONE) {
        return {};
    }
    const bool armed = host.control.confirm_state == SG_CONFIRM_ARMED;
    host.unconfirmed = armed && host.control.generation == host.control.pending;
    // Armed and not flipped: under way, or interrupted; who only looks is told that.
    host.rolled_back = !armed || (!host.unconfirmed && access != Access::kRead);
    if (access == Access::kRead || (host.unconfirmed && access == Access::kConfirm)) {
        return {};
    }
    if (host.unconfirmed) {
        return unexpected(make_error(ErrorCode::kRefused,
                                     fmt::format("generation {} waits for its confirmation until {}; `sgbpf confirm` "
                                                 "keeps it, `sgbpf confirm --undo` goes back; nothing changed",
                                                 host.control.generation, boot_time_text(host.control.confirm_until))));
    }
    // If it flipped too late, the image before it is not the one of the digest now.
    ControlState before = host.control;
    before.digest = before.generation == before.pending ? before.digest_before : before.digest;
    const auto cached = cached_image(store, before);
    auto cleaned = clean_up_rollback(datapath, cached ? &*cached : nullptr, host.notes);
    if (!cleaned) {
        return cleaned;
    }
    auto control = datapath.control();
    if (!control) {
        return unexpected(control.error());
    }
    host.control = *control;
    host.rolled_back = false;
    return {};
}

// A save is staged before the flip and takes its place after it; between the two a run may die.
Result<void> load_applied(const Store& store, Access access, HostState& host) {
    const std::string in_force = to_hex(host.control.digest);
    auto staged = store.load_staged();
    if (staged && *staged) {
        const bool flipped =
            !host.kernel_empty && (*staged)->generation == host.control.generation && (*staged)->digest_hex == in_force;
        if (flipped) {
            host.applied = std::move(**staged);
            host.applied_is_current = true;
            if (access == Access::kWrite && !host.unconfirmed) {
                if (auto done = store.promote_staged(); !done) {
                    return unexpected(done.error());
                }
                host.notes.emplace_back("finished the save of an interrupted apply");
            }
            return {};
        }
    }
    if (access == Access::kWrite && !host.unconfirmed) {
        store.drop_staged();
    }
    auto applied = store.load_applied();
    if (!applied) {
        return unexpected(applied.error());
    }
    host.applied = std::move(*applied);
    host.applied_is_current = !host.kernel_empty && host.applied && host.applied->digest_hex == in_force;
    return {};
}

}  // namespace

std::string to_hex(const Digest& digest) {
    std::string text;
    for (const std::uint8_t byte : digest) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

std::map<std::string, std::uint32_t, std::less<>> interface_slots(const MapImage& image) {
    std::map<std::string, std::uint32_t, std::less<>> slots;
    for (std::uint32_t slot = 1; slot < image.interface_pool.end(); ++slot) {
        if (const InterfaceImage* interface = image.interface_at(slot); interface != nullptr) {
            slots.emplace(id_text(interface->id), slot);
        }
    }
    return slots;
}

std::map<std::uint32_t, std::string> interface_names(const HostState& host) {
    std::map<std::uint32_t, std::string> names;
    if (host.applied) {
        const auto slots = interface_slots(host.image);
        for (const auto& [name, interface] : host.applied->state.interfaces) {
            if (const auto slot = slots.find(interface.id); slot != slots.end()) {
                names[slot->second] = name;
            }
        }
    }
    return names;
}

Result<HostState> load_host(Datapath& datapath, const Store* store, const Capacities& capacities, Access access) {
    HostState host;
    auto empty = datapath.is_empty();
    if (!empty) {
        return unexpected(empty.error());
    }
    host.kernel_empty = *empty;
    if (!host.kernel_empty) {
        if (auto opened = datapath.open(capacities, false); !opened) {
            return unexpected(opened.error());
        }
        auto control = datapath.control();
        if (!control) {
            return unexpected(control.error());
        }
        host.control = *control;
        if (auto ready = meet_confirmation(datapath, store, access, host); !ready) {
            return unexpected(ready.error());
        }
        if (auto loaded = load_image(datapath, store, access, host); !loaded) {
            return unexpected(loaded.error());
        }
        auto attachments = datapath.attachments();
        if (!attachments) {
            return unexpected(attachments.error());
        }
        host.attachments = std::move(*attachments);
    }
    if (store != nullptr) {
        if (auto loaded = load_applied(*store, access, host); !loaded) {
            return unexpected(loaded.error());
        }
    }
    return host;
}

}  // namespace sgbpf
