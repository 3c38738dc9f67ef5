// Attention: scaled dot-product attention in float32, with heads beside the channels as projections leave them.
//   s[m, n] = fl(fl(chain over d of q[m, d] * k[n, d] (/ divide, or * multiply)) + mask[m, n]);  p = softmax(s[m, :])
//   y[m, e] = chain over n of p[m, n] * v[n, e]
// Every stage is the separate operator's (MatMul, Binary, Softmax), rounding for rounding; but the scores are made,
// normalised and used a block of rows at a time, so they never leave the cache, and nothing is transposed.
#include <algorithm>

#include "core/buffer.h"
#include "kernels/softmax_f32/softmax_f32.h"
#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

constexpr int64_t kRows = 28;  // of scores in a block: two tiles of the largest kernel

Shape shape4(int64_t a, int64_t b, int64_t c, int64_t d) {
  Shape s;
  s.rank = 4;
  s.dim[0] = a, s.dim[1] = b, s.dim[2] = c, s.dim[3] = d;
  return s;
}

class Attention : public Op {
 public:
  explicit Attention(const BindContext& ctx)
      : gemm_(gemm_f32(ctx.isa)),
        eltwise_(eltwise_f32(ctx.isa)),
        softmax_(*static_cast<const SoftmaxF32*>(find_kernel("softmax_f32", ctx.isa))) {
    check_arity(ctx, 3, 4);
    for (int k = 0; k < 4; k++) {
      if (k == 3 && !ctx.has(3)) continue;
      ctx.need(k, DType::f32);
      if (k < 3 ? ctx.inputs[k].rank != 4 : ctx.inputs[k].rank > 4)
        ctx.fail("input %d has rank %d, expected %s", k, ctx.inputs[k].rank, k < 3 ? "4" : "at most 4");
    }
    check_dtype(ctx, 0, DType::f32);
    has_mask_ = ctx.has(3);
    if (ctx.step.has("divide") && ctx.step.has("multiply")) ctx.fail("divide and multiply exclude each other");
    divide_ = ctx.step.has("divide");
    if (divide_ || ctx.step.has("multiply")) scale_ = float(ctx.step.f(divide_ ? "divide" : "multiply"));
  }

  void infer(InferContext& ctx) const override {
    const Shape &q = ctx.in[0].shape, &k = ctx.in[1].shape, &v = ctx.in[2].shape;
    if (q[3] != k[3]) ctx.fail("queries have %lld channels but keys have %lld", (long long)q[3], (long long)k[3]);
    if (has_mask_ && ctx.in[3].shape.rank > 4)  // its rank may be unknown until now
      ctx.fail("the mask has rank %d, expected at most 4", ctx.in[3].shape.rank);
    Sizes s;
    if (!sizes(ctx.in.data(), s)) ctx.fail("the batch, head and mask axes of the inputs do not broadcast");
    if (v[1] != s.N) ctx.fail("there are %lld values for %lld keys", (long long)v[1], (long long)s.N);
    if (s.N > kMaxElements / std::max<int64_t>(1, std::max(s.D, s.E) + kRows))
      ctx.fail("keys that the mask repeats %lld times are absurdly many", (long long)s.N);
    set_shape(ctx, 0, shape4(s.B, s.M, s.H, s.E));
  }

