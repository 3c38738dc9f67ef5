// The depthwise kernels of every supported instruction set against plain loops with ==: all channel tails, odd and
// small maps, both strides, large kernels, dilation, wide weights, residual, table, float output, extreme values.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "core/arith.h"
#include "kernels/dwconv_s8/driver.h"

namespace {

using namespace octavo;

check::Random rng;

struct Layer {
  int64_t images, h, w, c, kh, kw, stride_h, stride_w, dil_h, dil_w;
  bool wide, extreme, out_f32, z, table;
  int64_t gap_x, gap_y;  // unused bytes after each pixel
  int64_t beyond = 1;    // wide: one weight in so many may lie beyond s8
  int64_t most = 255;    // and reaches so far

  int64_t out_h() const { return (h - (kh - 1) * dil_h - 1) / stride_h + 1; }
  int64_t out_w() const { return (w - (kw - 1) * dil_w - 1) / stride_w + 1; }
};

struct Data {
  std::vector<uint8_t> x, z, table;
  std::vector<int8_t> w8;
  std::vector<int16_t> w16;
  std::vector<int32_t> bias;
  std::vector<float> m;
  int32_t zp, lo, hi;
  AddS8Params add;

  explicit Data(const Layer& l) {
    x.resize(size_t(l.images * l.h * l.w * (l.c + l.gap_x)));
    for (uint8_t& v : x) v = l.extreme ? (rng.next() & 1 ? 255 : 0) : uint8_t(rng.next());
    z.resize(size_t(l.images * l.out_h() * l.out_w() * l.c));
    for (uint8_t& v : z) v = uint8_t(rng.next());
    table.resize(256);
    for (uint8_t& v : table) v = uint8_t(rng.next());
    const size_t n = size_t(l.c * l.kh * l.kw);
    for (size_t i = 0; i < n; i++) {
      const bool low = rng.next() & 1;
      w8.push_back(int8_t(l.extreme ? (low ? -128 : 127) : rng.between(-128, 127)));
      const bool rare = rng.between(1, l.beyond) != 1;
      w16.push_back(int16_t(rare ? w8.back() : l.extreme ? (low ? -255 : l.most) : rng.between(-255, l.most)));
    }
    for (int64_t i = 0; i < l.c; i++) {
      bias.push_back(l.extreme ? (i & 1 ? INT32_MAX : INT32_MIN) : int32_t(rng.between(-20000, 20000)));
      m.push_back(l.extreme ? (i & 2 ? 3.0e38f : -2.5f) : float(rng.between(1, 1000)) * 1e-5f);
    }
    zp = int32_t(rng.between(0, 255)), lo = int32_t(rng.between(0, 60)), hi = int32_t(rng.between(180, 255));
    add = {int32_t(rng.between(0, 255)),
           int32_t(rng.between(0, 255)),
           int32_t(rng.between(0, 255)),
           3,
           250,
           0.21f,
           0.12f,
           0.3f};
  }
};

int32_t accumulate(const Layer& l, const Data& d, int64_t n, int64_t y, int64_t x, int64_t c) {
  int32_t acc = d.bias[size_t(c)];
  for (int64_t r = 0; r < l.kh; r++)
    for (int64_t q = 0; q < l.kw; q++) {
      const int64_t row = y * l.stride_h + r * l.dil_h, col = x * l.stride_w + q * l.dil_w;
      const size_t at = size_t(((n * l.h + row) * l.w + col) * (l.c + l.gap_x) + c);
      const size_t k = size_t((c * l.kh + r) * l.kw + q);
      acc = mul_add_wrap(acc, d.x[at], l.wide ? d.w16[k] : d.w8[k]);
    }
  return acc;
}

std::vector<uint8_t> expected(const Layer& l, const Data& d, const std::vector<uint8_t>& blank) {
  std::vector<uint8_t> out = blank;
  const AddParams add = {d.add.za, d.add.zb, d.add.zp, d.add.lo, d.add.hi, d.add.sa, d.add.sb, d.add.sy};
  const int64_t pixels = l.images * l.out_h() * l.out_w(), pitch = l.c + l.gap_y;
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t c = 0; c < l.c; c++) {
      const int64_t x = p % l.out_w(), y = p / l.out_w() % l.out_h(), n = p / l.out_w() / l.out_h();
      const int32_t acc = accumulate(l, d, n, y, x, c);
      const float m = d.m[size_t(c)];
      if (l.out_f32) {
        const float f = float(acc) * m;
        std::memcpy(out.data() + (p * pitch + c) * 4, &f, 4);
        continue;
      }
      int32_t v = requantize(acc, m, d.zp, d.lo, d.hi);
      if (l.z) v = quantized_add(v, d.z[size_t(p * l.c + c)], add);
      out[size_t(p * pitch + c)] = l.table ? d.table[size_t(v)] : uint8_t(v);
    }
  return out;
}

