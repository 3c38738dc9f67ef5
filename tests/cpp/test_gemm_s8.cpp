// The u8 x s8 kernels of every supported level against plain loops over core/arith.h, with ==.
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "core/arith.h"
#include "kernels/gemm_s8/driver.h"
#include "kernels/registry.h"

using namespace octavo;

namespace octavo {
extern const GemmS8 gemm_s8_test_avxvnni;  // avxvnni_as_avx512.cpp
}

namespace {

struct Random {
  uint64_t s;
  uint64_t operator()() {
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return s;
  }
  int64_t in(int64_t lo, int64_t hi) { return lo + int64_t((*this)() % uint64_t(hi - lo + 1)); }
};

int failures = 0;

// One random product or convolution, with every part of the epilogue that `what` asks for.
struct Case {
  std::string name;
  // Geometry: lines x rows outputs, segments (outer x inner) of `length` bytes.
  int64_t images = 1, lines = 1, rows = 1, outer = 1, inner = 1, length = 1, n = 1;
  int64_t row = 0, line = 0, image = 0, segment_outer = 0, segment_inner = 0;
  enum Fill { random, extreme, ends, rare } fill = random;  // rare: few s16 weights are beyond s8
  bool wide = false;                                        // s16 weights
  enum Scale { normal, huge, negative, zero, mixed, tiny } scale = normal;
  int zp = 128, lo = 0, hi = 255;
  GemmS8Epilogue::Kind kind = GemmS8Epilogue::Kind::u8;
  bool z = false, table = false;  // of f32 outputs: bias and residual, activation
  int64_t ldc_extra = 0;
  int threads = 1;
};

float random_m(Random& r, Case::Scale s, int64_t k) {
  const float base = 2.0f / (float(k) * 1000.0f) * float(r.in(1, 1000)) / 100.0f;
  switch (s) {
    case Case::huge:
      return r.in(0, 1) ? 3.0e38f : 1.0e9f * float(r.in(-5, 5));
    case Case::negative:
      return -base;
    case Case::zero:
      return r.in(0, 2) ? 0.0f : -0.0f;
    case Case::tiny:
      return 1.0e-42f * float(r.in(1, 100));
    case Case::mixed:
      return r.in(0, 3) == 0 ? -3.4e38f : r.in(0, 1) ? base : 0.5f * float(r.in(-3, 3));
    default:
      return base;
  }
}

const EltwiseF32* eltwise_of(Isa isa) { return static_cast<const EltwiseF32*>(find_kernel("eltwise_f32", isa)); }

void run_case(const Case& t, const GemmS8* kernel, Isa isa, Random r) {
  const int64_t segments = t.outer * t.inner, k = segments * t.length, lines = t.images * t.lines;
  // The input ends exactly at the last byte that may be read: the last segment rounded up to four.
  int64_t last = 0;
  auto at = [&](int64_t image, int64_t line, int64_t row, int64_t s) {
    return image * t.image + line * t.line + row * t.row + s / t.inner * t.segment_outer +
           s % t.inner * t.segment_inner;
  };
  last = at(t.images - 1, t.lines - 1, t.rows - 1, segments - 1) + (t.length + 3) / 4 * 4;
  std::vector<uint8_t> a(static_cast<size_t>(last));
  for (auto& x : a) x = t.fill == Case::extreme ? 255 : t.fill == Case::ends ? (r.in(0, 1) ? 255 : 0) : uint8_t(r());
  std::vector<int8_t> w8(size_t(t.wide ? 0 : t.n * k));
  std::vector<int16_t> w16(size_t(t.wide ? t.n * k : 0));
  for (auto& x : w8)
    x = t.fill == Case::extreme ? -128 : t.fill == Case::ends ? (r.in(0, 1) ? 127 : -128) : int8_t(r());
  for (auto& x : w16)
    x = int16_t(t.fill == Case::extreme                     ? -255
                : t.fill == Case::ends                      ? (r.in(0, 1) ? 255 : -255)
                : t.fill == Case::rare && r.in(1, 100) != 1 ? r.in(-128, 127)
                                                            : r.in(-255, 255));
  std::vector<int32_t> bias(size_t(t.n));
  for (auto& x : bias) x = t.fill == Case::random ? int32_t(r.in(-100000, 100000)) : int32_t(r());
  std::vector<float> m(size_t(t.n));
  for (auto& x : m) x = random_m(r, t.scale, k);
  std::vector<uint8_t> table(256);
  for (auto& x : table) x = uint8_t(r());
  std::vector<float> bias_f(size_t(t.n));
  for (auto& x : bias_f) x = float(r.in(-1000, 1000)) / 7.0f;

  GemmS8Weights w;
  w.dtype = t.wide ? DType::s16 : DType::s8;
  w.w = t.wide ? static_cast<const void*>(w16.data()) : static_cast<const void*>(w8.data());
  w.n = t.n, w.segments = segments, w.segment_length = t.length, w.inner = t.inner;
  w.natural = t.kind != GemmS8Epilogue::Kind::u8;
  w.bias = bias.data(), w.m = m.data();
  const GemmS8Packed packed(kernel, w);

  const int64_t ldc = t.n + t.ldc_extra, total = lines * t.rows * ldc;
  const bool u8 = t.kind == GemmS8Epilogue::Kind::u8;
  const size_t element = u8 ? 1 : 4;
  std::vector<uint8_t> out(size_t(total) * element + 64, 0xA5), z(size_t(lines * t.rows * t.n));
  std::vector<float> zf(z.size());
  for (size_t i = 0; i < z.size(); i++) z[i] = uint8_t(r()), zf[i] = float(r.in(-999, 999)) / 13.0f;

  GemmS8Job job;
  job.b = &packed;
  job.a = a.data();
  job.in = {lines, t.lines, t.rows, t.row, t.line, t.image};
  job.outer = int32_t(t.outer), job.inner = int32_t(t.inner);
  job.segment_outer = t.segment_outer, job.segment_inner = t.segment_inner;
  job.c = out.data();
  job.out.row = ldc, job.out.line = t.rows * ldc, job.out.image = t.lines * t.rows * ldc;
  job.z.row = t.n, job.z.line = t.rows * t.n, job.z.image = t.lines * t.rows * t.n;
  GemmS8Epilogue& e = job.epilogue;
  e.kind = t.kind;
  e.zp = t.zp, e.lo = t.lo, e.hi = t.hi;
  AddParams add = {3, 200, 77, 5, 250, 0.73f, t.scale == Case::huge ? 3e38f : 1.21f, 0.9f};
  add.ratio = t.n % 3 == 0, add.inner_a = t.n % 2 == 0, add.c = 11.3f;
  e.add = {add.za, add.zb, add.zp, add.lo, add.hi, add.sa, add.sb, add.sy, add.c, add.ratio, add.inner_a};
  if (u8 && t.z) e.z = z.data(), e.adder = &eltwise_s8(isa);
  if (u8 && t.table) e.table = table.data(), e.lut = &lut_s8(isa);
  if (t.z) e.z_f = zf.data(), e.bias_f = bias_f.data();
  if (!u8 && t.table) e.act = UnaryFn::LeakyRelu, e.alpha = 0.25f, e.eltwise = eltwise_of(isa);
  Region pool(t.threads);
  gemm_s8(pool, job);

  for (int64_t i = 0; i < lines * t.rows; i++)
    for (int64_t c = 0; c < ldc; c++) {
      const int64_t image = i / t.rows / t.lines, line = i / t.rows % t.lines, row = i % t.rows;
      const uint8_t* got = out.data() + size_t(i * ldc + c) * element;
      uint32_t want = u8 ? 0xA5 : 0xA5A5A5A5;
      if (c < t.n) {
        uint32_t acc = uint32_t(bias[size_t(c)]);
        for (int64_t s = 0; s < segments; s++)
          for (int64_t q = 0; q < t.length; q++) {
            const size_t wi = size_t(c * k + s * t.length + q);
            acc += uint32_t(int32_t(a[size_t(at(image, line, row, s) + q)])) *
                   uint32_t(t.wide ? int32_t(w16[wi]) : int32_t(w8[wi]));
          }
        const size_t zi = size_t(i * t.n + c);
        if (u8) {
          int32_t y = requantize(int32_t(acc), m[size_t(c)], t.zp, t.lo, t.hi);
          if (t.z) y = quantized_add(y, z[zi], add);
          want = uint32_t(t.table ? table[size_t(y)] : y);
        } else if (t.kind == GemmS8Epilogue::Kind::s32) {
          want = acc;
        } else {
          float y = float(int32_t(acc)) * m[size_t(c)];
          if (t.z) y = y + bias_f[size_t(c)], y = y + zf[zi];
          if (t.table) y = unary_f32(UnaryFn::LeakyRelu, y, 0.25f, 0.0f);
          std::memcpy(&want, &y, 4);
        }
      }
      uint32_t have = 0;
      std::memcpy(&have, got, element);
      if (have != want) {
        std::printf("FAIL %s [%s] output %" PRId64 " column %" PRId64 ": %u, expected %u\n", t.name.c_str(),
                    kernel->isa, i, c, have, want);
        failures++;
        return;
      }
    }
}

Case matrix(int64_t m, int64_t k, int64_t n) {
  Case t;
  t.name = "matrix " + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
  t.rows = m, t.length = k, t.n = n;
  t.row = k;
  return t;
}

// A KH x KW convolution over an image of `c` channels; taps: one segment a tap instead of one a kernel row.
Case convolution(int64_t images, int64_t h, int64_t w, int64_t c, int64_t n, int64_t kernel, int64_t stride,
                 bool taps) {
  Case t;
  t.name = "convolution " + std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c) + "->" +
           std::to_string(n) + " k" + std::to_string(kernel) + " s" + std::to_string(stride) + (taps ? " taps" : "");
  t.images = images;
  t.lines = (h - kernel) / stride + 1, t.rows = (w - kernel) / stride + 1;
  t.outer = kernel, t.inner = taps ? kernel : 1;
  t.length = taps ? c : kernel * c;
  t.segment_inner = c, t.segment_outer = w * c;
  t.row = stride * c, t.line = stride * w * c, t.image = h * w * c;
  t.n = n;
  return t;
}

