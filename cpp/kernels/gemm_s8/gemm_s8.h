// u8 x s8 matrix product and direct convolution with requantization.
//
//   acc[r, n] = bias[n] (+ row_bias[r]) + sum over segments and k of x[r, segment, k] * w[n, segment, k]   (mod 2^32)
//   u8 out:  y = clamp(rne(fl32(acc) * m[n]) + zp, lo, hi)          (core/arith.h requantize) s32 out: y = acc
//   f32 out: y = fl(fl(fl32(acc) * m[n]) + bias_f[n]) + z[r, n]
//
// A row is a pixel: row r starts at a + r * lda, and its K bytes lie in segments, segment (i, j) at byte
// i * segment_outer + j * segment_inner behind the row's start. A matrix has one segment; a convolution over padded
// NHWC has one for each kernel row (KW * C contiguous bytes) or for each tap (C bytes). A segment is read in groups of
// four bytes, so up to three bytes behind it are read and multiplied by zero weights.
//
// Weights outside s8 (up to +-255) are sums of s8 ones: behind the panel's groups come `extras`, groups of four bytes
// that are multiplied once more, by what is missing. Asymmetric weights need few: their range is 255 wide, so only its
// far end leaves s8.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

enum class GemmS8Out : int32_t {
  u8_saturate,  // lo = 0, hi = 255, and packing proved that |acc * m| < 2^31: the saturating packs do the clamping
  u8_bytes,     // proved as well; clamped to [lo, hi] as bytes
  u8_float,     // clamped in float before the conversion
  s32,
  f32,       // fl(acc) * m[n]; + bias_f[n] and + z where given, each rounded
  u8_twice,  // family gemm_s8_fixed only: y = clamp(scaled_twice(acc, scale[n]) + zp, lo, hi)     (core/fixed.h)
  u8_once,   // and the same, rounded once
};

// A group of four bytes that is multiplied again: at byte k of segment (outer, inner).
struct GemmS8Extra {
  int32_t outer, inner;
  int64_t k;
};

// One micro-kernel call: MR rows times NR vectors of columns.
struct GemmS8Tile {
  const uint8_t* a;
  int64_t lda;
  int32_t outer, inner, groups;  // groups of four bytes in a segment
  int64_t segment_outer, segment_inner;
  const void* b;  // the packed panel
  const GemmS8Extra* extra;
  int32_t extras;
  const int32_t* bias;  // in the panel's column order
  const float* m;
  const int32_t *multiplier, *shift;  // gemm_s8_fixed: in place of m
  const int32_t* row_bias;            // MR more summands, one a row; or null
  const float* bias_f;                // f32 only: of the columns, or null
  const float* z;                     // f32 only: the same shape as the outputs, or null
  int64_t ldz;
  void* c;
  int64_t ldc;   // elements
  int32_t cols;  // columns to store
  GemmS8Out out;
  int32_t zp, lo, hi;
  // kGemmS8Work bytes that belong to this run of calls; `again`: the last call had the same rows of inputs.
  void* work;
  bool again;
};

struct StemLine;  // stem.h

constexpr int kGemmS8MaxRows = 14;
constexpr int kGemmS8Work = 24 << 10;
constexpr int kGemmS8MaxVectors = 4;

// What an instruction set brings, for two families: gemm_s8, and gemm_s8_fixed, whose tiles end without a float
// (OCTAVO_FIXED; and no add). A panel is `nr` vectors of `lanes` columns, packed as
//   [segment][k / k_group][nr][lanes][k_group]   (int8, or int16 if `wide`), then the extras' groups likewise,
// where vector j, lane l holds column j * lanes + l, or for nr == 4 and u8 outputs, (l / 4) * 16 + 4 * j + l % 4: then
// the packs of the epilogue, which work within 128-bit blocks, leave the bytes in memory order.
struct GemmS8 {
  const char* isa;
  int32_t lanes, k_group;
  bool wide;            // weights widened to int16: no extras needed
  bool flips;           // the kernel multiplies x - 128: packing adds 128 * sum(w) to the bias
  int32_t macs_per_us;  // rough, for cutting chunks
  int32_t max_vectors;
  int32_t rows[kGemmS8MaxVectors];      // preferred tile height for each nr (index nr - 1); all the same if `wide`
  int32_t max_rows[kGemmS8MaxVectors];  // heights 1 .. max_rows exist; never rises with nr
  using TileFn = void (*)(const GemmS8Tile&);
  TileFn tile[kGemmS8MaxVectors][kGemmS8MaxRows];
  // The same for panels of two and three vectors whose last one is at most half full; null: the ISA gains nothing by
  // it.
  TileFn half_tile[2][kGemmS8MaxRows];
  // One panel of nr vectors (any, where max_vectors is 4; else max_vectors) from k rows of bytes: b[k * ldb + n] xor
  // flip, `cols` columns, in their natural order or in that of u8 outputs; and the sums of the packed s8 values of each
  // column in the panel's order.
  void (*pack_rows)(void* panel, const uint8_t* b, int64_t ldb, int64_t k, int32_t nr, int32_t cols, uint8_t flip,
                    bool natural, int32_t* sums);
  // sums[r] = sum of a[r * lda + k]
  void (*sum_rows)(const uint8_t* a, int64_t lda, int64_t rows, int64_t k, int32_t* sums);
  // `tiles` tiles of strip_rows rows below one another, of nr vectors (index nr - 1), for a single segment without
  // extras and row_bias and out u8_saturate or u8_bytes; null: the ISA gains nothing by it.
  void (*strip[kGemmS8MaxVectors])(const GemmS8Tile& first, int64_t tiles) = {};
  int32_t strip_rows[kGemmS8MaxVectors] = {};
  // stem.h, for CPUs that permute bytes (AVX-512 VBMI); null: the ISA has none.
  void (*stem)(const StemLine& line) = nullptr;
};

#if defined(OCTAVO_FIXED)
#define OCTAVO_GEMM_S8_TABLE(isa) gemm_s8_fixed_##isa
#elif defined(OCTAVO_TEST_TABLE)  // a test's own compilation of a kernel
#define OCTAVO_GEMM_S8_TABLE(isa) gemm_s8_test_##isa
#else
#define OCTAVO_GEMM_S8_TABLE(isa) gemm_s8_##isa
#endif

}  // namespace octavo
