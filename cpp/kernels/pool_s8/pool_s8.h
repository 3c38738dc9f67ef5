// Windows over channels-last images. A window is rows x cols pixels (already clipped to the image), `columns` of them
// side by side; x is the first window's first pixel; all distances in elements.
//
//   max_u8, max_s8, max_f32:  y[c] = the largest x[pixel, c] of the window; its last NaN, if it has any;
//                            the type's least value (-inf) when the window is empty
//   mean_u8:  S = sum of x[pixel, c] - sub;  y[c] = clamp(rne(fl(fl32(S) * scale)) + zp, lo, hi)
//   average_u8:  S = the sum of fl(fl32(x[pixel, c] - x_zp) * x_scale), row by row from +0, each addition rounded;
//                v = fl(fl(S / count) / y_scale), NaN being 0;  y[c] = clamp(rne(fl(v + before)) + after, lo, hi)
//   sum_u8:   the sum of n bytes (mod 2^32)
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace octavo {

struct PoolWindow {
  const void* x;
  int64_t row, pixel;  // between the rows and the columns of a window (dilation included)
  int64_t step;        // between the first pixels of neighbouring windows
  int64_t rows, cols, columns, channels;
  void* y;
  int64_t y_pixel;
};

struct PoolMean {
  int32_t sub;  // pixels * x_zp
  float scale;  // fl(r / fl(n)), finite
  int32_t zp, lo, hi;
};

struct PoolAverage {
  int32_t x_zp;
  float x_scale, y_scale, count, before;
  int32_t after, lo, hi;  // lo - after and hi - after lie in [-32768, 32767]
};

struct PoolS8 {
  const char* isa;
  void (*max_u8)(const PoolWindow& w);
  void (*max_s8)(const PoolWindow& w);
  void (*max_f32)(const PoolWindow& w);
  void (*mean_u8)(const PoolWindow& w, const PoolMean& m);
  void (*average_u8)(const PoolWindow& w, const PoolAverage& a);
  int32_t (*sum_u8)(const uint8_t* x, int64_t n);
};

const PoolS8& pool_s8(Isa isa);

}  // namespace octavo
