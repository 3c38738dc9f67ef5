// QGemm: y[.., n] = epilogue(bias[n] + sum over k of x[.., k] * w[n, k]) on the last axis; the epilogue is QConv's.
#include "ops/qgemm.h"
#include "ops/quantized_attrs.h"

#include <cstring>

#include "ops/copy.h"

namespace octavo {

GemmS8Rows rows_of(const View& v) {
  const int r = v.shape.rank;
  GemmS8Rows g;
  g.rows = r >= 2 ? v.shape[-2] : 1;
  g.lines_per_image = r >= 3 ? v.shape[-3] : 1;
  g.lines = r >= 3 ? v.shape.span(0, r - 2) : 1;
  g.row = r >= 2 ? v.pixel_pitch : r == 1 ? v.shape[0] : 1;
  g.line = r >= 3 ? v.row_pitch : 0;
  g.image = r >= 4 ? v.image_pitch : 0;
  return g;
}

GemmS8Epilogue gemm_epilogue(const QEpilogue& e, const View* z, const LutS8* lut, const EltwiseS8* adder,
                             const EltwiseFixed* fixed) {
  GemmS8Epilogue g;
  g.kind = e.out_s32 ? GemmS8Epilogue::Kind::s32 : e.out_f32 ? GemmS8Epilogue::Kind::f32 : GemmS8Epilogue::Kind::u8;
  g.zp = e.y_zp, g.lo = e.lo, g.hi = e.hi;
  g.table = e.table;
  g.lut = lut;
  g.once = e.once;
  if (e.has_z && z) {
    g.z = z->as<uint8_t>();
    g.adder = adder, g.add = kernel_params<AddS8Params>(e.add);
    g.fixed = fixed, g.add_fixed = e.add_fixed;
  }
  return g;
}

GemmS8Weights gemm_weights(const QWeights& q, int64_t first, int64_t count, int64_t segments, int64_t length,
                           int64_t inner, bool natural) {
  GemmS8Weights w;
  w.dtype = q.w->dtype;
  w.w = q.w->as<uint8_t>() + first * segments * length * int64_t(size_of(w.dtype));
  w.n = count, w.segments = segments, w.segment_length = length, w.inner = inner;
  w.natural = natural;
  w.bias = q.bias ? q.bias + first : nullptr;
  w.m_stride = q.m_per_channel ? 1 : 0;
  if (q.m) w.m = q.m + first * w.m_stride;
  if (q.multiplier) w.multiplier = q.multiplier + first * w.m_stride, w.shift = q.shift + first * w.m_stride;
  return w;
}

void copy_rows(Region& pool, const View& x, uint8_t flip, uint8_t* to) {
  const GemmS8Rows g = rows_of(x);
  const int64_t k = x.shape.rank ? x.shape[-1] : 1, lines = g.lines;
  if (g.lines_per_image <= 0) return;
  const int64_t chunks = pool.chunks_for(lines * g.rows * k, 256 << 10), rows = lines * g.rows;
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    for (int64_t i = rows * chunk / chunks; i < rows * (chunk + 1) / chunks; i++) {
      const int64_t line = i / g.rows, r = i % g.rows;
      const uint8_t* from =
          x.as<uint8_t>() + line / g.lines_per_image * g.image + line % g.lines_per_image * g.line + r * g.row;
      uint8_t* row = to + i * k;
      if (flip == 0) {
        std::memcpy(row, from, size_t(k));
      } else {
        for (int64_t j = 0; j < k; j++) row[j] = from[j] ^ flip;
      }
    }
  });
}

namespace {

class QGemm : public Op {
 public:
  explicit QGemm(const BindContext& ctx) {
    check_arity(ctx, 2, 6);
    ctx.need(0, DType::u8);
    const View* w = ctx.constant_or_null(1);
    if (!w || w->shape.rank != 2) ctx.fail("weights (input 1) must be a constant of shape [N, K]");
    if (ctx.inputs[0].rank < 1) ctx.fail("the input must have at least one axis");
    n_ = w->shape[0], k_ = w->shape[1];
    epilogue_ = parse_q_epilogue(ctx);
    const QWeights q = parse_q_weights(ctx, n_);
    const GemmS8* kernel = q.multiplier ? find_gemm_s8_fixed(ctx.isa) : find_gemm_s8(ctx.isa);
    packed_ = GemmS8Packed(kernel, gemm_weights(q, 0, n_, 1, k_, 1, epilogue_.out_f32));
    if (epilogue_.table) lut_ = &lut_s8(ctx.isa);
    if (epilogue_.has_z && q.multiplier)
      fixed_ = &eltwise_fixed(ctx.isa);
    else if (epilogue_.has_z)
      adder_ = &eltwise_s8(ctx.isa);
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    if (y.rank < 1 || y[-1] != k_)
      ctx.fail("the last axis of the input should have %lld elements, as the weights do", (long long)k_);
    y[-1] = n_;
    set_shape(ctx, 0, y);
    if (epilogue_.has_z && ctx.in[4].shape != y) ctx.fail("the residual input's shape differs from the output's");
  }

  size_t scratch_bytes(const View* in, const View*, int) const override {
    return overreads(in[0], k_) ? in[0].bytes() + 64 : 0;
  }

  void run(RunContext& ctx) const override {
    View x = ctx.in[0];
    if (ctx.out[0].elements() == 0) return;
    if (overreads(x, k_)) {
      copy_rows(ctx.pool, x, 0, ctx.scratch);
      x.data = ctx.scratch;
      x.set_dense_pitches();
    }
    GemmS8Job job;
    job.b = &packed_;
    job.a = x.as<uint8_t>();
    job.in = rows_of(x);
    job.c = ctx.out[0].data;
    job.out = rows_of(ctx.out[0]);
    if (epilogue_.has_z) job.z = rows_of(ctx.in[4]);
    job.epilogue = gemm_epilogue(epilogue_, epilogue_.has_z ? &ctx.in[4] : nullptr, lut_, adder_, fixed_);
    gemm_s8(ctx.pool, job);
  }

  bool strided_in(int k) const override { return k == 0 || k == 4; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return packed_.name(); }
  int64_t macs(const View*, const View* out) const override { return out[0].elements() * k_; }

 private:
  int64_t n_ = 0, k_ = 0;
  QEpilogue epilogue_;
  GemmS8Packed packed_;
  const LutS8* lut_ = nullptr;
  const EltwiseS8* adder_ = nullptr;
  const EltwiseFixed* fixed_ = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_QGemm(const BindContext& ctx) { return std::make_unique<QGemm>(ctx); }

}  // namespace octavo
