// QGemmDynamic: activations quantized at run time times constant weights, float out.
//   acc[.., n] = sum over k of (x[.., k] - x_zp) * w[n, k]               (mod 2^32)
//   y = act(fl(fl32(acc) * fl(scale * m[n])) + bias[n] + z)              each stage rounded to float32
//
// x_zp leaves the K loop: it becomes -x_zp * sum(w[n]) in the accumulators' start values, written at each run.
#include <algorithm>

#include "ops/copy.h"
#include "ops/qgemm.h"

namespace octavo {
namespace {

class QGemmDynamic : public Op {
 public:
  explicit QGemmDynamic(const BindContext& ctx) {
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
    m_.assign(m.as<float>(), m.as<float>() + m.elements());
    if (m.elements() == 1) m_.resize(size_t(n_), m.as<float>()[0]);
    if (ctx.has(5)) {
      const View& b = ctx.constant(5, DType::f32);
      if (b.elements() != n_)
        ctx.fail("the bias has %lld entries, expected %lld", (long long)b.elements(), (long long)n_);
      bias_ = b.as<float>();
    }
    QWeights q;
    q.w = w;
    check_q_weights(ctx, *w);
    packed_ = GemmS8Packed(find_gemm_s8(ctx.isa), gemm_weights(q, 0, n_, 1, k_));
    sum_weights(*w);
    make_activation(ctx);
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

  size_t scratch_bytes(const View* in, const View* out, int threads) const override {
    const size_t product = side_bytes() + (overreads(in[0], k_) ? in[0].bytes() + 64 : 0);
    return std::max(product, activation_ ? activation_->scratch_bytes(out, out, threads) : 0);
  }

  void run(RunContext& ctx) const override {
    View x = ctx.in[0];
    if (ctx.out[0].elements() == 0) return;
    if (overreads(x, k_)) {
      copy_rows(ctx.pool, x, 0, ctx.scratch + side_bytes());
      x.data = ctx.scratch + side_bytes();
      x.set_dense_pitches();
    }
    int32_t* bias = reinterpret_cast<int32_t*>(ctx.scratch);
    const uint32_t zp = ctx.in[1].as<uint8_t>()[0];
    for (size_t i = 0; i < sums_.size(); i++) bias[i] = int32_t(uint32_t(packed_.bias()[i]) - zp * uint32_t(sums_[i]));
    const View* z = ctx.inputs > 6 && ctx.in[6].data ? &ctx.in[6] : nullptr;
    GemmS8Job job;
    job.b = &packed_;
    job.bias = bias;
    job.a = x.as<uint8_t>();
    job.in = rows_of(x);
    job.c = ctx.out[0].data;
    job.out = rows_of(ctx.out[0]);
    if (z) job.z = rows_of(*z);
    job.epilogue.kind = GemmS8Epilogue::Kind::f32;
    job.epilogue.scale = ctx.in[3].as<float>()[0];
    job.epilogue.m = m_.data();
    job.epilogue.bias_f = bias_;
    job.epilogue.z_f = z ? z->as<float>() : nullptr;
    gemm_s8(ctx.pool, job);
    if (activation_) {
      View y = ctx.out[0];
      RunContext act{&y, &ctx.out[0], 1, 1, ctx.scratch, ctx.pool};
      activation_->run(act);
    }
  }

  bool strided_in(int k) const override { return k == 0 || k == 6; }
  bool strided_out() const override { return !activation_; }
  std::string kernel() const override { return packed_.name(); }
  int64_t macs(const View*, const View* out) const override { return out[0].elements() * k_; }

 private:
  size_t side_bytes() const { return align_up(packed_.side_elements() * 4); }

  // The activation is the Unary operator itself, in place: then fusing it cannot change a byte.
  void make_activation(const BindContext& ctx) {
    const std::string fn = ctx.step.s("act", "");
    if (fn.empty()) return;
    const MakeOp make = find_op("Unary");
    if (make == nullptr) ctx.fail("act '%s' needs the Unary operator, which this build lacks", fn.c_str());
    act_step_ = StepDef{"Unary", ctx.step.name, {0}, {0}, {{"fn", fn}}};
    for (const char* key : {"lo", "hi", "alpha", "beta"}) {
      const auto it = ctx.step.attrs.find(std::string("act_") + key);
      if (it != ctx.step.attrs.end()) act_step_.attrs[key] = it->second;
    }
    BindContext bind{act_step_,
                     ctx.isa,
                     {{DType::f32, ctx.inputs[0].rank, nullptr, true}},
                     {{DType::f32, ctx.inputs[0].rank, nullptr, true}}};
    activation_ = make(bind);
    if (!activation_->in_place(0)) ctx.fail("act '%s' cannot run in place", fn.c_str());
  }

  // Sums of each column's weights, in the panels' order.
  void sum_weights(const View& w) {
    sums_.assign(packed_.side_elements(), 0);
    const GemmS8& kernel = *packed_.kernel;
    for (int64_t p = 0; p < packed_.panels; p++) {
      const GemmS8Packed::Panel q = packed_.panel(p);
      for (int32_t j = 0; j < q.nr; j++)
        for (int32_t l = 0; l < kernel.lanes; l++) {
          const int32_t c = GemmS8Packed::column(kernel, q.nr, j, l);
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
  std::vector<float> m_;
  std::vector<int32_t> sums_;
  const float* bias_ = nullptr;
  StepDef act_step_;  // outlives the operator made of it
  std::unique_ptr<Op> activation_;
};

}  // namespace

std::unique_ptr<Op> make_QGemmDynamic(const BindContext& ctx) { return std::make_unique<QGemmDynamic>(ctx); }

}  // namespace octavo
