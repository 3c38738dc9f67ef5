// The smallest test harness: CHECK counts, finish() reports. Failures print file, line and the expression.
#pragma once

#include <cstdint>
#include <cstdio>

namespace check {

inline int passed = 0, failed = 0;

inline bool that(bool ok, const char* what, const char* file, int line) {
  if (ok) {
    passed++;
  } else if (failed++ < 20) {
    std::printf("%s:%d: failed: %s\n", file, line, what);
  }
  return ok;
}

inline int finish() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

// xorshift: the same numbers on every machine.
struct Random {
  uint64_t state = 0x9E3779B97F4A7C15u;
  uint32_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return uint32_t(state >> 32);
  }
  int64_t between(int64_t low, int64_t high) { return low + int64_t(next() % uint64_t(high - low + 1)); }
};

}  // namespace check

#define CHECK(condition) check::that(bool(condition), #condition, __FILE__, __LINE__)