std::vector<Case> cases(Random& r) {
  std::vector<Case> list;
  auto add = [&](Case t, const char* note) {
    t.name += std::string(" ") + note;
    list.push_back(t);
  };
  for (int64_t m = 1; m <= 30; m++)
    for (int64_t n : {1, 7, 16, 17, 24, 32, 33, 40, 48, 63, 64, 65, 96, 130})
      add(matrix(m, 1 + (m * 5 + n) % 23, n), "edges");
  for (int64_t k : {1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 255, 256, 257, 300, 515})
    add(matrix(9, k, 64), "K"), add(matrix(5, k, 20), "K");
  for (auto fill : {Case::extreme, Case::ends})
    for (auto scale : {Case::normal, Case::huge, Case::negative, Case::zero, Case::mixed, Case::tiny})
      for (bool wide : {false, true})
        for (int64_t n : {16, 33, 48, 64}) {
          Case t = matrix(15, 129, n);
          t.fill = fill, t.scale = scale, t.wide = wide;
          add(t, wide ? "extreme values, s16" : "extreme values");
        }
  for (int64_t k : {33026, 70000}) {  // 255 * 128 * k passes 2^31 beyond 65794: the sum wraps
    Case t = matrix(3, k, 18);
    t.fill = Case::extreme;
    add(t, "long sum");
    t.kind = GemmS8Epilogue::Kind::s32;
    add(t, "long sum, s32");
    t.wide = true;
    add(t, "long sum, s32, s16");
  }
  for (int i = 0; i < 60; i++) {
    Case t = matrix(r.in(1, 40), r.in(1, 90), r.in(1, 140));
    t.zp = int(r.in(0, 255)), t.lo = int(r.in(0, 255)), t.hi = int(r.in(t.lo, 255));
    t.scale = Case::Scale(r.in(0, 5));
    t.wide = r.in(0, 3) == 0;
    t.z = r.in(0, 1), t.table = r.in(0, 1);
    t.kind = GemmS8Epilogue::Kind(r.in(0, 2));
    if (t.kind == GemmS8Epilogue::Kind::f32) t.scale = Case::normal;
    t.ldc_extra = r.in(0, 70);
    t.row += r.in(0, 9);
    t.threads = int(r.in(1, 3));
    add(t, "everything");
  }
  for (int64_t c : {1, 3, 4, 5, 16, 20})
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t stride : {1, 2})
        for (bool taps : {false, true}) {
          Case t = convolution(2, 9, 8, c, 10 + c * 3, kernel, stride, taps);
          t.z = c == 4, t.table = c == 5;
          add(t, "");
          t.wide = true, t.fill = stride == 1 ? Case::rare : Case::random;
          add(t, "s16");
        }
  Case big = matrix(300, 200, 300);
  big.threads = 2;
  add(big, "threads");
  big.wide = true, big.fill = Case::rare;
  add(big, "threads, s16");
  big = matrix(2, 700, 900);
  big.threads = 2;
  add(big, "threads over panels");
  big.wide = true, big.fill = Case::rare;
  add(big, "threads over panels, s16");
  for (int64_t m : {1, 7, 8, 30})
    for (int64_t n : {16, 40, 48, 64, 96, 144, 200}) {
      Case t = matrix(m, 1 + m * n % 150, n);
      t.wide = true, t.fill = Case::rare, t.z = n == 40;
      add(t, "few weights beyond s8");
    }
  return list;
}