  size_t scratch_bytes(const View* in, const View*, int threads) const override {
    Sizes s;
    sizes(in, s);
    return work(s).bytes * size_t(std::max(1, threads)) + 64;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    Sizes s;
    sizes(ctx.in, s);
    const Work w = work(s);
    // A unit is one head of one image, or part of its rows when there are fewer heads than threads.
    const int64_t heads = s.B * s.H, threads = ctx.pool.threads();
    const int64_t wanted = ctx.pool.chunks_for(heads * s.M * s.N * (s.D + s.E), 1 << 20);
    const int64_t cuts = heads >= threads ? 1 : std::max<int64_t>(1, std::min(wanted, s.M / kRows));
    const int64_t units = heads * cuts, chunks = std::min(units, wanted);
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int worker) {
      for (int64_t u = units * chunk / chunks; u < units * (chunk + 1) / chunks; u++)
        head(ctx, s, w, u / cuts, s.M * (u % cuts) / cuts, s.M * (u % cuts + 1) / cuts,
             ctx.scratch + size_t(worker) * w.bytes);
    });
  }

  std::string kernel() const override { return "gemm_f32 " + std::to_string(gemm_.lanes) + " lanes"; }
  int64_t macs(const View* in, const View* out) const override {
    Sizes s;  // of an empty result they may be huge
    return out[0].elements() > 0 && sizes(in, s) ? s.B * s.H * s.M * s.N * (s.D + s.E) : 0;
  }

 private:
  struct Sizes {
    int64_t B = 0, H = 0, M = 0, N = 0, D = 0, E = 0;
  };
  struct Work {
    size_t v = 0, scores = 0, bytes = 0;  // k is packed at 0
  };

  // The sizes that q [B, M, H, D], k [B, N, H, D], v [B, N, H, E] and mask [B, H, M, N] broadcast to.
  bool sizes(const View* in, Sizes& s) const {
    const Shape &q = in[0].shape, &k = in[1].shape, &v = in[2].shape;
    Shape all;
    if (!broadcast(shape4(q[0], q[2], q[1], 1), shape4(k[0], k[2], 1, k[1]), all)) return false;
    if (has_mask_ && !broadcast(all, in[3].shape, all)) return false;
    s.M = all[2], s.N = all[3];
    if (!broadcast(all, shape4(v[0], v[2], 1, 1), all)) return false;
    s.B = all[0], s.H = all[1];
    s.D = q[3], s.E = v[3];
    return true;
  }

  Work work(const Sizes& s) const {
    Work w;
    w.v = align_up(size_t(gemm_f32_packed_floats(gemm_, s.D, s.N)) * 4 + kSlack);
    w.scores = w.v + align_up(size_t(gemm_f32_packed_floats(gemm_, s.N, s.E)) * 4 + kSlack);
    w.bytes = align_up(w.scores + size_t(std::min(kRows, s.M) * s.N) * 4 + kSlack);
    return w;
  }

  // Rows [m0, m1) of head `unit`.
  void head(RunContext& ctx, const Sizes& s, const Work& w, int64_t unit, int64_t m0, int64_t m1,
            uint8_t* scratch) const {
    const int64_t b = unit / s.H, h = unit % s.H, zero = 0;
    const Operand q(ctx.in[0], b, h), k(ctx.in[1], b, h), v(ctx.in[2], b, h);
    float* packed_k = reinterpret_cast<float*>(scratch);
    float* packed_v = reinterpret_cast<float*>(scratch + w.v);
    float* scores = reinterpret_cast<float*>(scratch + w.scores);
    const int64_t panels_k = gemm_f32_panels(gemm_, s.N), panels_v = gemm_f32_panels(gemm_, s.E);
    gemm_f32_pack(gemm_, k.data, 1, k.row, s.D, s.N, 0, panels_k, packed_k);
    gemm_f32_pack(gemm_, v.data, v.row, 1, s.N, s.E, 0, panels_v, packed_v);
    const GemmF32Job qk{&gemm_, &eltwise_, packed_k, s.D, s.N, &zero, 1, s.D, nullptr, UnaryFn::None, 0, 0};
    const GemmF32Job pv{&gemm_, &eltwise_, packed_v, s.N, s.E, &zero, 1, s.N, nullptr, UnaryFn::None, 0, 0};
    const int64_t blocks = (m1 - m0 + kRows - 1) / kRows, row = s.H * s.E;
    for (int64_t i = 0; i < blocks; i++) {
      const int64_t first = m0 + (m1 - m0) * i / blocks, rows = m0 + (m1 - m0) * (i + 1) / blocks - first;
      gemm_f32_rows(qk, q.data + first * q.row, q.row, nullptr, 0, scores, s.N, rows, 0, panels_k);
      softmax_.scores(scores, rows, s.N, scores_of(ctx, b, h, first, s.N));
      gemm_f32_rows(pv, scores, s.N, nullptr, 0, ctx.out[0].as<float>() + ((b * s.M + first) * s.H + h) * s.E, row,
                    rows, 0, panels_v);
    }
  }

  // How the scores of rows from `first` on are scaled and masked.
  ScoresF32 scores_of(RunContext& ctx, int64_t b, int64_t h, int64_t first, int64_t n) const {
    ScoresF32 how;
    how.divide = divide_, how.by = scale_;
    if (!has_mask_) return how;
    const Shape& shape = ctx.in[3].shape;
    auto size = [&](int axis) { return axis <= shape.rank ? shape[-axis] : 1; };
    const int64_t head = size(1) * size(2);
    how.mask_row = size(2) == 1 ? 0 : size(1);
    how.mask = ctx.in[3].as<float>() + (size(3) == 1 ? 0 : h * head) + (size(4) == 1 ? 0 : b * head * size(3)) +
               first * how.mask_row;
    how.mask_scalar = size(1) == 1 && n != 1;
    return how;
  }

  // Rows of head h of image b; an axis of one element repeats.
  struct Operand {
    const float* data;
    int64_t row;
    Operand(const View& x, int64_t b, int64_t h) {
      const Shape& s = x.shape;
      row = s[1] == 1 ? 0 : s[2] * s[3];
      data = x.as<float>() + (s[0] == 1 ? 0 : b * s[1] * s[2] * s[3]) + (s[2] == 1 ? 0 : h * s[3]);
    }
  };

  const GemmF32& gemm_;
  const EltwiseF32& eltwise_;
  const SoftmaxF32& softmax_;
  bool has_mask_ = false, divide_ = false;
  float scale_ = 1.0f;
};

}  // namespace

std::unique_ptr<Op> make_Attention(const BindContext& ctx) { return std::make_unique<Attention>(ctx); }

}  // namespace octavo
