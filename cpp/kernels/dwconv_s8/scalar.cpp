// The portable kernel: the truth that every other one is compared with.
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/simd/scalar_i8.h"

namespace octavo {
namespace scalar {
namespace {

struct W16 {
  static constexpr int kBytes = 16;
  static constexpr bool kPartial = true;
  using B = VB;
  using I = VI;
  using F = VF;
  using H = VH;
  static B load_b(const uint8_t* p) { return scalar::load_b(p); }
  static B load_b(const uint8_t* p, int n) { return scalar::load_b(p, n); }
  static void store_b(uint8_t* p, B x) { scalar::store_b(p, x); }
  static void store_b(uint8_t* p, B x, int n) { scalar::store_b(p, x, n); }
  static B zero() { return scalar::set1_b(0); }
  static I load_i(const int32_t* p) { return scalar::load_i(p); }
  static F load_f(const float* p) { return scalar::load_f(p); }
  static void store_f(float* p, F x) { scalar::store_f(p, x); }
  static B lo8(B a, B b) { return unpack_lo8(a, b); }
  static B hi8(B a, B b) { return unpack_hi8(a, b); }
  static B lo16(B a, B b) { return unpack_lo16(a, b); }
  static B hi16(B a, B b) { return unpack_hi16(a, b); }
  static void dot(I& acc, B u, B s) { scalar::dot(acc, u, s); }
  static F to_f(I a) { return scalar::to_f(a); }
  static I to_i(F a) { return scalar::to_i(a); }
  static F mul_f(F a, F b) { return scalar::mul_f(a, b); }
  static F min_f(F a, F b) { return scalar::min_f(a, b); }
  static F max_f(F a, F b) { return scalar::max_f(a, b); }
  static F set1_f(float x) { return scalar::set1_f(x); }
  static H set1_h(int16_t x) { return scalar::set1_h(x); }
  static B set1_b(uint8_t x) { return scalar::set1_b(x); }
  static H packs32(I a, I b) { return scalar::packs32(a, b); }
  static H adds16(H a, H b) { return scalar::adds16(a, b); }
  static B packus16(H a, H b) { return scalar::packus16(a, b); }
  static B min_u8(B a, B b) { return scalar::min_u8(a, b); }
  static B max_u8(B a, B b) { return scalar::max_u8(a, b); }
};
using W32 = void;
using W64 = void;

#include "kernels/dwconv_s8/tile.inl"

constexpr DwconvS8 kTable = {"scalar", 16, 16, 1000, OCTAVO_DW_TABLE};

}  // namespace
}  // namespace scalar

extern const DwconvS8 OCTAVO_DWCONV_S8_TABLE(scalar);
const DwconvS8 OCTAVO_DWCONV_S8_TABLE(scalar) = scalar::kTable;

}  // namespace octavo
