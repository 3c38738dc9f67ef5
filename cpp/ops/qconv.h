// What the quantized convolutions share: attributes, geometry, images and their padding.
//   acc = bias + sum x * w (padding holds x_zp);  y = requantize(acc, m, y_zp, lo, hi);
//   with z: y = quantized_add(y, z, add);  with a table: y = table[y];  out_f32: y = fl32(acc) * m;  out_s32: y = acc
#pragma once

#include <memory>

#include "core/arith.h"
#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "ops/op.h"

namespace octavo {

// The fused tail of QConv and QGemm; inputs are (x, w, bias?, m, z?, table?) for both.
struct QEpilogue {
  int32_t x_zp = 0, y_zp = 0, lo = 0, hi = 255;
  bool out_f32 = false, out_s32 = false;
  bool once = false;  // the fixed scheme: rounded once
  bool has_z = false;
  AddParams add = {};
  bool fixed_add = false;  // then add_fixed in place of add
  AddFixedParams add_fixed = {};
  const uint8_t* table = nullptr;  // 256 entries, or null
};

// Reads and checks the attributes, z and the table, and the output's dtype.
QEpilogue parse_q_epilogue(const BindContext& ctx);

// Weights, bias and multipliers of `channels` outputs, checked: s8 or s16 weights, every |s16| <= 255, m finite.
// The fixed scheme has multipliers and shifts in place of m.
struct QWeights {
  const View* w = nullptr;
  const int32_t* bias = nullptr;  // null: zeros
  const float* m = nullptr;
  const int32_t *multiplier = nullptr, *shift = nullptr;
  bool m_per_channel = false;
};
// Fails on s16 weights outside [-255, 255].
void check_q_weights(const BindContext& ctx, const View& w);
QWeights parse_q_weights(const BindContext& ctx, int64_t channels);

struct QConvParams {
  int64_t outputs = 0, group = 1, group_c = 0;  // output channels, groups, input channels of one group
  int64_t kh = 1, kw = 1, stride_h = 1, stride_w = 1, dil_h = 1, dil_w = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool one_d = false;  // [N, W, C]: height 1
  QEpilogue epilogue;
  QWeights weights;

  int64_t channels() const { return group * group_c; }
  int64_t extent_h() const { return (kh - 1) * dil_h + 1; }
  int64_t extent_w() const { return (kw - 1) * dil_w + 1; }
  bool depthwise() const { return group_c == 1 && outputs == group && group > 1; }
  bool pads() const { return top | left | bottom | right; }
};
QConvParams parse_qconv(const BindContext& ctx);

// Output shape, with every size that is multiplied later checked against overflow.
void infer_qconv(const QConvParams& p, InferContext& ctx);

// The border a convolution would like around its input.
Border wanted_border(const QConvParams& p);
int64_t qconv_macs(const QConvParams& p, const View& out);

// A view as images [n, h, w, c] (1-D: h = 1), pitches in elements.
struct Image {
  uint8_t* data = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t image_pitch = 0, row_pitch = 0, pixel_pitch = 0;
  Border border;
};
Image image_of(const View& v, bool one_d);

// Whether pixels that a convolution reads outside the image are there already (the view's border covers the pads).
bool border_covers(const QConvParams& p, const Border& granted);

// Dense images with the pads written around them: pitches of such a copy, and the copy itself (images [first, last)).
Image padded_shape(const QConvParams& p, const Image& x);
void pad_images(Region& pool, const QConvParams& p, const Image& x, int64_t first, int64_t last, const Image& padded,
                uint8_t* to);

// The depthwise operator (group == channels, one output each); make_QConv sends such steps here.
std::unique_ptr<Op> make_qconv_depthwise(const BindContext& ctx);

}  // namespace octavo
