// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Result<T>: a value or an Error; the subset of std::expected<T, Error> (C++23) that sgbpf uses,
// with the same member names. Return an error or log it, never both.
#pragma once

#include <cassert>
#include <optional>
#include <utility>
#include <variant>

#include <sgbpf/error.hpp>

namespace sgbpf {

struct Unexpected {
    Error error;
};

inline Unexpected unexpected(Error error) {
    return Unexpected{std::move(error)};
}

template <typename T> class [[nodiscard]] Result {
public:
    Result(T value)
        : storage_(std::in_place_index<0>, std::move(value)) {
    }  // NOLINT(google-explicit-constructor): as std::expected
    Result(Unexpected failure)
        : storage_(std::in_place_index<1>, std::move(failure.error)) {
    }  // NOLINT(google-explicit-constructor): as std::expected

    [[nodiscard]] bool has_value() const noexcept { return storage_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T& value() & {
        assert(has_value());
        return *std::get_if<0>(&storage_);
    }
    const T& value() const& {
        assert(has_value());
        return *std::get_if<0>(&storage_);
    }
    T&& value() && {
        assert(has_value());
        return std::move(*std::get_if<0>(&storage_));
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    Error& error() & {
        assert(!has_value());
        return *std::get_if<1>(&storage_);
    }
    const Error& error() const& {
        assert(!has_value());
        return *std::get_if<1>(&storage_);
    }
    Error&& error() && {
        assert(!has_value());
        return std::move(*std::get_if<1>(&storage_));
    }

private:
    std::variant<T, Error> storage_;
};

template <> class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Unexpected failure)
        : error_(std::move(failure.error)) {}  // NOLINT(google-explicit-constructor): as std::expected

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    Error& error() & {
        assert(!has_value());
        return *error_;
    }
    const Error& error() const& {
        assert(!has_value());
        return *error_;
    }
    Error&& error() && {
        assert(!has_value());
        return std::move(*error_);
    }

private:
    std::optional<Error> error_;
};

}  // namespace sgbpf
