// Result<T>: a value, or what went wrong in the world (a flag, a file, a driver) and what to do about it.
//
// Not for our own bugs (VRAMWISE_CHECK) and not for "it does not fit", which is an answer with figures of its own.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace vramwise {

/// What kind of failure; the value is the exit code that the command line ends with.
enum class ErrorCode {
  kUsage = 2,       ///< the command line or a value in it is wrong
  kDoesNotFit = 3,  ///< what was asked for takes more memory than there is
  kWorld = 4,       ///< a file, a driver, a device failed or is not what it should be
  kIncomplete = 5,  ///< something decisive was not modelled, so there is no answer
};

struct Error {
  ErrorCode code = ErrorCode::kWorld;
  std::string what;    ///< what happened, and where: one sentence without a full stop at its end
  std::string remedy;  ///< what to do next; may be empty
};

inline Error usage_error(std::string what, std::string remedy = {}) {
  return {ErrorCode::kUsage, std::move(what), std::move(remedy)};
}
inline Error does_not_fit(std::string what, std::string remedy = {}) {
  return {ErrorCode::kDoesNotFit, std::move(what), std::move(remedy)};
}
inline Error world_error(std::string what, std::string remedy = {}) {
  return {ErrorCode::kWorld, std::move(what), std::move(remedy)};
}
inline Error incomplete(std::string what, std::string remedy = {}) {
  return {ErrorCode::kIncomplete, std::move(what), std::move(remedy)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  const T& value() const& {
    VRAMWISE_CHECK_THAT(ok(), error_text());
    return std::get<0>(state_);
  }
  T& value() & {
    VRAMWISE_CHECK_THAT(ok(), error_text());
    return std::get<0>(state_);
  }
  T&& value() && {
    VRAMWISE_CHECK_THAT(ok(), error_text());
    return std::get<0>(std::move(state_));
  }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }

  const Error& error() const {
    VRAMWISE_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::string error_text() const { return ok() ? std::string() : std::get<1>(state_).what; }

  std::variant<T, Error> state_;
};

/// The result of something that yields no value.
struct Done {};
using Status = Result<Done>;

}  // namespace vramwise

#define VRAMWISE_JOIN_INNER(a, b) a##b
#define VRAMWISE_JOIN(a, b) VRAMWISE_JOIN_INNER(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may declare a variable, and `name` is one
#define VRAMWISE_ASSIGN_OR_RETURN_INNER(name, lhs, expression) \
  auto name = (expression);                                    \
  if (!name.ok()) return name.error();                         \
  lhs = std::move(name).value()
// NOLINTEND(bugprone-macro-parentheses)

/// `VRAMWISE_ASSIGN_OR_RETURN(auto x, f());` takes the value, or returns f's error from the enclosing function.
#define VRAMWISE_ASSIGN_OR_RETURN(lhs, expression) \
  VRAMWISE_ASSIGN_OR_RETURN_INNER(VRAMWISE_JOIN(result_, __LINE__), lhs, expression)

/// Returns the error of a Status from the enclosing function, if there is one.
#define VRAMWISE_RETURN_IF_ERROR(expression)                                \
  do {                                                                      \
    if (auto status_ = (expression); !status_.ok()) return status_.error(); \
  } while (false)
