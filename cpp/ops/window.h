// Geometry of the pools over channels-last images: which pixels of the image a window covers.
// 1-D pools ([N, W, C]) are 2-D ones of height 1.
#pragma once

#include <algorithm>

#include "ops/op.h"

namespace octavo {

struct WindowAxis {
  int64_t kernel = 1, stride = 1, dilation = 1, begin = 0, end = 0;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  // First tap inside [-before, size + after) and how many are, for output o: taps at o * stride - begin + k * dilation.
  struct Taps {
    int64_t first, count;  // first: its position
  };
  Taps taps(int64_t o, int64_t size, int64_t before = 0, int64_t after = 0) const {
    const int64_t start = o * stride - begin;
    const int64_t skipped = start < -before ? (-before - start + dilation - 1) / dilation : 0;
    const int64_t last = size + after - 1 - start;  // largest admissible k * dilation
    const int64_t until = last < 0 ? 0 : std::min(kernel, last / dilation + 1);
    return {start + skipped * dilation, std::max<int64_t>(0, until - skipped)};
  }
};

struct Window {
  WindowAxis h, w;
  bool one_d = false;
  bool ceil = false;

  int64_t outputs(const WindowAxis& a, int64_t size) const;
};

// kernel_shape, strides, pads, dilations and ceil_mode of a pool; input 0 has rank 3 or 4.
Window parse_window(const BindContext& ctx);
// Output shape of a pool, sizes checked.
void infer_window(const Window& window, InferContext& ctx);

}  // namespace octavo