std::vector<uint8_t> actual(const Layer& l, const Data& d, std::vector<uint8_t> out, Isa isa, int threads) {
  DwconvS8Weights w;
  w.dtype = l.wide ? DType::s16 : DType::s8;
  w.w = l.wide ? static_cast<const void*>(d.w16.data()) : d.w8.data();
  w.channels = l.c, w.kh = l.kh, w.kw = l.kw;
  w.stride_h = l.stride_h, w.stride_w = l.stride_w, w.dil_h = l.dil_h, w.dil_w = l.dil_w;
  w.bias = d.bias.data(), w.m = d.m.data(), w.out_f32 = l.out_f32;
  const DwconvS8Packed packed(isa, w);
  std::vector<int64_t> offsets(packed.taps().size());
  DwconvS8Job job;
  job.b = &packed;
  job.x = d.x.data();
  job.x_pixel = l.c + l.gap_x, job.x_row = l.w * job.x_pixel, job.x_image = l.h * job.x_row;
  job.y = out.data();
  job.images = l.images, job.height = l.out_h(), job.width = l.out_w();
  job.y_pixel = l.c + l.gap_y, job.y_row = job.width * job.y_pixel, job.y_image = job.height * job.y_row;
  job.zp = d.zp, job.lo = d.lo, job.hi = d.hi;
  if (l.z) job.z = d.z.data();
  job.z_pixel = l.c, job.z_row = job.width * l.c, job.z_image = job.height * job.z_row;
  job.add = d.add;
  if (l.table) job.table = d.table.data();
  job.offsets = offsets.data();
  Region pool(threads);
  dwconv_s8(pool, job);
  return out;
}

void compare(const Layer& l) {
  const Data d(l);
  const int64_t n = l.images * l.out_h() * l.out_w() * (l.c + l.gap_y) * (l.out_f32 ? 4 : 1);
  const std::vector<uint8_t> blank(size_t(n) + 64, 0xA5);  // the gaps and the bytes behind must stay as they are
  const std::vector<uint8_t> want = expected(l, d, blank);
  for (Isa isa : compiled_isas()) {
    if (!supported(isa)) continue;
    for (int threads = 1; threads <= 2; threads++)
      if (!CHECK(actual(l, d, blank, isa, threads) == want))
        std::printf("  %s: %lldx%lldx%lldx%lld, kernel %lldx%lld, stride %lld, dilation %lld, wide %d, extreme %d\n",
                    name_of(isa), (long long)l.images, (long long)l.h, (long long)l.w, (long long)l.c, (long long)l.kh,
                    (long long)l.kw, (long long)l.stride_h, (long long)l.dil_h, l.wide, l.extreme);
  }
}

}  // namespace

