// Elementwise, table, pooling and quantizing kernels of every supported instruction set against core/arith.h with ==:
// all tails, pitches, extreme parameters, NaNs and infinities.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "core/arith.h"
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/pool_s8/pool_s8.h"
#include "kernels/quantize/quantize.h"

namespace {

using namespace octavo;

check::Random rng;

std::vector<Isa> levels() {
  std::vector<Isa> r;
  for (Isa isa : compiled_isas())
    if (supported(isa)) r.push_back(isa);
  return r;
}

std::vector<uint8_t> bytes(int64_t n) {
  std::vector<uint8_t> r(static_cast<size_t>(n));
  const bool extreme = rng.between(0, 3) == 0;
  for (uint8_t& v : r) v = extreme ? (rng.next() & 1 ? 255 : 0) : uint8_t(rng.next());
  return r;
}

float any_float() {
  switch (rng.between(0, 15)) {
    case 0:
      return std::numeric_limits<float>::quiet_NaN();
    case 1:
      return std::numeric_limits<float>::infinity();
    case 2:
      return -std::numeric_limits<float>::infinity();
    case 3:
      return -0.0f;
    case 4:
      return 3.4e38f;
    case 5:
      return -1e-45f;
    case 6:
    case 7:
      return float(rng.between(-600, 600)) * 0.5f;
    default:
      return float(rng.between(-1000000, 1000000)) * 1e-4f;
  }
}

std::vector<float> floats(int64_t n, bool nan) {
  std::vector<float> r(static_cast<size_t>(n));
  for (float& v : r) do
      v = any_float();
    while (!nan && v != v);
  return r;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

void elementwise(int64_t rows, int64_t cols) {
  const int64_t gap = rng.between(0, 2), ld = cols + gap, n = rows * ld;
  const std::vector<uint8_t> a = bytes(n), b = bytes(n), blank(size_t(n) + 64, 0xA5);
  const float scales[] = {0.7f, 1.0f, 0.0f, -3.25f, 0.5f, 1e-30f, 3e38f, -3e38f, 3e-43f, -0.03f};
  const float steps[] = {0.35f, 1.0f, 0.5f, 2.0f, 0.013f, 1e-30f, 3e38f, 4e-43f};
  AddParams p = {int32_t(rng.between(0, 255)), int32_t(rng.between(0, 255)),   int32_t(rng.between(0, 255)),
                 int32_t(rng.between(0, 100)), int32_t(rng.between(100, 255)), scales[rng.between(0, 9)],
                 scales[rng.between(0, 9)],    steps[rng.between(0, 7)]};
  p.ratio = rng.between(0, 1) == 0, p.inner_a = rng.between(0, 1) == 0;
  p.c = scales[rng.between(0, 9)] + float(rng.between(-200, 200));
  const AddS8Params add = {p.za, p.zb, p.zp, p.lo, p.hi, p.sa, p.sb, p.sy, p.c, p.ratio, p.inner_a};
  const float before = float(rng.between(-128, 255));
  const MulS8Params mul = {p.za, p.zb, p.zp, p.lo, p.hi, p.sa == 3e38f ? 3e38f : p.sa * 0.01f, before};
  // b as it is, one row for all, one value a row.
  for (int kind = 0; kind < 3; kind++) {
    std::vector<uint8_t> sum = blank, product = blank;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++) {
        const int32_t x = a[size_t(r * ld + c)], y = b[size_t(kind == 0 ? r * ld + c : kind == 1 ? c : r * ld)];
        sum[size_t(r * ld + c)] = uint8_t(quantized_add(x, y, p));
        const float scaled = float((x - p.za) * (y - p.zb)) * mul.m;
        product[size_t(r * ld + c)] = uint8_t(quantize_value(scaled + before, p.zp, p.lo, p.hi));
      }
    for (Isa isa : levels()) {
      const EltwiseS8& k = eltwise_s8(isa);
      std::vector<uint8_t> out = blank;
      const int64_t ldb = kind == 1 ? 0 : ld;
      (kind == 2 ? k.add_scalar : k.add)(out.data(), ld, a.data(), ld, b.data(), ldb, rows, cols, add);
      CHECK(out == sum);
      out = blank;
      (kind == 2 ? k.mul_scalar : k.mul)(out.data(), ld, a.data(), ld, b.data(), ldb, rows, cols, mul);
      CHECK(out == product);
      if (kind != 0 || gap != 0) continue;
      out = a;  // in place
      k.add(out.data(), ld, out.data(), ld, b.data(), ld, rows, cols, add);
      CHECK(std::equal(out.begin(), out.end(), sum.begin()));
    }
  }
}

void tables(int64_t rows, int64_t cols) {
  const int64_t ld = cols + rng.between(0, 2), n = rows * ld;
  const std::vector<uint8_t> x = bytes(n), table = bytes(256), blank(size_t(n) + 64, 0xA5);
  const std::vector<float> values = floats(256, true);
  std::vector<uint8_t> looked = blank, flipped = blank;
  std::vector<float> found(static_cast<size_t>(n));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      const size_t i = size_t(r * ld + c);
      looked[i] = table[x[i]], flipped[i] = uint8_t(x[i] ^ 0x80);
    }
  for (int64_t i = 0; i < n; i++) found[size_t(i)] = values[x[size_t(i)]];
  for (Isa isa : levels()) {
    const LutS8& k = lut_s8(isa);
    std::vector<uint8_t> out = blank;
    k.bytes(out.data(), ld, x.data(), ld, rows, cols, table.data());
    CHECK(out == looked);
    // lut_s8() may prefer an extension of the level; its plain kernel is this one.
    out = blank;
    k.flip(out.data(), ld, x.data(), ld, rows, cols);
    CHECK(out == flipped);
    std::vector<float> y(static_cast<size_t>(n));
    k.floats(y.data(), x.data(), n, values.data());
    CHECK(same(y, found));
  }
}

