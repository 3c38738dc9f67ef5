// Attributes, shapes and padding of the quantized convolutions (qconv.h).
#include <cmath>
#include <cstring>

#include "ops/copy.h"
#include "ops/qconv.h"
#include "ops/quantized_attrs.h"

namespace octavo {
namespace {

constexpr int64_t kMaxStep = int64_t(1) << 20;   // largest stride, dilation or pad that is taken seriously
constexpr int64_t kMaxBytes = int64_t(1) << 40;  // largest tensor

std::vector<int64_t> list_attr(const BindContext& ctx, const char* key, size_t n, int64_t otherwise, int64_t least) {
  std::vector<int64_t> v = ctx.step.ints(key, std::vector<int64_t>(n, otherwise));
  if (v.size() != n) ctx.fail("attribute %s has %zu entries, expected %zu", key, v.size(), n);
  for (int64_t x : v)
    if (x < least || x > kMaxStep)
      ctx.fail("attribute %s holds %lld, which is outside [%lld, %lld]", key, (long long)x, (long long)least,
               (long long)kMaxStep);
  return v;
}

}  // namespace

QEpilogue parse_q_epilogue(const BindContext& ctx) {
  QEpilogue e;
  e.x_zp = byte_attribute(ctx, "x_zp", 0);
  e.y_zp = byte_attribute(ctx, "y_zp", 0);
  e.lo = byte_attribute(ctx, "lo", 0);
  e.hi = byte_attribute(ctx, "hi", 255);
  if (e.lo > e.hi) ctx.fail("lo (%d) is above hi (%d)", e.lo, e.hi);
  e.out_f32 = ctx.step.i("out_f32", 0) != 0;
  e.once = ctx.step.i("once", 0) != 0;
  if (ctx.has(4)) {
    ctx.need(4, DType::u8);
    e.has_z = true;
    e.fixed_add = ctx.step.has("add_fixed_y");
    if (e.fixed_add)
      e.add_fixed = add_fixed_attributes(ctx, "add_");
    else
      e.add = add_params(ctx, "add_");
  }
  if (ctx.has(5)) {
    const View& t = ctx.constant(5, DType::u8);
    if (t.elements() != 256) ctx.fail("the table has %lld entries, expected 256", (long long)t.elements());
    e.table = t.as<uint8_t>();
  }
  e.out_s32 = ctx.step.i("out_s32", 0) != 0;
  if ((e.out_f32 || e.out_s32) && (e.has_z || e.table))
    ctx.fail("out_f32 and out_s32 allow neither a residual input nor a table");
  if (e.out_f32 && e.out_s32) ctx.fail("out_f32 and out_s32 exclude one another");
  check_dtype(ctx, 0, e.out_s32 ? DType::s32 : e.out_f32 ? DType::f32 : DType::u8);
  return e;
}

void check_q_weights(const BindContext& ctx, const View& w) {
  if (w.dtype != DType::s16) return;
  for (int64_t i = 0, n = w.elements(); i < n; i++)
    if (w.as<int16_t>()[i] < -255 || w.as<int16_t>()[i] > 255)
      ctx.fail("int16 weights hold %d; w - w_zp of 8-bit weights lies in [-255, 255]", w.as<int16_t>()[i]);
}

// s32 [2, channels] or [2, 1]: multipliers and shifts.
static void parse_fixed_scales(const BindContext& ctx, const View& m, int64_t channels, QWeights& q) {
  if (m.shape.rank != 2 || m.shape[0] != 2 || (m.shape[1] != 1 && m.shape[1] != channels))
    ctx.fail("m of the fixed scheme must have shape [2, 1] or [2, %lld]: multipliers and shifts", (long long)channels);
  if (ctx.step.i("out_f32", 0) != 0 || ctx.step.i("out_s32", 0) != 0) ctx.fail("out_f32 and out_s32 need a float m");
  q.m_per_channel = m.shape[1] != 1;
  q.multiplier = m.as<int32_t>();
  q.shift = q.multiplier + m.shape[1];
  for (int64_t i = 0; i < m.shape[1]; i++)
    if (q.multiplier[i] < 0 || q.shift[i] < -31 || q.shift[i] > 30)
      ctx.fail("m[:, %lld] is (%d, %d); multipliers are not negative and shifts lie in [-31, 30]", (long long)i,
               q.multiplier[i], q.shift[i]);
}

QWeights parse_q_weights(const BindContext& ctx, int64_t channels) {
  QWeights q;
  q.w = ctx.constant_or_null(1);
  if (!q.w || (q.w->dtype != DType::s8 && q.w->dtype != DType::s16))
    ctx.fail("weights (input 1) must be a constant of dtype int8 or int16");
  check_q_weights(ctx, *q.w);
  if (ctx.has(2)) {
    const View& b = ctx.constant(2, DType::s32);
    if (b.elements() != channels)
      ctx.fail("the bias has %lld entries, expected %lld", (long long)b.elements(), (long long)channels);
    q.bias = b.as<int32_t>();
  }
  const View* scales = ctx.constant_or_null(3);
  const bool fixed = scales && scales->dtype == DType::s32;
  if (ctx.has(4) && fixed != ctx.step.has("add_fixed_y"))
    ctx.fail(
        "the residual addition must follow the same scheme as m: add_fixed_a, add_fixed_b and add_fixed_y for s32");
  if (fixed) {
    parse_fixed_scales(ctx, *scales, channels, q);
    return q;
  }
  if (ctx.step.i("once", 0) != 0) ctx.fail("attribute once belongs to the fixed scheme, whose m is s32");
  const View& m = ctx.constant(3, DType::f32);
  if (m.elements() != 1 && m.elements() != channels)
    ctx.fail("m has %lld entries, expected 1 or %lld", (long long)m.elements(), (long long)channels);
  q.m = m.as<float>();
  q.m_per_channel = m.elements() != 1;
  for (int64_t i = 0; i < m.elements(); i++)
    if (!std::isfinite(q.m[i])) ctx.fail("m[%lld] is not finite", (long long)i);
  return q;
}

QConvParams parse_qconv(const BindContext& ctx) {
  check_arity(ctx, 2, 6);
  ctx.need(0, DType::u8);
  QConvParams p;
  const View* w = ctx.constant_or_null(1);
  if (!w) ctx.fail("weights (input 1) must be constant");
  if (w->shape.rank != 3 && w->shape.rank != 4)
    ctx.fail("weights have rank %d, expected 4 [O, kH, kW, C/group] or 3 [O, kW, C/group]", w->shape.rank);
  p.one_d = w->shape.rank == 3;
  if (ctx.inputs[0].rank != w->shape.rank)
    ctx.fail("input has rank %d but weights have rank %d", ctx.inputs[0].rank, w->shape.rank);
  for (int i = 0; i < w->shape.rank; i++)
    if (w->shape[i] < 1) ctx.fail("weights have an empty axis");
  p.outputs = w->shape[0];
  p.kh = p.one_d ? 1 : w->shape[1];
  p.kw = w->shape[-2];
  p.group_c = w->shape[-1];
  p.group = ctx.step.i("group", 1);
  if (p.group < 1 || p.group > p.outputs || p.outputs % p.group)
    ctx.fail("group %lld does not divide the %lld output channels", (long long)p.group, (long long)p.outputs);
  const size_t d = p.one_d ? 1 : 2;
  const std::vector<int64_t> s = list_attr(ctx, "strides", d, 1, 1), l = list_attr(ctx, "dilations", d, 1, 1);
  const std::vector<int64_t> g = list_attr(ctx, "pads", 2 * d, 0, 0);
  p.stride_w = s[d - 1], p.dil_w = l[d - 1];
  p.left = g[d - 1], p.right = g[2 * d - 1];
  if (!p.one_d) p.stride_h = s[0], p.dil_h = l[0], p.top = g[0], p.bottom = g[2];
  p.epilogue = parse_q_epilogue(ctx);
  p.weights = parse_q_weights(ctx, p.outputs);
  return p;
}

void infer_qconv(const QConvParams& p, InferContext& ctx) {
  const Shape& x = ctx.in[0].shape;
  if (x.rank != (p.one_d ? 3 : 4)) ctx.fail("input has rank %d, expected %d", x.rank, p.one_d ? 3 : 4);
  if (x[-1] != p.channels())
    ctx.fail("input has %lld channels, weights expect %lld", (long long)x[-1], (long long)p.channels());
  Shape y = x;
  auto size = [&](int64_t in, int64_t pads, int64_t extent, int64_t stride) {
    if (in < 0 || in > kMaxBytes) ctx.fail("input size %lld is out of range", (long long)in);
    if (in + pads < extent)
      ctx.fail("the kernel covers %lld pixels but the padded input has only %lld", (long long)extent,
               (long long)(in + pads));
    return (in + pads - extent) / stride + 1;
  };
  y[-2] = size(x[-2], p.left + p.right, p.extent_w(), p.stride_w);
  if (!p.one_d) y[1] = size(x[1], p.top + p.bottom, p.extent_h(), p.stride_h);
  y[-1] = p.outputs;
  // The padded copy that run() may need must fit as well.
  int64_t bytes = x[0] > 0 ? x[0] : 1;
  const int64_t h = p.one_d ? 1 : x[1] + p.top + p.bottom;
  if (__builtin_mul_overflow(bytes, h, &bytes) || __builtin_mul_overflow(bytes, x[-2] + p.left + p.right, &bytes) ||
      __builtin_mul_overflow(bytes, x[-1], &bytes) || bytes > kMaxBytes)
    ctx.fail("the padded input is absurdly large; check pads and dimensions");
  set_shape(ctx, 0, y);
  if (p.epilogue.has_z && ctx.in[4].shape != y) ctx.fail("the residual input's shape differs from the output's");
}

Border wanted_border(const QConvParams& p) {
  return {int32_t(p.top), int32_t(p.left), int32_t(p.bottom), int32_t(p.right)};
}

int64_t qconv_macs(const QConvParams& p, const View& out) { return out.elements() * p.kh * p.kw * p.group_c; }

Image image_of(const View& v, bool one_d) {
  Image i;
  i.data = v.as<uint8_t>();
  i.border = v.border;
  i.pixel_pitch = v.pixel_pitch;
  i.n = v.shape[0], i.w = v.shape[-2], i.c = v.shape[-1];
  if (one_d) {  // a view of rank 3 counts its first axis in rows
    i.h = 1;
    i.image_pitch = i.row_pitch = v.row_pitch;
    i.border.top = i.border.bottom = 0;
  } else {
    i.h = v.shape[1];
    i.row_pitch = v.row_pitch, i.image_pitch = v.image_pitch;
  }
  return i;
}

bool border_covers(const QConvParams& p, const Border& g) {
  return g.top >= p.top && g.left >= p.left && g.bottom >= p.bottom && g.right >= p.right;
}

Image padded_shape(const QConvParams& p, const Image& x) {
  Image i = x;
  i.data = nullptr;
  i.h = x.h + p.top + p.bottom;
  i.w = x.w + p.left + p.right;
  i.pixel_pitch = x.c;
  i.row_pitch = i.w * x.c;
  i.image_pitch = i.h * i.row_pitch;
  i.border = {};
  return i;
}

void pad_images(Region& pool, const QConvParams& p, const Image& x, int64_t first, int64_t last, const Image& padded,
                uint8_t* to) {
  const int fill = p.epilogue.x_zp;
  const int64_t rows = (last - first) * padded.h;
  const size_t left = size_t(p.left * x.c), right = size_t(p.right * x.c), inside = size_t(x.w * x.c);
  const int64_t chunks = pool.chunks_for(rows * padded.row_pitch, 256 << 10);
  auto pad_row = [&](int64_t r) {
    const int64_t n = r / padded.h, y = r % padded.h - p.top;
    uint8_t* out = to + r * padded.row_pitch;
    if (y < 0 || y >= x.h) {
      std::memset(out, fill, size_t(padded.row_pitch));
      return;
    }
    const uint8_t* in = x.data + (first + n) * x.image_pitch + y * x.row_pitch;
    std::memset(out, fill, left);
    out += left;
    if (x.pixel_pitch == x.c) {
      std::memcpy(out, in, inside);
    } else {
      for (int64_t w = 0; w < x.w; w++) std::memcpy(out + w * x.c, in + w * x.pixel_pitch, size_t(x.c));
    }
    std::memset(out + inside, fill, right);
  };
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    for (int64_t r = rows * chunk / chunks; r < rows * (chunk + 1) / chunks; r++) pad_row(r);
  });
}

}  // namespace octavo
