// Little-endian writing and bounds-checked reading of the plan section.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.h"

namespace octavo {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "plan files are little-endian and read in place");

class Writer {
 public:
  template <class T>
  void put(T v) {
    bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  void text(const std::string& s) {
    put(uint32_t(s.size()));
    bytes_ += s;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Whether the bytes are well-formed UTF-8 (RFC 3629): names reach hosts whose strings must be.
inline bool valid_utf8(const std::string& s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    const size_t more = c < 0x80                ? 0
                        : c >= 0xC2 && c < 0xE0 ? 1
                        : c >= 0xE0 && c < 0xF0 ? 2
                        : c >= 0xF0 && c < 0xF5 ? 3
                                                : 9;
    if (more == 9 || s.size() - i <= more) return false;
    for (size_t k = 1; k <= more; k++) {
      const auto next = static_cast<unsigned char>(s[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      const bool overlong = k == 1 && ((c == 0xE0 && next < 0xA0) || (c == 0xF0 && next < 0x90));
      const bool outside = k == 1 && ((c == 0xED && next >= 0xA0) || (c == 0xF4 && next >= 0x90));
      if (overlong || outside) return false;
    }
    i += more + 1;
  }
  return true;
}

class Reader {
 public:
  Reader(const void* data, size_t bytes) : at_(static_cast<const char*>(data)), end_(at_ + bytes) {}

  template <class T>
  T get() {
    T v;
    need(sizeof v);
    std::memcpy(&v, at_, sizeof v);
    at_ += sizeof v;
    return v;
  }
  std::string text() {
    const auto n = get<uint32_t>();
    need(n);
    std::string s(at_, n);
    at_ += n;
    if (!valid_utf8(s)) fail(ErrorKind::invalid_model, "plan section is damaged: a name is not UTF-8");
    return s;
  }
  // A count of things that take at least `least` bytes each: more than the section could hold is refused before any
  // allocation.
  uint32_t count(size_t least) {
    const auto n = get<uint32_t>();
    if (uint64_t(n) * least > uint64_t(end_ - at_))
      fail(ErrorKind::invalid_model, "plan section is truncated or damaged: %u entries announced, too few bytes left",
           n);
    return n;
  }
  bool done() const { return at_ == end_; }

 private:
  void need(size_t n) const {
    if (size_t(end_ - at_) < n) fail(ErrorKind::invalid_model, "plan section is truncated or damaged");
  }
  const char* at_;
  const char* end_;
};

}  // namespace octavo
