// The int8 SIMD vocabulary, portable C++: vectors of 16 bytes or 4 lanes. See avx512vnni_i8.h for what each word means.
// Every ISA's header defines the same words in its own namespace, so that a kernel body (tile.inl) is written once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo::scalar {
namespace {

constexpr int kBytes = 16;
constexpr int kLanes = 4;

struct VB {
  uint8_t v[kBytes];
};
struct VI {
  int32_t v[kLanes];
};
struct VF {
  float v[kLanes];
};
struct VH {
  int16_t v[2 * kLanes];
};

inline VB set1_b(uint8_t x) {
  VB r;
  for (int i = 0; i < kBytes; i++) r.v[i] = x;
  return r;
}
inline VH set1_h(int16_t x) {
  VH r;
  for (int i = 0; i < 2 * kLanes; i++) r.v[i] = x;
  return r;
}
inline VI set1_i(int32_t x) {
  VI r;
  for (int i = 0; i < kLanes; i++) r.v[i] = x;
  return r;
}
inline VF set1_f(float x) {
  VF r;
  for (int i = 0; i < kLanes; i++) r.v[i] = x;
  return r;
}
inline VB set1_4(const void* p) {
  const uint8_t* q = static_cast<const uint8_t*>(p);
  VB r;
  for (int i = 0; i < kBytes; i++) r.v[i] = q[i & 3];
  return r;
}

inline VB load_b(const void* p, int n) {
  VB r = {};
  for (int i = 0; i < n; i++) r.v[i] = static_cast<const uint8_t*>(p)[i];
  return r;
}
inline VB load_b(const void* p) { return load_b(p, kBytes); }
inline void store_b(void* p, VB x, int n) {
  for (int i = 0; i < n; i++) static_cast<uint8_t*>(p)[i] = x.v[i];
}
inline void store_b(void* p, VB x) { store_b(p, x, kBytes); }

// Copies, not typed accesses: kernels reinterpret int32 rows as float ones in place.
inline VI load_i(const int32_t* p, int n) {
  VI r = {};
  for (int i = 0; i < n; i++) __builtin_memcpy(r.v + i, p + i, 4);
  return r;
}
inline VI load_i(const int32_t* p) { return load_i(p, kLanes); }
inline void store_i(int32_t* p, VI x, int n) {
  for (int i = 0; i < n; i++) __builtin_memcpy(p + i, x.v + i, 4);
}
inline void store_i(int32_t* p, VI x) { store_i(p, x, kLanes); }
inline VF load_f(const float* p, int n) {
  VF r = {};
  for (int i = 0; i < n; i++) __builtin_memcpy(r.v + i, p + i, 4);
  return r;
}
inline VF load_f(const float* p) { return load_f(p, kLanes); }
inline void store_f(float* p, VF x, int n) {
  for (int i = 0; i < n; i++) __builtin_memcpy(p + i, x.v + i, 4);
}
inline void store_f(float* p, VF x) { store_f(p, x, kLanes); }

inline VB unpack_lo8(VB a, VB b) {
  VB r;
  for (int i = 0; i < 8; i++) r.v[2 * i] = a.v[i], r.v[2 * i + 1] = b.v[i];
  return r;
}
inline VB unpack_hi8(VB a, VB b) {
  VB r;
  for (int i = 0; i < 8; i++) r.v[2 * i] = a.v[8 + i], r.v[2 * i + 1] = b.v[8 + i];
  return r;
}
inline VB unpack_lo16(VB a, VB b) {
  VB r;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) r.v[4 * i + j] = a.v[2 * i + j], r.v[4 * i + 2 + j] = b.v[2 * i + j];
  return r;
}
inline VB unpack_hi16(VB a, VB b) {
  VB r;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) r.v[4 * i + j] = a.v[8 + 2 * i + j], r.v[4 * i + 2 + j] = b.v[8 + 2 * i + j];
  return r;
}

