// The one exception of the library. It says what was wrong, where, what was expected and how to mend it.
#pragma once

#include <stdexcept>
#include <string>

namespace octavo {

enum class ErrorKind {
  invalid_argument,  // feeds, options: the caller's mistake
  invalid_model,     // a file or plan that is malformed or hostile
  unsupported,       // valid, but not something this build can do
  out_of_memory,
  io,
  internal,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// printf-style message.
[[noreturn]] void fail(ErrorKind kind, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace octavo
