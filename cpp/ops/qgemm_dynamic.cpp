// QGemmDynamic: activations quantized at run time times constant weights, float out.
//   acc[.., n] = sum over k of (x[.., k] - x_zp) * w[n, k]               (mod 2^32)
//   y = act(fl(fl32(acc) * fl(scale * m[n])) + bias[n] + z)              each stage rounded to float32
//
// x_zp leaves the K loop: it becomes -x_zp * sum(w[n]) in the accumulators' start values, written at each run.
#include <algorithm>

#include "ops/copy.h"
#include "ops/float_common.h"
#include "ops/qgemm.h"

namespace octavo {
namespace {

class QGemmDynamic : public Op {
 public:
  explicit QGemmDynamic(const BindContext& ctx)
      : act_(parse_activation(ctx, "act", "act_")), eltwise_(eltwise_f32(ctx.isa)) {
    check_arity(ctx, 3, 7);
    ctx.need(0, DType::u8);
    ctx.need(1, DType::u8);
    ctx.need(3, DType::f32);
    if (ctx.inputs[0].rank < 1) ctx.fail("the input must have at least one axis");
    const View* w = ctx.constant_or_null(2);
    if (!w || w->shape.rank != 2 || (w->dtype != DType::s8 && w->dtype != DType::s16))
      ctx.fail("weights (input 2) must be a constant [N, K] of dtype int8 or int16");
    n_ = w->shape[0], k_ = w->shape[1];
    if (ctx.has(6)) ctx.need(6, DType::f32);
    check_dtype(ctx, 0, DType::f32);
    const View& m = ctx.constant(4, DType::f32);
    if (m.elements() != 1 && m.elements() != n_)
      ctx.fail("m has %lld entries, expected 1 or %lld", (long long)m.elements(), (long long)n_);
    if (ctx.has(5)) {
      const View& b = ctx.constant(5, DType::f32);
      if (b.elements() != n_)
        ctx.fail("the bias has %lld entries, expected %lld", (long long)b.elements(), (long long)n_);
      bias_ = b.as<float>();
    }
    QWeights q;
    q.w = w;
    q.m = m.as<float>(), q.m_per_channel = m.elements() != 1;
    check_q_weights(ctx, *w);
    packed_ = GemmS8Packed(find_gemm_s8(ctx.isa), gemm_weights(q, 0, n_, 1, k_, 1, true));
    sum_weights(*w);
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    if (y.rank < 1 || y[-1] != k_)
      ctx.fail("the last axis of the input should have %lld elements, as the weights do", (long long)k_);
    if (ctx.in[1].elements() != 1) ctx.fail("x_zp (input 1) must be a scalar");
    if (ctx.in[3].elements() != 1) ctx.fail("scale (input 3) must be a scalar");
    y[-1] = n_;
    set_shape(ctx, 0, y);
    if (ctx.has(6) && ctx.in[6].shape != y) ctx.fail("the residual input's shape differs from the output's");
  }

  size_t scratch_bytes(const View* in, const View*, int) const override {
    return 2 * side_bytes() + (overreads(in[0], k_) ? in[0].bytes() + 64 : 0);
  }

  void run(RunContext& ctx) const override {
    View x = ctx.in[0];
    if (ctx.out[0].elements() == 0) return;
    if (overreads(x, k_)) {
      copy_rows(ctx.pool, x, 0, ctx.scratch + 2 * side_bytes());
      x.data = ctx.scratch + 2 * side_bytes();
      x.set_dense_pitches();
    }
    int32_t* bias = reinterpret_cast<int32_t*>(ctx.scratch);
    const uint32_t zp = ctx.in[1].as<uint8_t>()[0];
    float* m = reinterpret_cast<float*>(ctx.scratch + side_bytes());
    const float scale = ctx.in[3].as<float>()[0];
    const int32_t *start = packed_.bias(), *sums = sums_.data();
    const float* factors = packed_.m();
    for (size_t i = 0; i < sums_.size(); i++) {
      bias[i] = int32_t(uint32_t(start[i]) - zp * uint32_t(sums[i]));
      m[i] = scale * factors[i];
    }
    const View* z = ctx.inputs > 6 && ctx.in[6].data ? &ctx.in[6] : nullptr;
    GemmS8Job job;
    job.b = &packed_;
    job.bias = bias, job.m = m;
    job.a = x.as<uint8_t>();
    job.in = rows_of(x);
    job.c = ctx.out[0].data;
    job.out = rows_of(ctx.out[0]);
    if (z) job.z = rows_of(*z);
    job.epilogue.kind = GemmS8Epilogue::Kind::f32;
    job.epilogue.bias_f = bias_;
    job.epilogue.z_f = z ? z->as<float>() : nullptr;
    job.epilogue.act = act_.fn, job.epilogue.alpha = act_.alpha, job.epilogue.beta = act_.beta;
    job.epilogue.eltwise = &eltwise_;
    gemm_s8(ctx.pool, job);
  }

  bool strided_in(int k) const override { return k == 0 || k == 6; }
  bool strided_out() const override { return true; }
  std::string kernel() const override { return packed_.name(); }
  int64_t macs(const View*, const View* out) const override { return out[0].elements() * k_; }

 private:
  size_t side_bytes() const { return align_up(packed_.side_elements() * 4); }

  // Sums of each column's weights, in the panels' order.
  void sum_weights(const View& w) {
    sums_.assign(packed_.side_elements(), 0);
    const GemmS8& kernel = *packed_.kernel;
    for (int64_t p = 0; p < packed_.panels; p++) {
      const GemmS8Packed::Panel q = packed_.panel(p);
      for (int32_t j = 0; j < q.nr; j++)
        for (int32_t l = 0; l < kernel.lanes; l++) {
          const int32_t c = packed_.column(q.nr, j, l);
          if (c >= q.cols) continue;
          uint32_t sum = 0;
          for (int64_t k = (q.first + c) * k_, end = k + k_; k < end; k++)
            sum += uint32_t(w.dtype == DType::s8 ? int32_t(w.as<int8_t>()[k]) : int32_t(w.as<int16_t>()[k]));
          sums_[q.side + size_t(j * kernel.lanes + l)] = int32_t(sum);
        }
    }
  }

  int64_t n_ = 0, k_ = 0;
  GemmS8Packed packed_;
  std::vector<int32_t> sums_;
  const float* bias_ = nullptr;
  Activation act_;
  const EltwiseF32& eltwise_;
};

}  // namespace

std::unique_ptr<Op> make_QGemmDynamic(const BindContext& ctx) { return std::make_unique<QGemmDynamic>(ctx); }

}  // namespace octavo
