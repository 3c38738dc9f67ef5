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

// Vectors of columns in a panel: wide ones read fewer inputs for each product and their packs fill whole vectors; the
// last panel takes what is left.
int32_t choose_vectors(const GemmS8& kernel, int64_t n) {
  return int32_t(std::clamp<int64_t>((n + kernel.lanes - 1) / kernel.lanes, 1, kernel.max_vectors));
}

int32_t weight_at(const GemmS8Weights& w, int64_t i) {
  return w.dtype == DType::s8 ? static_cast<const int8_t*>(w.w)[i] : static_cast<const int16_t*>(w.w)[i];
}

// Weights beyond s8 are sums of s8 values, filled one after another: 0 is in the panel's groups, the others in extras.
constexpr int32_t kSummands = 3;
int32_t summand(int32_t v, int32_t i) {
  return v >= 0 ? std::min(std::max(v - 127 * i, 0), 127) : std::max(std::min(v + 128 * i, 0), -128);
}

size_t checked_product(size_t a, size_t b) {
  size_t r;
  if (__builtin_mul_overflow(a, b, &r) || r > (size_t(1) << 46))
    fail(ErrorKind::out_of_memory, "packed weights are too large");
  return r;
}

bool same_group(const GemmS8Extra& a, const GemmS8Extra& b) {
  return a.outer == b.outer && a.inner == b.inner && a.k == b.k;
}

template <class T>
void fill_panel(const GemmS8& kernel, const GemmS8Packed& packed, const GemmS8Weights& w,
                const GemmS8Packed::Panel& panel, T* to) {
  const int32_t kg = kernel.k_group, lanes = kernel.lanes;
  const int64_t steps = int64_t(packed.groups) * 4 / kg, step = int64_t(panel.nr) * lanes * kg;
  const int64_t row = w.segments * w.segment_length;
  for (int32_t j = 0; j < panel.nr; j++)
    for (int32_t l = 0; l < lanes; l++) {
      const int32_t column = packed.column(panel.nr, j, l);
      if (column >= panel.cols) continue;  // the buffer holds zeros
      T* out = to + (int64_t(j) * lanes + l) * kg;
      for (int64_t s = 0; s < w.segments; s++, out += steps * step) {
        const int64_t from = (panel.first + column) * row + s * w.segment_length;
        int64_t k = 0;
        if (w.dtype == DType::s8 && sizeof(T) == 1 && kg == 4)  // the usual case: whole groups are copied
          for (; k + 4 <= w.segment_length; k += 4)
            std::memcpy(out + k / 4 * step, static_cast<const int8_t*>(w.w) + from + k, 4);
        for (; k < w.segment_length; k++) {
          const int32_t v = weight_at(w, from + k);
          out[k / kg * step + k % kg] = T(kernel.wide ? v : summand(v, 0));
        }
      }
      // The same group again is the next summand.
      for (int32_t e = 0, i = 1; e < panel.extras; e++, out += 4 / kg * step) {
        const GemmS8Extra& x = panel.extra[e];
        i = e > 0 && same_group(x, panel.extra[e - 1]) ? i + 1 : 1;
        const int64_t from = (panel.first + column) * row + (x.outer * w.inner + x.inner) * w.segment_length + x.k;
        for (int64_t k = 0; k < std::min<int64_t>(4, w.segment_length - x.k); k++)
          out[k / kg * step + k % kg] = T(summand(weight_at(w, from + k), i));
      }
    }
}

}  // namespace

const GemmS8* find_gemm_s8(Isa isa) { return static_cast<const GemmS8*>(find_kernel("gemm_s8", isa)); }

const GemmS8* find_gemm_s8_fixed(Isa isa) { return static_cast<const GemmS8*>(find_kernel("gemm_s8_fixed", isa)); }

void GemmS8Packed::set_layout(int64_t columns) {
  n = columns;
  const int64_t lanes = kernel->lanes, width = nr * lanes;
  panels = (n + width - 1) / width;
  tail_nr_ = panels ? int32_t((n - (panels - 1) * width + lanes - 1) / lanes) : 1;
  size_t vector = checked_product(size_t(groups), size_t(4 * lanes * (kernel->wide ? 2 : 1)));
  vector = checked_product(vector, size_t(segments));
  panel_bytes = checked_product(vector, size_t(nr));
  bytes = panels ? checked_product(panel_bytes, size_t(panels - 1)) + vector * size_t(tail_nr_) : 0;
}