void run_time_weights(const GemmS8* kernel, Random r) {
  for (int64_t n : {1, 5, 16, 33, 64, 70, 130})
    for (int64_t k : {1, 3, 4, 6, 17, 64}) {
      const GemmS8Packed packed = GemmS8Packed::layout(kernel, n, k, true);
      std::vector<uint8_t> b(static_cast<size_t>(n * k)), a(size_t(7 * ((k + 3) / 4 * 4)));
      for (auto& x : b) x = uint8_t(r());
      for (auto& x : a) x = uint8_t(r());
      Buffer panels(packed.bytes), bias(packed.side_elements() * 4);
      std::vector<int32_t> sums(packed.side_elements()), row_sums(7), out(size_t(7 * n));
      Region pool(2);
      pack_activations(pool, packed, b.data(), n, 0x80, panels.as<uint8_t>(), sums.data());
      for (size_t i = 0; i < sums.size(); i++)
        bias.as<int32_t>()[i] = 3 * sums[i] + (packed.kernel->flips ? 128 * sums[i] : 0);
      packed.kernel->sum_rows(a.data(), (k + 3) / 4 * 4, 7, k, row_sums.data());
      GemmS8Job job;
      job.b = &packed, job.panels = panels.as<uint8_t>(), job.bias = bias.as<int32_t>(), job.m = bias.as<float>();
      job.row_bias = row_sums.data();
      job.a = a.data(), job.in.rows = 7, job.in.row = (k + 3) / 4 * 4;
      job.c = out.data(), job.out.row = n;
      job.epilogue.kind = GemmS8Epilogue::Kind::s32;
      gemm_s8(pool, job);
      for (int64_t i = 0; i < 7; i++)
        for (int64_t c = 0; c < n; c++) {
          int32_t want = 0;
          for (int64_t q = 0; q < k; q++) {
            const int32_t v = int32_t(b[size_t(q * n + c)]) - 128;
            const int32_t u = a[size_t(i * job.in.row + q)];
            want += u * v + u + 3 * v;
          }
          if (out[size_t(i * n + c)] != want) {
            std::printf("FAIL run-time weights K %" PRId64 " N %" PRId64 " [%s]\n", k, n, kernel->isa);
            failures++;
            return;
          }
        }
    }
}

}  // namespace

int main() {
  Random r{0x9e3779b97f4a7c15u};
  const std::vector<Case> list = cases(r);
  int levels = 0;
  auto test = [&](const GemmS8* kernel, Isa isa) {
    for (size_t i = 0; i < list.size(); i++) run_case(list[i], kernel, isa, Random{i + 88172645463325252u});
    run_time_weights(kernel, r);
    std::printf("%-12s %zu cases\n", kernel->isa, list.size());
    levels++;
  };
  for (Isa isa : compiled_isas())
    if (supported(isa)) test(find_gemm_s8(isa), isa);
#ifdef OCTAVO_AVXVNNI_AS_AVX512
  if (supported(Isa::avx512vnni)) test(&gemm_s8_test_avxvnni, Isa::avx2);
#endif
  if (failures) std::printf("%d failures\n", failures);
  return failures || levels < 1;
}
