// Weights to panels (the format is in gemm_s8.h).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "kernels/gemm_s8/driver.h"
#include "kernels/registry.h"

namespace octavo {
namespace {

// Vectors of columns in a panel: wide ones read fewer inputs for each product, narrow ones waste fewer columns and
// leave room for tall tiles, which a small K needs to hide the epilogue.
int32_t choose_vectors(const GemmS8& kernel, int64_t n, int64_t k) {
  const int64_t lanes = kernel.lanes, most = kernel.max_vectors;
  const int64_t needed = (n + lanes - 1) / lanes;
  if (needed <= 1) return 1;
  if (most < 4) return int32_t(std::min(most, needed));
  if (n % (4 * lanes) == 0) return 4;
  if (needed == 3 || (n % (3 * lanes) == 0 && k <= 64)) return 3;
  if (n > 16 * lanes) return 4;
  return 2;
}

int32_t weight_at(const GemmS8Weights& w, int64_t i) {
  return w.dtype == DType::s8 ? static_cast<const int8_t*>(w.w)[i] : static_cast<const int16_t*>(w.w)[i];
}

// How many s8 values must be added to reach each weight.
int32_t parts_of(const GemmS8Weights& w) {
  if (w.dtype == DType::s8) return 1;
  int32_t parts = 1;
  for (int64_t i = 0, n = w.n * w.segments * w.segment_length; i < n; i++) {
    const int32_t v = weight_at(w, i);
    parts = std::max(parts, v >= 0 ? (v + 126) / 127 : (127 - v) / 128);
  }
  return parts;
}

// Part p of v: parts are filled one after another.
int32_t part_of(int32_t v, int32_t p) {
  return v >= 0 ? std::min(std::max(v - 127 * p, 0), 127) : std::max(std::min(v + 128 * p, 0), -128);
}

size_t checked_product(size_t a, size_t b) {
  size_t r;
  if (__builtin_mul_overflow(a, b, &r) || r > (size_t(1) << 46))
    fail(ErrorKind::out_of_memory, "packed weights are too large");
  return r;
}

template <class T>
void fill_panel(const GemmS8& kernel, const GemmS8Packed& packed, const GemmS8Weights& w,
                const GemmS8Packed::Panel& panel, T* to) {
  const int32_t kg = kernel.k_group, lanes = kernel.lanes;
  const int64_t steps = int64_t(packed.groups) * 4 / kg, step = int64_t(panel.nr) * lanes * kg;
  const int64_t row = w.segments * w.segment_length;
  for (int32_t j = 0; j < panel.nr; j++)
    for (int32_t l = 0; l < lanes; l++) {
      const int32_t column = GemmS8Packed::column(kernel, panel.nr, j, l);
      if (column >= panel.cols) continue;  // the buffer holds zeros
      T* out = to + (int64_t(j) * lanes + l) * kg;
      for (int32_t p = 0; p < packed.parts; p++)
        for (int64_t s = 0; s < w.segments; s++, out += steps * step) {
          const int64_t from = (panel.first + column) * row + s * w.segment_length;
          for (int64_t k = 0; k < w.segment_length; k++) {
            const int32_t v = weight_at(w, from + k);
            out[k / kg * step + k % kg] = T(packed.parts == 1 ? v : part_of(v, p));
          }
        }
    }
}

}  // namespace

const GemmS8* find_gemm_s8(Isa isa) { return static_cast<const GemmS8*>(find_kernel("gemm_s8", isa)); }

void GemmS8Packed::set_layout(int64_t columns) {
  n = columns;
  const int64_t lanes = kernel->lanes, width = nr * lanes;
  panels = (n + width - 1) / width;
  tail_nr_ = panels ? int32_t((n - (panels - 1) * width + lanes - 1) / lanes) : 1;
  size_t vector = checked_product(size_t(groups), size_t(4 * lanes * (kernel->wide ? 2 : 1)));
  vector = checked_product(checked_product(vector, size_t(segments)), size_t(parts));
  panel_bytes = checked_product(vector, size_t(nr));
  tail_bytes = vector * size_t(tail_nr_);
  bytes = panels ? checked_product(panel_bytes, size_t(panels - 1)) + tail_bytes : 0;
}

GemmS8Packed GemmS8Packed::layout(const GemmS8* kernel, int64_t n, int64_t k) {
  GemmS8Packed p;
  p.kernel = kernel;
  p.k = k;
  p.groups = int32_t((k + 3) / 4);
  p.nr = kernel->max_vectors < 4 ? kernel->max_vectors : choose_vectors(*kernel, n, k);
  p.set_layout(n);
  if (kernel->max_vectors < 4) {  // their run-time packing fills whole panels only
    p.tail_nr_ = p.nr;
    p.tail_bytes = p.panel_bytes;
    p.bytes = checked_product(p.panel_bytes, size_t(p.panels));
  }
  return p;
}

GemmS8Packed::GemmS8Packed(const GemmS8* kernel_table, const GemmS8Weights& w) : kernel(kernel_table) {
  if (w.segment_length / 4 >= INT32_MAX || w.segments >= INT32_MAX)
    fail(ErrorKind::unsupported, "the weights' K is too large");
  segments = w.segments;
  k = w.segments * w.segment_length;
  groups = int32_t((w.segment_length + 3) / 4);
  parts = kernel->wide ? 1 : parts_of(w);
  nr = choose_vectors(*kernel, w.n, k);
  set_layout(w.n);
  weights_ = Buffer(bytes, true);
  side_ = Buffer(checked_product(side_elements(), 4), true);
  m_ = Buffer(checked_product(side_elements(), 4), true);
  fast_.assign(size_t(panels), 1);
  for (int64_t p = 0; p < panels; p++) {
    const Panel q = panel(p);
    if (kernel->wide)
      fill_panel(*kernel, *this, w, q, reinterpret_cast<int16_t*>(weights_.as<uint8_t>() + q.offset));
    else
      fill_panel(*kernel, *this, w, q, reinterpret_cast<int8_t*>(weights_.as<uint8_t>() + q.offset));
    for (int32_t j = 0; j < q.nr; j++)
      for (int32_t l = 0; l < kernel->lanes; l++) {
        const int32_t c = column(*kernel, q.nr, j, l);
        if (c >= q.cols) continue;
        const int64_t o = q.first + c;
        int64_t positive = 0, negative = 0;
        for (int64_t i = 0; i < k; i++) {
          const int32_t v = weight_at(w, o * k + i);
          (v > 0 ? positive : negative) += v;
        }
        const int32_t bias = w.bias ? w.bias[o] : 0;
        const float m = w.m ? w.m[o * w.m_stride] : 1.0f;
        const int64_t high = bias + 255 * positive, low = bias + 255 * negative;
        const double bound =
            high <= INT32_MAX && low >= INT32_MIN ? double(std::max(std::abs(high), std::abs(low))) : 2147483648.0;
        if (!(bound * std::fabs(double(m)) < 2147000000.0)) fast_[size_t(p)] = 0;
        const size_t at = q.side + size_t(j * kernel->lanes + l);
        const uint32_t flip = kernel->flips ? 128u * uint32_t(positive + negative) : 0u;
        side_.as<int32_t>()[at] = int32_t(uint32_t(bias) + flip);
        m_.as<float>()[at] = m;
      }
  }
}

GemmS8Packed::Panel GemmS8Packed::panel(int64_t p) const {
  Panel q;
  const int64_t width = int64_t(nr) * kernel->lanes;
  q.first = p * width;
  q.cols = int32_t(std::min(width, n - q.first));
  q.nr = p + 1 == panels ? tail_nr_ : nr;
  q.offset = size_t(p) * panel_bytes;
  q.side = size_t(p * width);
  q.fast = fast(p);
  return q;
}

std::string GemmS8Packed::name() const {
  return "gemm_s8 " + std::to_string(kernel->rows[nr - 1]) + "x" + std::to_string(nr) + " " + kernel->isa;
}

void pack_activations(Region& pool, const GemmS8Packed& packed, const uint8_t* b, int64_t ldb, uint8_t flip,
                      uint8_t* to, int32_t* sums) {
  const int64_t chunks = pool.chunks_for(packed.panels * packed.k, 16 << 10);
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    for (int64_t p = packed.panels * chunk / chunks; p < packed.panels * (chunk + 1) / chunks; p++) {
      const GemmS8Packed::Panel q = packed.panel(p);
      packed.kernel->pack_rows(to + q.offset, b + q.first, ldb, packed.k, q.nr, q.cols, flip, sums + q.side);
    }
  });
}

}  // namespace octavo