inline void dot(VI& acc, VB u, VB s) {
  for (int i = 0; i < kLanes; i++) {
    int32_t t = 0;
    for (int j = 0; j < 4; j++) t += int32_t(u.v[4 * i + j]) * int8_t(s.v[4 * i + j]);
    acc.v[i] = int32_t(uint32_t(acc.v[i]) + uint32_t(t));
  }
}
inline VI add_i(VI a, VI b) {
  for (int i = 0; i < kLanes; i++) a.v[i] = int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i]));
  return a;
}
inline VI sub_i(VI a, VI b) {
  for (int i = 0; i < kLanes; i++) a.v[i] = int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i]));
  return a;
}
inline VI mul_i(VI a, VI b) {
  for (int i = 0; i < kLanes; i++) a.v[i] = int32_t(uint32_t(a.v[i]) * uint32_t(b.v[i]));
  return a;
}
inline VF mul_f(VF a, VF b) {
  for (int i = 0; i < kLanes; i++) a.v[i] *= b.v[i];
  return a;
}
inline VF add_f(VF a, VF b) {
  for (int i = 0; i < kLanes; i++) a.v[i] += b.v[i];
  return a;
}
inline VF fma_f(VF a, VF b, VF c) {
  for (int i = 0; i < kLanes; i++) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return c;
}
inline VF div_f(VF a, VF b) {
  for (int i = 0; i < kLanes; i++) a.v[i] /= b.v[i];
  return a;
}
inline VF min_f(VF a, VF b) {
  for (int i = 0; i < kLanes; i++) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline VF max_f(VF a, VF b) {
  for (int i = 0; i < kLanes; i++) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline VF zero_nan(VF a) {
  for (int i = 0; i < kLanes; i++)
    if (!(a.v[i] == a.v[i])) a.v[i] = 0.0f;
  return a;
}
inline VF to_f(VI a) {
  VF r;
  for (int i = 0; i < kLanes; i++) r.v[i] = float(a.v[i]);
  return r;
}
inline VI to_i(VF a) {
  VI r;
  for (int i = 0; i < kLanes; i++) r.v[i] = int32_t(__builtin_lrintf(a.v[i]));
  return r;
}

inline int16_t sat16(int32_t x) { return int16_t(x < -32768 ? -32768 : x > 32767 ? 32767 : x); }
inline VH packs32(VI a, VI b) {
  VH r;
  for (int i = 0; i < kLanes; i++) r.v[i] = sat16(a.v[i]), r.v[kLanes + i] = sat16(b.v[i]);
  return r;
}
inline VH adds16(VH a, VH b) {
  for (int i = 0; i < 2 * kLanes; i++) a.v[i] = sat16(int32_t(a.v[i]) + b.v[i]);
  return a;
}
inline VB packus16(VH a, VH b) {
  VB r;
  for (int i = 0; i < 8; i++) {
    r.v[i] = uint8_t(a.v[i] < 0 ? 0 : a.v[i] > 255 ? 255 : a.v[i]);
    r.v[8 + i] = uint8_t(b.v[i] < 0 ? 0 : b.v[i] > 255 ? 255 : b.v[i]);
  }
  return r;
}
inline VB min_u8(VB a, VB b) {
  for (int i = 0; i < kBytes; i++) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline VB max_u8(VB a, VB b) {
  for (int i = 0; i < kBytes; i++) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline VB xor_b(VB a, VB b) {
  for (int i = 0; i < kBytes; i++) a.v[i] ^= b.v[i];
  return a;
}
inline void widen(VB x, VI& a, VI& b, VI& c, VI& d) {
  for (int i = 0; i < 4; i++) a.v[i] = x.v[i], b.v[i] = x.v[4 + i], c.v[i] = x.v[8 + i], d.v[i] = x.v[12 + i];
}

inline VB gather_blocks(VB x) { return x; }
// Bytes [from, from + n) of x.
inline void store_span(uint8_t* p, VB x, int from, int n) {
  for (int i = 0; i < n; i++) p[i] = x.v[from + i];
}
template <int i>
inline void store_quarter(void* p, VB x) {
  __builtin_memcpy(p, x.v + 4 * i, 4);
}
template <int i>
inline void store_half(void* p, VB x) {
  __builtin_memcpy(p, x.v + 8 * i, 8);
}

struct Table {
  const uint8_t* t;
};
inline Table load_table(const uint8_t* t) { return {t}; }
inline VB lookup(const Table& t, VB x) {
  for (int i = 0; i < kBytes; i++) x.v[i] = t.t[x.v[i]];
  return x;
}

}  // namespace
}  // namespace octavo::scalar