template <class T>
T largest(T a, T b) {
  return a > b ? a : b;
}
float largest(float a, float b) { return b != b ? b : a != a ? a : a > b ? a : b; }

template <class T>
void max_pool(const PoolWindow& shape, const std::vector<T>& x, T least, void (*PoolS8::*fn)(const PoolWindow&)) {
  const int64_t pitch = shape.y_pixel;
  std::vector<T> want(size_t(shape.columns * pitch) + 64, T(77));
  const std::vector<T> blank = want;
  for (int64_t i = 0; i < shape.columns; i++)
    for (int64_t c = 0; c < shape.channels; c++) {
      T m = least;
      for (int64_t r = 0; r < shape.rows; r++)
        for (int64_t q = 0; q < shape.cols; q++)
          m = largest(m, x[size_t(i * shape.step + r * shape.row + q * shape.pixel + c)]);
      want[size_t(i * pitch + c)] = m;
    }
  for (Isa isa : levels()) {
    std::vector<T> y = blank;
    PoolWindow w = shape;
    w.x = x.data(), w.y = y.data();
    (pool_s8(isa).*fn)(w);
    CHECK(std::memcmp(y.data(), want.data(), y.size() * sizeof(T)) == 0);
  }
}

void pools() {
  PoolWindow w = {};
  w.channels = rng.between(1, 140);
  w.rows = rng.between(0, 4), w.cols = rng.between(1, 9), w.columns = rng.between(1, 4);
  const int64_t pitch = w.channels + rng.between(0, 3), stride = rng.between(1, 3), dilation = rng.between(1, 2);
  const int64_t width = (w.columns - 1) * stride + (w.cols - 1) * dilation + 1;
  w.pixel = pitch * dilation, w.step = stride * pitch, w.row = width * pitch;
  w.y_pixel = w.channels + rng.between(0, 3);
  const int64_t n = std::max<int64_t>(1, w.rows) * width * pitch;
  const std::vector<uint8_t> u = bytes(n);
  std::vector<int8_t> s(u.size());
  std::memcpy(s.data(), u.data(), u.size());
  max_pool<uint8_t>(w, u, 0, &PoolS8::max_u8);
  max_pool<int8_t>(w, s, -128, &PoolS8::max_s8);
  max_pool<float>(w, floats(n, true), -std::numeric_limits<float>::infinity(), &PoolS8::max_f32);

  const float scales[] = {0.1f, -2.0f, 1e-20f, 3e38f, 0.02f, 0.5f};
  const PoolMean m = {int32_t(rng.between(0, 255) * w.rows * w.cols), scales[rng.between(0, 5)],
                      int32_t(rng.between(0, 255)), int32_t(rng.between(0, 50)), int32_t(rng.between(200, 255))};
  std::vector<uint8_t> want(size_t(w.columns * w.y_pixel) + 64, 0xA5);
  const std::vector<uint8_t> blank = want;
  for (int64_t i = 0; i < w.columns; i++)
    for (int64_t c = 0; c < w.channels; c++) {
      int32_t sum = -m.sub;
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t q = 0; q < w.cols; q++) sum += u[size_t(i * w.step + r * w.row + q * w.pixel + c)];
      want[size_t(i * w.y_pixel + c)] = uint8_t(requantize(sum, m.scale, m.zp, m.lo, m.hi));
    }
  const PoolAverage a = {int32_t(rng.between(0, 255)),         std::fabs(scales[rng.between(0, 5)]),
                         std::fabs(scales[rng.between(0, 5)]), float(rng.between(1, 64)),
                         float(rng.between(-128, 255)),        int32_t(rng.between(-128, 255)),
                         int32_t(rng.between(0, 50)),          int32_t(rng.between(200, 255))};
  std::vector<uint8_t> averages = blank;
  for (int64_t i = 0; i < w.columns; i++)
    for (int64_t c = 0; c < w.channels; c++) {
      float sum = 0.0f;
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t q = 0; q < w.cols; q++)
          sum += float(u[size_t(i * w.step + r * w.row + q * w.pixel + c)] - a.x_zp) * a.x_scale;
      const float v = sum / a.count / a.y_scale;
      averages[size_t(i * w.y_pixel + c)] =
          uint8_t(quantize_value((v == v ? v : 0.0f) + a.before, a.after, a.lo, a.hi));
    }
  int32_t total = 0;
  for (uint8_t v : u) total += v;
  for (Isa isa : levels()) {
    std::vector<uint8_t> y = blank;
    w.x = u.data(), w.y = y.data();
    pool_s8(isa).mean_u8(w, m);
    CHECK(y == want);
    y = blank;
    w.y = y.data();
    pool_s8(isa).average_u8(w, a);
    CHECK(y == averages);
    CHECK(pool_s8(isa).sum_u8(u.data(), n) == total);
  }
}

