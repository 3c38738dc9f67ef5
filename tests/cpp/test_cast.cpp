// Shape, Size, ConstantOfShape, Range, ArgMax, ArgMin and Cast: values, ties, NaN, saturation, every dtype pairing.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "op_harness.h"
#include "ops/half.h"

namespace {

using namespace octavo;
using namespace octavo::test;

void test_shape_ops() {
  const Tensor x = random_tensor(DType::u8, shape_of({2, 0, 5}));
  CHECK(values<int64_t>(run1("Shape", {}, {x}, DType::s64)) == (Ints{2, 0, 5}));
  CHECK(values<int64_t>(run1("Shape", {{"start", int64_t(-2)}}, {x}, DType::s64)) == (Ints{0, 5}));
  CHECK(values<int64_t>(run1("Shape", {{"start", int64_t(1)}, {"end", int64_t(-1)}}, {x}, DType::s64)) == (Ints{0}));
  CHECK(run1("Shape", {{"start", int64_t(2)}, {"end", INT64_MIN}}, {x}, DType::s64).shape == shape_of({0}));
  CHECK(run1("Shape", {}, {random_tensor(DType::f32, Shape{})}, DType::s64).shape == shape_of({0}));
  CHECK(values<int64_t>(run1("Size", {}, {random_tensor(DType::u8, shape_of({2, 3}))}, DType::s64)) == (Ints{6}));
  CHECK(refused("Shape", {}, {x}, DType::s32));
  const Tensor seven = list<int16_t>(DType::s16, {7});
  CHECK(values<int16_t>(run1("ConstantOfShape", {}, {s64({2, 2}), seven}, DType::s16)) == std::vector<int16_t>(4, 7));
  CHECK(values<float>(run1("ConstantOfShape", {}, {s64({})}, DType::f32)) == std::vector<float>{0});
  CHECK(run1("ConstantOfShape", {}, {s64({0, 9})}, DType::f32).shape == shape_of({0, 9}));
  CHECK(refused("ConstantOfShape", {}, {s64({-1})}, DType::f32));
  CHECK(refused("ConstantOfShape", {}, {s64({1LL << 32, 1LL << 32})}, DType::f32));
  auto range = [](int64_t a, int64_t b, int64_t d) {
    return run1("Range", {},
                {list(DType::s64, Ints{a}, true), list(DType::s64, Ints{b}, true), list(DType::s64, Ints{d}, true)},
                DType::s64);
  };
  CHECK(values<int64_t>(range(3, 9, 3)) == (Ints{3, 6}));
  CHECK(values<int64_t>(range(10, 4, -2)) == (Ints{10, 8, 6}));
  CHECK(range(4, 4, 1).shape == shape_of({0}) && range(0, 5, -1).shape == shape_of({0}));
  CHECK(values<int64_t>(range(INT64_MIN, INT64_MAX, INT64_MAX)) == (Ints{INT64_MIN, -1, INT64_MAX - 1}));
  auto real = [](float a, float b, float d) {
    return std::vector<Tensor>{list<float>(DType::f32, {a}, true), list<float>(DType::f32, {b}, true),
                               list<float>(DType::f32, {d}, true)};
  };
  CHECK(values<float>(run1("Range", {}, real(1, 2, 0.25f), DType::f32)) == (std::vector<float>{1, 1.25f, 1.5f, 1.75f}));
  CHECK(refused("Range", {}, real(0, 1, 0), DType::f32));
  CHECK(refused("Range", {}, real(0, INFINITY, 1), DType::f32));
  CHECK(refused("Range", {}, real(0, NAN, 1), DType::f32));
  const Tensor zero = list(DType::s64, Ints{0}, true), most = list(DType::s64, Ints{INT64_MAX}, true);
  CHECK(refused("Range", {}, {zero, most, zero}, DType::s64));
  CHECK(refused("Range", {}, {zero, most, list(DType::s64, Ints{1}, true)}, DType::s64));
}

void test_arg_reduce() {
  for (int round = 0; round < 200; round++) {
    const Shape s = random_shape(int(rng.between(1, 4)), 6);
    const int axis = int(rng.between(0, s.rank - 1));
    if (s.dim[axis] == 0) continue;
    const bool max = rng.next() & 1, last = rng.next() & 1, keep = rng.next() & 1, real = rng.next() & 1;
    Tensor x = random_tensor(real ? DType::f32 : DType::s8, s);
    for (int64_t i = 0; i < s.elements(); i++) {  // few distinct values: many ties
      if (real) {
        const float v = rng.between(0, 11) == 0 ? NAN : float(rng.between(-2, 2));
        std::memcpy(x.bytes.data() + 4 * i, &v, 4);
      } else {
        x.bytes[size_t(i)] = uint8_t(rng.between(-3, 3));
      }
    }
    const Tensor y = run1(max ? "ArgMax" : "ArgMin",
                          {{"axis", int64_t(axis)}, {"keepdims", int64_t(keep)}, {"select_last_index", int64_t(last)}},
                          {x}, DType::s64);
    CHECK(y.shape.rank == s.rank - (keep ? 0 : 1));
    const int64_t inner = s.span(axis + 1, s.rank), n = s.dim[axis];
    const Ints got = values<int64_t>(y);
    for (int64_t i = 0; i < s.span(0, axis) * inner; i++) {
      auto at = [&](int64_t k) {
        const int64_t e = i / inner * n * inner + k * inner + i % inner;
        float v = float(int8_t(x.bytes[size_t(e)]));
        if (real) std::memcpy(&v, x.bytes.data() + 4 * e, 4);
        return std::isnan(v) ? 1e9 : max ? double(v) : -double(v);
      };
      int64_t best = 0;
      for (int64_t k = 1; k < n; k++)
        if (at(k) > at(best) || (last && at(k) == at(best))) best = k;
      CHECK(got[size_t(i)] == best);
    }
  }
  CHECK(values<int64_t>(run1("ArgMax", {}, {random_tensor(DType::f32, Shape{})}, DType::s64)) == (Ints{0}));
  CHECK(refused("ArgMax", {}, {random_tensor(DType::f32, shape_of({0, 2}))}, DType::s64));
  CHECK(run1("ArgMin", {}, {random_tensor(DType::f32, shape_of({0, 0}))}, DType::s64).shape == shape_of({1, 0}));
}

template <class T>
std::vector<T> cast(const Tensor& x, DType to) {
  return values<T>(run1("Cast", {{"to", int64_t(to)}}, {x}, to));
}

// A half by comparing with its neighbours: slow, but independent of the conversion under test.
double half_value(uint16_t h) {
  const int e = h >> 10 & 31, m = h & 1023;
  const double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
  return h & 0x8000 ? -v : v;
}

void test_half() {
  for (int h = 0; h < 65536; h++) {
    const Half half{uint16_t(h)};
    const double v = half_value(half.bits);
    if (std::isnan(v)) {
      CHECK(std::isnan(float_of(half)) && std::isnan(half_value(half_of(double(float_of(half))).bits)));
      continue;
    }
    CHECK(double(float_of(half)) == v && half_of(v).bits == h);
    if ((h & 0x7fff) >= 0x7bff) continue;
    // The middle between two halves goes to the even one, anything off the middle to the nearer one.
    const double next = half_value(uint16_t(h + 1)), middle = (v + next) / 2;
    CHECK(half_of(middle).bits == (h & 1 ? h + 1 : h));
    CHECK(half_of(std::nextafter(middle, v)).bits == h && half_of(std::nextafter(middle, next)).bits == h + 1);
  }
  CHECK(half_of(65519.999).bits == 0x7bff && half_of(65520.0).bits == 0x7c00 && half_of(-1e300).bits == 0xfc00);
  CHECK(half_of(5e-324).bits == 0 && half_of(-0.0).bits == 0x8000);
}

void test_cast() {
  const float inf = INFINITY;
  const std::vector<float> f = {0.f,  -0.f,  1.9f,         -1.9f, 127.5f, 128.f, -128.9f, -129.f, 255.9f, 256.f,
                                3e9f, -3e9f, 2147483520.f, 1e19f, -1e19f, 2e19f, inf,     -inf,   NAN,    -0.5f};
  const Tensor x = list(DType::f32, f);
  using L32 = std::numeric_limits<int32_t>;
  CHECK(cast<int8_t>(x, DType::s8) == (std::vector<int8_t>{0,   0,    1,   -1,  127,  127, -128, -128, 127, 127,
                                                           127, -128, 127, 127, -128, 127, 127,  -128, 0,   0}));
  CHECK(cast<uint8_t>(x, DType::u8) ==
        (std::vector<uint8_t>{0, 0, 1, 0, 127, 128, 0, 0, 255, 255, 255, 0, 255, 255, 0, 255, 255, 0, 0, 0}));
  CHECK(cast<int32_t>(x, DType::s32) ==
        (std::vector<int32_t>{0,          0,          1,          -1,         127,        128,        -128,
                              -129,       255,        256,        L32::max(), L32::min(), 2147483520, L32::max(),
                              L32::min(), L32::max(), L32::max(), L32::min(), 0,          0}));
  CHECK(cast<uint64_t>(x, DType::u64)[13] == 9999999980506447872u && cast<uint64_t>(x, DType::u64)[15] == UINT64_MAX);
  CHECK(cast<int64_t>(x, DType::s64)[13] == INT64_MAX && cast<int64_t>(x, DType::s64)[14] == INT64_MIN);
  CHECK(cast<uint8_t>(x, DType::boolean) ==
        (std::vector<uint8_t>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}));
  const Tensor wide = s64({-1, 256, 300, INT64_MIN, INT64_MAX, 1LL << 31, (1LL << 53) + 1});
  CHECK(cast<uint8_t>(wide, DType::u8) == (std::vector<uint8_t>{255, 0, 44, 0, 255, 0, 1}));
  CHECK(cast<int32_t>(wide, DType::s32) == (std::vector<int32_t>{-1, 256, 300, 0, -1, L32::min(), 1}));
  CHECK(cast<double>(wide, DType::f64)[6] == 9007199254740992.0);
  CHECK(cast<float>(wide, DType::f32)[4] == 9223372036854775808.0f);
  CHECK(cast<uint16_t>(wide, DType::f16)[0] == 0xbc00 && cast<uint16_t>(wide, DType::f16)[3] == 0xfc00);
  Tensor odd = blank(DType::boolean, shape_of({2}));
  odd.bytes[1] = 6;  // a caller's bool that is neither 0 nor 1
  CHECK(cast<float>(odd, DType::f32) == (std::vector<float>{0, 1}) && cast<uint8_t>(odd, DType::boolean)[1] == 1);
  // Every pairing on values that all of them hold.
  const DType all[] = {DType::f32, DType::f16, DType::f64, DType::u8,  DType::s8, DType::u16,
                       DType::s16, DType::u32, DType::u64, DType::s32, DType::s64};
  const Tensor small = list<double>(DType::f64, {0, 1, 2, 99, 127});
  for (DType a : all)
    for (DType b : all) {
      const Tensor there = run1("Cast", {{"to", int64_t(a)}}, {small}, a);
      const Tensor on = run1("Cast", {{"to", int64_t(b)}}, {there}, b);
      CHECK(cast<double>(on, DType::f64) == values<double>(small));
    }
  CHECK(refused("Cast", {{"to", int64_t(8)}}, {x}, DType::f32));
  CHECK(refused("Cast", {{"to", int64_t(-1)}}, {x}, DType::f32));
  CHECK(refused("Cast", {{"to", int64_t(6)}}, {x}, DType::f32));
}

}  // namespace

int main() {
  for (int n : {1, 3}) {
    threads = n;
    test_shape_ops();
    test_arg_reduce();
    test_cast();
  }
  test_half();
  return check::finish();
}
