// Packing and driving the depthwise kernels (dwconv_s8.h): usable without a session, on raw pointers.
#pragma once

#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/isa.h"
#include "core/thread_pool.h"
#include "core/types.h"
#include "kernels/dwconv_s8/dwconv_s8.h"
#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/lut_s8/lut_s8.h"

namespace octavo {

// Weights as they come: w[c * kh * kw + tap], s8 or s16 (|w| <= 255).
struct DwconvS8Weights {
  DType dtype = DType::s8;
  const void* w = nullptr;
  int64_t channels = 0, kh = 1, kw = 1;
  int64_t stride_h = 1, stride_w = 1, dil_h = 1, dil_w = 1;
  const int32_t* bias = nullptr;  // `channels` entries; null: zeros
  const float* m = nullptr;       // `channels` entries, or one when m_stride is 0
  int64_t m_stride = 1;
  const int32_t *multiplier = nullptr, *shift = nullptr;  // in place of m: the fixed scheme
  bool out_f32 = false;
};

// Weights, bias and multipliers in the kernel's order. Immutable, so it is shared freely.
class DwconvS8Packed {
 public:
  DwconvS8Packed(Isa isa, const DwconvS8Weights& w);

  struct Block {
    int64_t first;  // channel
    int32_t channels, width;
    DwconvS8Kind kind;  // s1_two_rows: `row` makes two rows, and last_row one
    DwconvS8::RowFn row, last_row;
    size_t weights, side;  // offsets, in bytes and in elements
  };
  // For dense pixels of few channels: a block of neighbouring pixels, and the kernels of a last one that is not full
  // (null where the ISA has none).
  struct Dense {
    Block block;
    DwconvS8::RowFn tail, last_tail;
  };
  struct Tap {
    int64_t row, column;  // in input pixels, dilation included
  };

  bool two_rows() const { return kind_ == DwconvS8Kind::s1_two_rows; }
  const std::vector<Block>& blocks() const { return blocks_; }
  const Dense* dense() const { return dense_.block.row ? &dense_ : nullptr; }
  const std::vector<Tap>& taps() const { return taps_; }  // of general blocks; a multiple of four
  const int8_t* weights(const Block& b) const { return weights_.as<int8_t>() + b.weights; }
  // The same for a kernel with its rows and columns exchanged, for images that are tall and narrow; where turns().
  const int8_t* turned_weights(const Block& b) const { return weights(b) + turned_; }
  bool turns() const { return turned_ != 0; }
  const int32_t* bias(const Block& b) const { return bias_.as<int32_t>() + b.side; }
  const float* m(const Block& b) const { return m_.as<float>() + b.side; }
  bool fixed() const { return fixed_; }
  // For second passes over the outputs.
  const EltwiseS8& adder() const { return *adder_; }
  const EltwiseFixed& fixed_adder() const { return *fixed_adder_; }
  const LutS8& lut() const { return *lut_; }
  const int32_t* multiplier(const Block& b) const { return m_.as<int32_t>() + b.side; }
  const int32_t* shift(const Block& b) const { return shift_.as<int32_t>() + b.side; }
  int64_t macs_per_us() const { return kernel_->macs_per_us; }
  const DwconvS8Weights& shape() const { return shape_; }  // pointers in it are not kept
  // "dwconv_s8 3x3s1 avx512vnni"
  std::string name() const;

 private:
  DwconvS8Kind kind_of(const DwconvS8Weights& w, const Block& b) const;
  void find_taps(const DwconvS8Weights& w);
  DwconvS8::RowFn row_fn(DwconvS8Kind kind, const DwconvS8Weights& w, const Block& b, bool partial) const;
  void find_dense(const DwconvS8Weights& w);
  void pack_block(const DwconvS8Weights& w, const Block& b);
  void pack_3x3(const DwconvS8Weights& w, int64_t channel, int8_t* to, const Block& b, bool turned);

  const DwconvS8* kernel_;
  const EltwiseS8* adder_;
  const EltwiseFixed* fixed_adder_;
  const LutS8* lut_;
  DwconvS8Weights shape_;
  DwconvS8Kind kind_;  // of blocks whose weights are all s8
  std::vector<Block> blocks_;
  Dense dense_ = {};
  size_t turned_ = 0;
  std::vector<Tap> taps_;
  std::vector<int32_t> part_of_;  // which s8 part of a weight each tap multiplies
  bool fixed_;
  Buffer weights_, bias_, m_, shift_;  // the fixed scheme's multipliers are in m_
};

struct DwconvS8Job {
  const DwconvS8Packed* b = nullptr;
  const uint8_t* x = nullptr;  // the first pixel of the first image's padding
  int64_t x_image = 0, x_row = 0, x_pixel = 0;
  void* y = nullptr;
  int64_t y_image = 0, y_row = 0, y_pixel = 0;  // elements
  int64_t images = 0, height = 0, width = 0;    // of the output
  int32_t zp = 0, lo = 0, hi = 255;
  // Then the residual, then the table, where given.
  const uint8_t* z = nullptr;
  int64_t z_image = 0, z_row = 0, z_pixel = 0;
  AddS8Params add = {};
  AddFixedParams add_fixed = {};  // in place of `add` in the fixed scheme
  const uint8_t* table = nullptr;
  int64_t* offsets = nullptr;  // room for taps().size() entries
};

// Runs the job over the pool.
void dwconv_s8(Region& pool, const DwconvS8Job& job);

}  // namespace octavo