void quantizing(int64_t n, float scale) {
  const QuantizeParams p = {scale, int32_t(rng.between(0, 255)), int32_t(rng.between(0, 40)),
                            int32_t(rng.between(210, 255))};
  const bool nan = rng.between(0, 1) == 0;
  std::vector<float> x = floats(3 * n, nan);
  // Halves and their neighbours, where a quotient that is off by one unit would show.
  for (float& v : x)
    if (rng.between(0, 2) == 0) {
      v = (float(rng.between(-300, 300)) + 0.5f) * scale;
      const int64_t step = rng.between(-1, 1);
      if (step != 0) v = std::nextafterf(v, step > 0 ? 1e30f : -1e30f);
    }
  std::vector<uint8_t> flat(size_t(3 * n) + 64, 0xA5), mixed = flat;
  const std::vector<uint8_t> blank = flat;
  bool seen = false;
  float low = 0.0f, high = 0.0f;
  for (int64_t i = 0; i < 3 * n; i++) {
    const float v = x[size_t(i)];
    const uint8_t q = uint8_t(quantize_value(v / scale, p.zp, p.lo, p.hi));
    flat[size_t(i)] = q, mixed[size_t(i % n * 3 + i / n)] = q;
    seen = seen || v / scale != v / scale;
    low = v < low ? v : low, high = v > high ? v : high;
  }
  std::vector<float> back(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) back[size_t(i)] = float(flat[size_t(i)] - p.zp) * scale;
  for (Isa isa : levels()) {
    const QuantizeF32& k = quantize_f32(isa);
    std::vector<uint8_t> y = blank;
    CHECK(k.to_u8(y.data(), x.data(), 3 * n, p) == seen);
    CHECK(y == flat);
    y = blank;
    CHECK(k.planes3(y.data(), x.data(), n, n, p) == seen);
    CHECK(y == mixed);
    std::vector<float> f(static_cast<size_t>(n));
    k.from_u8(f.data(), flat.data(), n, p.zp, scale);
    CHECK(same(f, back));
    float range[2];
    k.min_max(x.data(), 3 * n, range);
    CHECK(range[0] == low && range[1] == high && !std::signbit(range[1]) && (low != 0 || !std::signbit(range[0])));
  }
}

}  // namespace

int main() {
  for (int64_t cols = 0; cols <= 200; cols++) {
    elementwise(rng.between(1, 3), cols);
    tables(rng.between(1, 3), cols);
  }
  elementwise(2, 5000);
  tables(2, 5000);
  for (int round = 0; round < 200; round++) pools();
  const float scales[] = {0.1f, 1.0f, 0.0123f, 3.0f, 1e-30f, 1e30f, 1e-42f, 0.00392157f, 1.9999999f, 3e38f};
  for (int64_t n = 1; n <= 150; n++) quantizing(n, scales[rng.between(0, 9)]);
  for (float s : scales) quantizing(4000, s);
  for (int round = 0; round < 200; round++) quantizing(500, float(rng.between(1, 1 << 24)) * 1e-9f);
  return check::finish();
}
