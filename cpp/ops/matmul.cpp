// MatMul: numpy's matmul on float32, with the fused epilogue.
//   y = act(fl(fl(chain + bias) + z)), chain: one fma chain from 0, k ascending.
// A constant b (stored [N, K], trans_b = 1; or [K, N]) is packed once; a run-time b is packed into scratch; one stored
// small (restore.h) is restored into scratch, a panel at a time.
#include "core/buffer.h"
#include "ops/copy.h"
#include "ops/float_common.h"
#include "ops/restore.h"

namespace octavo {
namespace {

class MatMul : public Op {
 public:
  explicit MatMul(const BindContext& ctx)
      : act_(parse_activation(ctx, "act", "act_")),
        gemm_(gemm_f32(ctx.isa)),
        eltwise_(eltwise_f32(ctx.isa)),
        acc64_(ctx.step.i("acc64", 0) != 0),
        trans_b_(ctx.step.i("trans_b", 0) != 0) {
    const bool restores = Restored::wanted(ctx);
    check_arity(ctx, 2, restores ? 7 : 4);
    ctx.need(0, DType::f32);
    if (!restores) ctx.need(1, DType::f32);
    if (ctx.has(2)) ctx.need(2, DType::f32);
    if (ctx.has(3)) ctx.need(3, DType::f32);
    check_dtype(ctx, 0, DType::f32);
    if (restores) {
      if (acc64_) ctx.fail("acc64 takes float32 weights only");
      restored_ = std::make_unique<Restored>(ctx, 1, 4);
      if (restored_->shape().rank != 2) ctx.fail("w_shape has %d entries, expected 2", restored_->shape().rank);
      return;
    }
    const View* b = ctx.constant_or_null(1);
    if (!b || b->shape.rank != 2 || acc64_) return;
    N_ = b->shape[trans_b_ ? 0 : 1], K_ = b->shape[trans_b_ ? 1 : 0];
    packed_ = Buffer(size_t(gemm_f32_packed_floats(gemm_, K_, N_)) * 4);
    gemm_f32_pack(gemm_, b->as<float>(), trans_b_ ? 1 : N_, trans_b_ ? K_ : 1, K_, N_, 0, gemm_f32_panels(gemm_, N_),
                  packed_.as<float>());
    constant_ = true;
  }

  void infer(InferContext& ctx) const override {
    const Shape &a = ctx.in[0].shape, b = shape_of_b(ctx.in[1]);
    if (a.rank < 1 || b.rank < 1) ctx.fail("matmul needs operands of rank 1 or more");
    const Sizes s = sizes(a, b);
    if (s.K != s.Kb)
      ctx.fail("the inner sizes differ: %lld columns against %lld rows", (long long)s.K, (long long)s.Kb);
    Shape batch;
    if (!broadcast(batch_of(a), batch_of(b), batch)) ctx.fail("the batch axes do not broadcast");
    Shape y = batch;
    if (y.rank + (a.rank > 1) + (b.rank > 1) > kMaxRank) ctx.fail("the output would have more than %d axes", kMaxRank);
    if (a.rank > 1) y.dim[y.rank++] = s.M;
    if (b.rank > 1) y.dim[y.rank++] = s.N;
    if (ctx.has(2) && ctx.in[2].elements() != s.N)
      ctx.fail("the bias has %lld elements, expected %lld", (long long)ctx.in[2].elements(), (long long)s.N);
    if (ctx.has(3) && ctx.in[3].shape != y) ctx.fail("the residual input must have the output's shape");
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View* in, const View*, int threads) const override {
    if (restored_) return size_t(threads) * restored_bytes();
    if (constant_ || acc64_) return 0;
    const Sizes s = sizes(in[0].shape, in[1].shape);
    return size_t(gemm_f32_packed_floats(gemm_, s.K, s.N)) * 4 + kSlack;
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Shape &a = ctx.in[0].shape, b = shape_of_b(ctx.in[1]);
    Sizes s = sizes(a, b);
    const Shape ba = batch_of(a), bb = batch_of(b);
    Shape batch;
    broadcast(ba, bb, batch);
    int64_t count = batch.elements();
    if (bb.elements() == 1) s.M *= count, count = 1;  // one matrix b for all: the batch is rows
    const float* bias = ctx.inputs > 2 ? ctx.in[2].as<float>() : nullptr;
    const float* z = ctx.inputs > 3 ? ctx.in[3].as<float>() : nullptr;
    for (int64_t i = 0; i < count; i++) {
      const float* x = ctx.in[0].as<float>() + (count == 1 ? 0 : offset(batch, ba, i)) * s.M * s.K;
      const float* w = ctx.in[1].as<float>() + (count == 1 ? 0 : offset(batch, bb, i)) * s.K * s.N;
      const int64_t at = i * s.M * s.N;
      product(ctx, s, x, w, bias, z ? z + at : nullptr, ctx.out[0].as<float>() + at);
    }
  }

  bool in_place(int k) const override { return k == 3; }
  std::string kernel() const override {
    if (acc64_) return "float64 loop";
    return (restored_ ? "restored gemm_f32 " : "gemm_f32 ") + std::to_string(gemm_.lanes) + " lanes";
  }
  int64_t macs(const View* in, const View* out) const override { return out[0].elements() * in[0].shape[-1]; }

