// Depthwise convolution, channels last, one filter a channel:
//   chain(c) = fma over taps (ky, kx) ascending from 0; y = clip(fl(chain + bias))
// Weights are packed [kh * kw][channels rounded up to 16], bias is padded likewise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

struct DwconvF32Row {
  const float* x;      // first tap of the first output pixel
  int64_t pixel, row;  // floats from a tap to its right / lower neighbour (dilation included)
  int64_t step;        // floats from an output pixel's first tap to the next one's
  int64_t across;      // step / pixel when whole and dilation is 1 (neighbouring outputs share taps), else 0
  int kh, kw;
  const float* weights;
  int64_t weights_pitch;  // floats from tap to tap
  const float* bias;      // or null
  float* y;
  int64_t y_pixel;
  int64_t y_row;  // pair: floats to the next row of outputs
  int64_t width;  // output pixels
  int64_t channels;
  int clip;
  float lo, hi;
};

struct DwconvF32 {
  void (*row)(const DwconvF32Row&);
  // The same for two rows of outputs, one input row apart, of a 3x3 or 5x5 filter with stride and dilation 1: they
  // share all but two rows of inputs.
  void (*pair)(const DwconvF32Row&);
};

}  // namespace octavo
