// Convolution of few input channels with pixels in lanes: the formula of gemm_s8.h, u8 outputs.
//
// A kernel row of few channels is no multiple of four bytes (3 x 3 over three channels: nine), so products by segments
// multiply zeros, and few output channels leave lanes empty. Here a lane is one of kStemPixels neighbouring outputs; a
// group is any four bytes of a pixel's patch, gathered from the rows by byte permutes, once for all the channels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_s8/gemm_s8.h"

namespace octavo {

constexpr int kStemPixels = 16;
constexpr int kStemWindow = 128;  // bytes of a row that the patches of kStemPixels outputs may touch
constexpr int kStemGroups = 40;   // of four bytes in a patch
constexpr int kStemChannels = 8;  // that the products run over at a time; weights, bias and m are padded to twice that

// Adds bytes of one row to a group: lane byte i is row[index[i]] where bit i of mask is set. Terms of a row follow one
// another.
struct StemTerm {
  uint8_t index[4 * kStemPixels];
  uint64_t mask;
  int32_t row, group;
  bool new_row, new_group;  // the first term of its row, of its group
};

// `pixels` outputs of one line.
struct StemLine {
  const uint8_t* x;  // the first byte of the first output's patch
  int64_t row;       // bytes between the kernel's rows
  int32_t step;      // bytes between neighbouring patches
  int32_t row_bytes;
  const StemTerm* terms;
  int32_t term_count, groups;
  const int8_t* w;  // [channels / 8][groups][8][4]
  const int32_t* bias;
  const float* m;
  uint8_t* y;
  int64_t y_pixel;
  int32_t pixels, channels;
  GemmS8Out out;  // one of those to u8
  int32_t zp, lo, hi;
  void* work;  // kStemWork bytes, aligned to 64
};

// The groups' bytes, and four vectors more.
constexpr int kStemWork = (kStemGroups + 4) * 4 * kStemPixels;

}  // namespace octavo