 private:
  struct Sizes {
    int64_t M, K, N, Kb;
  };
  Shape shape_of_b(const View& b) const { return restored_ ? restored_->shape() : b.shape; }
  size_t restored_bytes() const {
    const int64_t K = trans_b_ ? restored_->columns() : restored_->rows();
    return align_up(size_t(restored_panel_floats(gemm_, K)) * 4 + kSlack);
  }
  Sizes sizes(const Shape& a, const Shape& b) const {
    Sizes s;
    s.M = a.rank > 1 ? a[-2] : 1, s.K = a[-1];
    s.N = b.rank > 1 ? b[trans_b_ ? -2 : -1] : 1, s.Kb = b.rank > 1 ? b[trans_b_ ? -1 : -2] : b[0];
    return s;
  }
  static Shape batch_of(const Shape& s) {
    Shape r = s;
    r.rank = std::max(0, s.rank - 2);
    return r;
  }
  // Which matrix of an operand with batch axes `own` belongs to matrix i of the result.
  static int64_t offset(const Shape& batch, const Shape& own, int64_t i) {
    int64_t at = 0, stride = 1;
    for (int k = 1; k <= batch.rank; k++) {
      const int64_t index = i % batch[-k];
      i /= batch[-k];
      if (k > own.rank) continue;
      if (own[-k] != 1) at += index * stride;
      stride *= own[-k];
    }
    return at;
  }

  void product(RunContext& ctx, const Sizes& s, const float* a, const float* b, const float* bias, const float* z,
               float* y) const {
    if (acc64_) return product64(ctx.pool, s, a, b, bias, z, y);
    if (restored_) return product_restored(ctx, s, a, bias, z, y);
    const int64_t panels = gemm_f32_panels(gemm_, s.N), zero = 0;
    const float* packed = packed_.as<float>();
    if (!constant_) {
      float* to = reinterpret_cast<float*>(ctx.scratch);
      const int64_t chunks = std::min(panels, ctx.pool.chunks_for(s.K * s.N, 32 << 10));
      ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
        gemm_f32_pack(gemm_, b, trans_b_ ? 1 : s.N, trans_b_ ? s.K : 1, s.K, s.N, panels * c / chunks,
                      panels * (c + 1) / chunks, to);
      });
      packed = to;
    }
    const GemmF32Job job{&gemm_, &eltwise_, packed, s.K, s.N, &zero, 1, s.K, bias, act_.fn, act_.alpha, act_.beta};
    const Grid grid = grid_of(ctx.pool, s.M, panels, s.M * s.N * s.K, gemm_.max_rows);
    ctx.pool.parallel_for(grid.chunks(), [&](int64_t chunk, int) {
      const int64_t r0 = grid.row(chunk % grid.row_chunks), r1 = grid.row(chunk % grid.row_chunks + 1);
      const int64_t q = chunk / grid.row_chunks;
      gemm_f32_rows(job, a + r0 * s.K, s.K, z ? z + r0 * s.N : nullptr, s.N, y + r0 * s.N, s.N, r1 - r0, grid.panel(q),
                    grid.panel(q + 1));
    });
  }

  // Rows are cut only where there are too few panels for all threads: each chunk restores its panels anew.
  void product_restored(RunContext& ctx, const Sizes& s, const float* a, const float* bias, const float* z,
                        float* y) const {
    const int64_t panels = gemm_f32_panels(gemm_, s.N), zero = 0, full = 2 * gemm_.lanes;
    const GemmF32Job job{&gemm_, &eltwise_, nullptr, s.K, s.N, &zero, 1, s.K, bias, act_.fn, act_.alpha, act_.beta};
    const int64_t wanted = ctx.pool.chunks_for(s.M * s.N * s.K, 1 << 20);
    const int64_t cuts = std::max<int64_t>(1, std::min(wanted / panels, s.M / 64));
    ctx.pool.parallel_for(panels * cuts, [&](int64_t chunk, int worker) {
      const int64_t panel = chunk / cuts, cut = chunk % cuts, r0 = s.M * cut / cuts, r1 = s.M * (cut + 1) / cuts;
      float* scratch = reinterpret_cast<float*>(ctx.scratch + size_t(worker) * restored_bytes());
      const GemmF32Job one = restore_panel(job, *restored_, trans_b_, 0, panel, scratch);
      const int64_t at = r0 * s.N + panel * full;
      gemm_f32_rows(one, a + r0 * s.K, s.K, z ? z + at : nullptr, s.N, y + at, s.N, r1 - r0, 0, 1);
    });
  }

  void product64(Region& pool, const Sizes& s, const float* a, const float* b, const float* bias, const float* z,
                 float* y) const {
    const int64_t stride_k = trans_b_ ? 1 : s.N, stride_n = trans_b_ ? s.K : 1;
    const int64_t chunks = std::min(s.M, pool.chunks_for(s.M * s.N * s.K, 64 << 10));
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t m = s.M * c / chunks; m < s.M * (c + 1) / chunks; m++)
        for (int64_t n = 0; n < s.N; n++) {
          double sum = 0;
          for (int64_t k = 0; k < s.K; k++) sum += double(a[m * s.K + k]) * double(b[k * stride_k + n * stride_n]);
          y[m * s.N + n] = finish_f32(sum, bias ? bias + n : nullptr, z ? z + m * s.N + n : nullptr, act_);
        }
    });
  }

  Activation act_;
  const GemmF32& gemm_;
  const EltwiseF32& eltwise_;
  bool acc64_, trans_b_, constant_ = false;
  int64_t N_ = 0, K_ = 0;
  Buffer packed_;
  std::unique_ptr<Restored> restored_;
};

}  // namespace

std::unique_ptr<Op> make_MatMul(const BindContext& ctx) { return std::make_unique<MatMul>(ctx); }

}  // namespace octavo
