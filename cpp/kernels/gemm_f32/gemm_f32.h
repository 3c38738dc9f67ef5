// Float products: MatMul and Conv in one micro-kernel.
//
//   y[m, n] = act(fl(fl(chain(m, n) + bias[n]) + z[m, n]))
//   chain: acc = 0; for k ascending: acc = fma(a[m, k], b[k, n], acc)
//
// k runs over segments of contiguous floats (a kernel row of a channels-last image, or one row of a matrix), so the
// order is (ky, kx, c) whatever the tile, the level or the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

// One tile: rows x (1 or 2 vectors) outputs. Row m of A starts at a + m * lda.
struct GemmF32Tile {
  const float* a;
  int64_t lda;
  const int64_t* segments;  // offsets from a row's start
  int64_t segment_count, segment_length;
  const float* b;     // packed panel: [segment_count * segment_length][vectors * lanes]
  const float* bias;  // of the panel's first column, or null
  const float* z;     // or null
  int64_t ldz;
  float* y;
  int64_t ldy;
  int columns;  // valid columns, at most vectors * lanes
  int clip;     // 0: none; 1: x = lo > x ? lo : x, then x = hi < x ? hi : x (Relu: lo 0, hi infinity)
  float lo, hi;
};

constexpr int kGemmF32MaxRows = 14;

struct GemmF32 {
  int lanes, max_rows;
  void (*tile[2][kGemmF32MaxRows])(const GemmF32Tile&);  // [vectors - 1][rows - 1]
};

}  // namespace octavo