int main() {
  // Every channel tail, heights and widths around the two-by-two step.
  for (int64_t c = 2; c <= 130; c += c < 70 ? 1 : 7)
    for (int64_t stride = 1; stride <= 2; stride++) {
      const int64_t h = rng.between(3, 7), w = rng.between(3, 8);
      compare({1, h, w, c, 3, 3, stride, stride, 1, 1, false, c % 5 == 0, false, c % 3 == 0, c % 4 == 0, 0, 0});
    }
  for (int64_t h = 3; h <= 8; h++)
    for (int64_t w = 3; w <= 9; w++)
      for (int64_t stride = 1; stride <= 2; stride++)
        compare({2, h, w, 24, 3, 3, stride, stride, 1, 1, false, false, false, false, false, h % 2 * 8, w % 2 * 5});
  // Few channels, dense and not: blocks of pixels, their tails, one and two rows.
  for (int64_t c : {2, 4, 8, 16, 32})
    for (int64_t w = 3; w <= 40; w += w < 12 ? 1 : 5)
      for (int64_t h = 3; h <= 6; h++)
        compare({2, h, w, c, 3, 3, 1, 1, 1, 1, false, h == 5, false, w % 2 == 0, h == 4, w % 4 == 3, w % 5 == 3});
  compare({1, 4, 1100, 16, 3, 3, 1, 1, 1, 1, false, false, false, true, false, 0, 0});
  // Tall and narrow: rows and columns exchanged, longer than one piece too; not where weights lie beyond s8.
  for (int64_t c : {2, 8, 20, 24, 64, 70, 130})
    for (int64_t w = 3; w <= 12; w++) {
      const int64_t h = 2 * w + rng.between(-2, 9);
      compare({2, h, w, c, 3, 3, 1, 1, 1, 1, c == 70, c == 20, false, false, w == 9, w % 3 * 4, w % 2 * 5, 60});
    }
  compare({1, 1100, 5, 20, 3, 3, 1, 1, 1, 1, false, false, false, false, false, 0, 0});
  // 5 x 5: every channel tail, and widths around the four outputs of a step and the turns of its ring.
  for (int64_t c = 2; c <= 130; c += c < 70 ? 3 : 7)
    for (int64_t stride = 1; stride <= 2; stride++) {
      const int64_t h = rng.between(5, 8), w = rng.between(5, 14);
      compare({1, h, w, c, 5, 5, stride, stride, 1, 1, false, c % 4 == 0, false, c % 5 == 0, c % 7 == 0, 0, 0});
    }
  for (int64_t w = 5; w <= 40; w++)
    for (int64_t stride = 1; stride <= 2; stride++)
      compare({2, 5 + w % 4, w, 72, 5, 5, stride, stride, 1, 1, false, false, false, false, false, w % 3, w % 2 * 5});
  // Weights beyond s8 in some blocks, in all, and those that take three s8 values.
  for (int64_t c : {5, 16, 32, 64, 70, 96, 130, 200})
    for (int64_t stride = 1; stride <= 2; stride++)
      for (int64_t beyond : {1, 60, 400})
        for (int64_t most : {254, 255})
          for (int64_t kernel : {3, 5})
            compare({2, rng.between(5, 9), rng.between(5, 11), c, kernel, kernel, stride, stride, 1, 1, true,
                     c % 32 == 0, false, c % 3 == 0, false, 0, 0, beyond, most});
  for (int round = 0; round < 150; round++) {
    const auto flip = [&](int one_in) { return rng.between(1, one_in) == 1; };
    Layer l = {};
    l.images = rng.between(1, 2), l.c = rng.between(2, 150);
    l.kh = rng.between(1, 7), l.kw = rng.between(1, 7);
    l.dil_h = flip(3) ? 2 : 1, l.dil_w = flip(3) ? 3 : 1;
    l.stride_h = rng.between(1, 3), l.stride_w = rng.between(1, 3);
    l.h = (l.kh - 1) * l.dil_h + rng.between(1, 6), l.w = (l.kw - 1) * l.dil_w + rng.between(1, 9);
    l.wide = flip(3), l.extreme = flip(4), l.out_f32 = flip(6);
    l.z = !l.out_f32 && flip(3), l.table = !l.out_f32 && flip(3);
    l.beyond = flip(2) ? 40 : 1, l.most = flip(2) ? 254 : 255;
    l.gap_x = flip(3) ? rng.between(1, 20) : 0, l.gap_y = flip(3) ? rng.between(1, 20) : 0;
    compare(l);
  }
  // Longer than one piece of a row.
  compare({1, 1, 1100, 16, 1, 5, 1, 1, 1, 1, false, false, false, true, false, 0, 0});
  compare({1, 5, 1040, 20, 5, 5, 1, 1, 1, 1, false, false, false, false, true, 0, 0});
  compare({1, 6, 2080, 20, 5, 5, 2, 2, 1, 1, false, false, false, false, false, 0, 0});
  compare({1, 4, 1030, 20, 3, 3, 1, 1, 1, 1, false, false, false, false, true, 0, 0});
  return check::finish();
}
