// Packing and driving the u8 x s8 kernels (gemm_s8.h): usable without a session, on raw pointers.
#pragma once

#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/isa.h"
#include "core/math.h"
#include "core/thread_pool.h"
#include "core/types.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/gemm_s8/gemm_s8.h"
#include "kernels/lut_s8/lut_s8.h"

namespace octavo {

// Weights as they come: w[n * segments * segment_length + s * segment_length + k], s8 or s16 (|w| <= 255).
struct GemmS8Weights {
  DType dtype = DType::s8;
  const void* w = nullptr;
  int64_t n = 0, segments = 1, segment_length = 0;
  int64_t inner = 1;              // of the segments, those of one outer step: segment s is (s / inner, s % inner)
  const int32_t* bias = nullptr;  // n entries; null: zeros
  const float* m = nullptr;       // n entries, or one when m_stride is 0; null: ones (s32 outputs)
  int64_t m_stride = 1;
  bool natural = false;  // columns in their natural order, as s32 and f32 outputs want them; u8 outputs: false
  const int32_t *multiplier = nullptr, *shift = nullptr;  // in place of m: the fixed scheme (kernel of gemm_s8_fixed)
};

// Weights in the kernel's order, bias and multipliers beside them. Immutable, so it is shared freely.
class GemmS8Packed {
 public:
  struct Panel {
    int64_t first;     // first column
    int32_t cols, nr;  // columns that exist, vectors
    size_t offset;     // of its weights
    size_t side;       // of its bias and m, in elements
    const GemmS8Extra* extra;
    int32_t extras;
    bool fast;  // |acc * m| < 2^31 for every input
  };

  GemmS8Packed() = default;
  GemmS8Packed(const GemmS8* kernel, const GemmS8Weights& w);
  // The layout alone, for weights that are known at run time only; pack_activations() fills it into scratch.
  static GemmS8Packed layout(const GemmS8* kernel, int64_t n, int64_t k, bool natural);

  const GemmS8* kernel = nullptr;
  int64_t n = 0, k = 0;  // k: bytes of all segments
  int32_t groups = 0;
  int64_t segments = 1;
  int32_t nr = 1;  // of all panels but the last
  bool natural = false;
  int64_t panels = 0;
  size_t panel_bytes = 0;  // weights of a panel but for its extras
  size_t bytes = 0;        // of all panels

  Panel panel(int64_t p) const;
  const uint8_t* data() const { return weights_.as<uint8_t>(); }
  const int32_t* bias() const { return side_.as<int32_t>(); }
  const float* m() const { return m_.as<float>(); }
  const int32_t* multiplier() const { return m_.as<int32_t>(); }  // of the fixed scheme
  const int32_t* shift() const { return shift_.as<int32_t>(); }   // null in the float scheme
  size_t side_elements() const { return size_t((panels > 0 ? panels - 1 : 0) * nr + tail_nr_) * size_t(kernel->lanes); }
  bool fast(int64_t p) const { return !fast_.empty() && fast_[size_t(p)]; }
  // "gemm_s8 7x4 avx512vnni"
  std::string name() const;
  // Column of vector j, lane l in a panel of nr vectors.
  int32_t column(int32_t nr, int32_t j, int32_t l) const {
    return nr == 4 && !natural ? l / 4 * 16 + 4 * j + l % 4 : j * kernel->lanes + l;
  }

 private:
  void set_layout(int64_t columns);
  void find_extras(const GemmS8Weights& w);

  int32_t tail_nr_ = 1;
  Buffer weights_, side_, m_, shift_;
  std::vector<char> fast_;
  // Panel p's extras are [first_extra_[p], first_extra_[p + 1]); both are empty where there are none.
  std::vector<GemmS8Extra> extra_;
  std::vector<int64_t> first_extra_;
};

// What comes after the accumulators. Columns of z and of f32 vectors are the output's.
struct GemmS8Epilogue {
  enum class Kind { u8, s32, f32 } kind = Kind::u8;
  int32_t zp = 0, lo = 0, hi = 255;
  // u8: then the residual, then the table.
  const uint8_t* z = nullptr;
  AddS8Params add = {};
  const EltwiseS8* adder = nullptr;  // adds z
  bool once = false;                 // fixed scheme: rounded once
  const EltwiseFixed* fixed = nullptr;
  AddFixedParams add_fixed = {};  // with `fixed`: in place of add
  const uint8_t* table = nullptr;
  const LutS8* lut = nullptr;  // looks the table up
  // f32: fl(acc) * m[n] + bias_f[n] + z.
  const float* bias_f = nullptr;
  const float* z_f = nullptr;
  // Then act, by these kernels.
  UnaryFn act = UnaryFn::None;
  float alpha = 0.0f, beta = 0.0f;
  const EltwiseF32* eltwise = nullptr;
};

// lines x rows pixels. Line i is row i % lines_per_image of image i / lines_per_image.
struct GemmS8Rows {
  int64_t lines = 1, lines_per_image = 1, rows = 0;
  int64_t row = 0, line = 0, image = 0;  // strides of the input in bytes, of outputs in elements
};

struct GemmS8Job {
  const GemmS8Packed* b = nullptr;
  // For run-time weights: panels, bias and m in scratch instead of those inside `b`.
  const uint8_t* panels = nullptr;
  const int32_t* bias = nullptr;
  const float* m = nullptr;
  const int32_t* row_bias = nullptr;  // one more summand for each row, in the order of the lines

  const uint8_t* a = nullptr;
  GemmS8Rows in;  // lines, lines_per_image and rows count
  int32_t outer = 1, inner = 1;
  int32_t groups = 0;  // of four bytes in a segment; 0: as packed
  int64_t segment_outer = 0, segment_inner = 0;

  void* c = nullptr;
  GemmS8Rows out, z;  // strides only
  GemmS8Epilogue epilogue;
};

// Runs the job over the pool.
void gemm_s8(Region& pool, const GemmS8Job& job);

// Run-time weights: b[k * ldb + n], bytes; flip 0x80 turns u8 into s8. Fills the panels (packed.bytes bytes) and the
// sums of the columns' s8 values (packed.side_elements(), in the panels' order).
void pack_activations(Region& pool, const GemmS8Packed& packed, const uint8_t* b, int64_t ldb, uint8_t flip,
                      uint8_t* to, int32_t* sums);

// The kernel table of the best level at or below `isa`.
const GemmS8* find_gemm_s8(Isa isa);
const GemmS8* find_gemm_s8_fixed(Isa isa);

}  // namespace octavo