// Which groups of four bytes each panel needs again, for weights beyond s8.
void GemmS8Packed::find_extras(const GemmS8Weights& w) {
  if (kernel->wide || w.dtype == DType::s8) return;
  const int64_t width = int64_t(nr) * kernel->lanes;
  for (int64_t p = 0; p < panels; p++) {
    first_extra_.push_back(int64_t(extra_.size()));
    const int64_t last = std::min(n, (p + 1) * width);
    for (int64_t s = 0; s < segments; s++)
      for (int64_t g = 0; g < w.segment_length; g += 4) {
        int32_t summands = 1;
        for (int64_t c = p * width; c < last; c++)
          for (int64_t i = g; i < std::min(g + 4, w.segment_length); i++)
            while (summands < kSummands && summand(weight_at(w, c * k + s * w.segment_length + i), summands) != 0)
              summands++;
        for (int32_t i = 1; i < summands; i++) extra_.push_back({int32_t(s / w.inner), int32_t(s % w.inner), g});
      }
    bytes +=
        (extra_.size() - size_t(first_extra_.back())) * size_t((p + 1 < panels ? nr : tail_nr_) * kernel->lanes * 4);
  }
  first_extra_.push_back(int64_t(extra_.size()));
  if (extra_.empty()) first_extra_.clear();
}

GemmS8Packed GemmS8Packed::layout(const GemmS8* kernel, int64_t n, int64_t k, bool natural) {
  GemmS8Packed p;
  p.natural = natural;
  p.kernel = kernel;
  p.k = k;
  p.groups = int32_t((k + 3) / 4);
  p.nr = kernel->max_vectors < 4 ? kernel->max_vectors : choose_vectors(*kernel, n);
  p.set_layout(n);
  if (kernel->max_vectors < 4) {  // their run-time packing fills whole panels only
    p.tail_nr_ = p.nr;
    p.bytes = checked_product(p.panel_bytes, size_t(p.panels));
  }
  return p;
}

GemmS8Packed::GemmS8Packed(const GemmS8* kernel_table, const GemmS8Weights& w) : kernel(kernel_table) {
  if (w.segment_length / 4 >= INT32_MAX || w.segments >= INT32_MAX)
    fail(ErrorKind::unsupported, "the weights' K is too large");
  segments = w.segments;
  natural = w.natural;
  k = w.segments * w.segment_length;
  groups = int32_t((w.segment_length + 3) / 4);
  nr = choose_vectors(*kernel, w.n);
  set_layout(w.n);
  find_extras(w);
  weights_ = Buffer(bytes, true);
  side_ = Buffer(checked_product(side_elements(), 4), true);
  m_ = Buffer(checked_product(side_elements(), 4), true);
  if (w.multiplier) shift_ = Buffer(checked_product(side_elements(), 4), true);
  fast_.assign(size_t(panels), 1);
  for (int64_t p = 0; p < panels; p++) {
    const Panel q = panel(p);
    if (kernel->wide)
      fill_panel(*kernel, *this, w, q, reinterpret_cast<int16_t*>(weights_.as<uint8_t>() + q.offset));
    else
      fill_panel(*kernel, *this, w, q, reinterpret_cast<int8_t*>(weights_.as<uint8_t>() + q.offset));
    for (int32_t j = 0; j < q.nr; j++)
      for (int32_t l = 0; l < kernel->lanes; l++) {
        const int32_t c = column(q.nr, j, l);
        if (c >= q.cols) continue;
        const int64_t o = q.first + c;
        int64_t positive = 0, negative = 0;
        for (int64_t i = 0; i < k; i++) {  // without a branch: signs are unforeseeable
          const int32_t v = weight_at(w, o * k + i);
          positive += std::max(v, 0);
          negative += std::min(v, 0);
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
        if (w.multiplier) {
          m_.as<int32_t>()[at] = w.multiplier[o * w.m_stride];
          shift_.as<int32_t>()[at] = w.shift[o * w.m_stride];
        } else {
          m_.as<float>()[at] = m;
        }
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
  q.extra = nullptr, q.extras = 0;
  if (!first_extra_.empty()) {
    const int64_t before = first_extra_[size_t(p)];
    q.extra = extra_.data() + before;
    q.extras = int32_t(first_extra_[size_t(p) + 1] - before);
    q.offset += size_t(before * width * 4);  // all panels before this one have nr vectors
  }
  return q;
}

std::string GemmS8Packed::name() const {
  return (shift() ? "gemm_s8_fixed " : "gemm_s8 ") + std::to_string(kernel->rows[nr - 1]) + "x" + std::to_string(nr) +
         " " + kernel->isa;
}

void pack_activations(Region& pool, const GemmS8Packed& packed, const uint8_t* b, int64_t ldb, uint8_t flip,
                      uint8_t* to, int32_t* sums) {
  const int64_t chunks = pool.chunks_for(packed.panels * packed.k, 16 << 10);
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    for (int64_t p = packed.panels * chunk / chunks; p < packed.panels * (chunk + 1) / chunks; p++) {
      const GemmS8Packed::Panel q = packed.panel(p);
      packed.kernel->pack_rows(to + q.offset, b + q.first, ldb, packed.k, q.nr, q.cols, flip, packed.natural,
                               sums + q.side);
    }
  });
}

}  // namespace octavo
