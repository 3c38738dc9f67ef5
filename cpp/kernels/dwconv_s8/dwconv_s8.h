// Depthwise convolution, u8 x s8, channels last, requantized.
//
//   acc[p, c] = bias[c] + sum over taps t of x[p + offset(t), c] * w[t, c]                     (mod 2^32)
//   u8 out:  y = clamp(rne(fl32(acc) * m[c]) + zp, lo, hi)        (core/arith.h requantize);   f32 out: y = fl32(acc) *
//   m[c]
//
// Channels go in blocks of `width` bytes. A block's four pixels (four taps) are interleaved so that a 32-bit lane holds
// one channel of all four, which is what a four-byte dot product eats. Where the taps are vertical neighbours
// (3 x 3), one interleave serves two output rows (weights [w0 w1 w2 0] and [0 w0 w1 w2]) and three columns.
// 5 x 5: tile5x5.inl. Interleaving and packing both work within 128-bit blocks, so nothing is permuted back.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

enum class DwconvS8Kind : int32_t {
  s1_two_rows,   // 3 x 3, stride 1, rows y and y + 1
  s1_one_row,    // 3 x 3, stride 1, the last row of an odd height
  s1_two_dense,  // the same for dense pixels of few channels: a block is several neighbouring pixels, a column the next
  s1_one_dense,  // block; the weights repeat for each pixel
  s2,            // 3 x 3, stride 2, one row
  s1_wide,       // 3 x 3, stride 1, one row, weights that are sums of two s8 values
  s2_wide,       // 3 x 3, stride 2, one row, such weights
  s1_5x5,        // 5 x 5, stride 1, one row
  s2_5x5,        // 5 x 5, stride 2, one row
  general,       // any list of taps, one row
};
enum class DwconvS8Out : int32_t {
  u8_fast,  // packing proved |acc * m| < 2^31: the saturating packs do the clamping
  u8_safe,  // clamped in float before the conversion
  f32,      // kind `general` only
};

// One call: one block of channels along `columns` outputs of one row (or two).
struct DwconvS8Row {
  const uint8_t* x;     // the first tap of output column 0
  int64_t row;          // bytes between the input rows of vertical neighbours
  int64_t pixel;        // bytes between the input pixels of horizontal neighbours
  int64_t step;         // general: bytes between the inputs of neighbouring outputs
  const int64_t* taps;  // general: 4 * groups offsets in bytes from x
  int32_t groups;
  int32_t columns, channels;  // channels < width only in a partial block
  const int8_t* w;            // [lanes][4] each: 3 x 3: [4 k][3 columns][2 rows, or 2 summands of a wide weight];
                              // 5 x 5: [4 k][5 V, 4 shifts x 2 H];  general: [groups][4 k]
  const int32_t* bias;        // [4 k][lanes]; lane l of sub-vector k is channel l / 4 * 16 + 4 * k + l % 4 of the block
  const float* m;
  const int32_t *multiplier, *shift;  // dwconv_s8_fixed: in place of m
  void* y;
  int64_t y_row, y_pixel;  // elements
  int32_t zp, lo, hi;
};

constexpr int kDwconvS8Kinds = 10, kDwconvS8Widths = 3;

// Two families: dwconv_s8, and dwconv_s8_fixed, which ends in y = clamp(scaled_twice(acc, scale[c]) + zp, lo, hi)
// (core/fixed.h) without a float (OCTAVO_FIXED; u8_fast only).
struct DwconvS8 {
  const char* isa;
  int32_t max_width;    // 64, 32 or 16
  int32_t max_partial;  // widest block of which only some channels may exist
  int32_t macs_per_us;  // rough, for cutting chunks
  using RowFn = void (*)(const DwconvS8Row&);
  // [kind][out][0: 64 bytes, 1: 32, 2: 16][0: all channels exist, 1: `channels` do]; null where the ISA has none.
  RowFn row[kDwconvS8Kinds][3][kDwconvS8Widths][2];
};

#ifdef OCTAVO_FIXED
#define OCTAVO_DWCONV_S8_TABLE(isa) dwconv_s8_fixed_##isa
#else
#define OCTAVO_DWCONV_S8_TABLE(isa) dwconv_s8_##isa
#endif

}  // namespace octavo
