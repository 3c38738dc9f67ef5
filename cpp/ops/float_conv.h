// Geometry and checks shared by Conv and ConvTranspose.
#pragma once

#include "core/buffer.h"
#include "ops/copy.h"
#include "ops/float_common.h"
#include "ops/qconv.h"
#include "ops/restore.h"

namespace octavo {

struct FloatConv {
  int64_t O = 0, kh = 1, kw = 1, group_c = 0, group = 1;
  int64_t stride_h = 1, stride_w = 1, dil_h = 1, dil_w = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  bool one_d = false;
  const float* w = nullptr;            // null when the weights are stored small
  std::unique_ptr<Restored> restored;  // then these are they

  int64_t channels() const { return group_c * group; }
  int64_t group_o() const { return O / group; }
  int64_t extent_h() const { return (kh - 1) * dil_h + 1; }
  int64_t extent_w() const { return (kw - 1) * dil_w + 1; }
  int64_t taps() const { return kh * kw; }
  bool pads() const { return top | left | bottom | right; }
};

// Inputs x, w const [O, kH, kW, C/group], bias?; attributes strides, dilations, pads, group. With `restores`, w may be
// stored small (restore.h), its further inputs from 4 on.
FloatConv parse_float_conv(const BindContext& ctx, bool restores = false);
// Checks x against the weights and bias; returns the batch, height and width of the input.
void check_float_conv(const FloatConv& p, InferContext& ctx);

}  // namespace octavo
