// QMatMul and MatMulInteger: products of two activations, [.., M, K] x [.., K, N], batch axes broadcast.
//   acc[i, n] = sum over k of (a[i, k] - a_zp) * (b[k, n] - b_zp)          (mod 2^32)
//   QMatMul: requantize(acc, m, y_zp, lo, hi), or fl32(acc) * m;  MatMulInteger: acc
//
// b is turned to s8 (u8: xor 0x80, zero point z = b_zp - 128) and packed at run time. The zero points leave the K loop:
//   acc = sum a b' - a_zp * colsum(b')[n] - z * rowsum(a)[i] + K * a_zp * z
#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/copy.h"
#include "ops/qgemm.h"

namespace octavo {
namespace {

struct Sizes {
  int64_t m = 1, k = 1, n = 1, batch = 1;
  Shape lead;  // the batch axes
};

// Batch axes of an operand: everything before its matrix.
Shape lead_of(const Shape& s) {
  Shape r;
  r.rank = std::max(0, s.rank - 2);
  for (int i = 0; i < r.rank; i++) r.dim[i] = s.dim[i];
  return r;
}

// Which matrix of an operand with batch axes `own` serves matrix i of the broadcast batch `lead`.
int64_t matrix_index(int64_t i, const Shape& lead, const Shape& own) {
  int64_t index = 0, stride = 1;
  for (int a = 0; a < own.rank; a++) {
    const int64_t d = lead.dim[lead.rank - 1 - a], mine = own.dim[own.rank - 1 - a];
    if (mine != 1) index += i % d * stride;
    stride *= mine;
    i /= d;
  }
  return index;
}

class Product : public Op {
 public:
  Product(const BindContext& ctx, bool quantized) : quantized_(quantized) {
    check_arity(ctx, 2, quantized ? 3 : 4);
    for (int k = 0; k < 2; k++) {
      if (!ctx.has(k)) ctx.fail("input %d is missing", k);
      const DType t = ctx.inputs[k].dtype;
      if (t != DType::u8 && (quantized || t != DType::s8))
        ctx.fail("input %d is %s, expected uint8%s", k, name_of(t), quantized ? "" : " or int8");
      if (ctx.inputs[k].rank < 1) ctx.fail("input %d must have at least one axis", k);
    }
    kernel_ = find_gemm_s8(ctx.isa);
    flip_a_ = ctx.inputs[0].dtype == DType::s8 ? 0x80 : 0;
    flip_b_ = ctx.inputs[1].dtype == DType::u8 ? 0x80 : 0;
    if (quantized) {
      parse_quantized(ctx);
    } else {
      check_dtype(ctx, 0, DType::s32);
      for (int k = 2; k < 4; k++)
        if (ctx.has(k) && ctx.inputs[k].dtype != ctx.inputs[k - 2].dtype)
          ctx.fail("zero point (input %d) must have the dtype of input %d", k, k - 2);
    }
    const View* b = ctx.constant_or_null(1);
    if (b && b->shape.rank == 2) {
      layout_ = GemmS8Packed::layout(kernel_, b->shape[1], b->shape[0], natural());
      panels_ = Buffer(layout_.bytes);
      sums_ = Buffer(layout_.side_elements() * 4);
      Region alone(1);
      pack_activations(alone, layout_, b->as<uint8_t>(), b->shape[1], flip_b_, panels_.as<uint8_t>(),
                       sums_.as<int32_t>());
      packed_ = true;
    }
  }

  void infer(InferContext& ctx) const override {
    const Shape &a = ctx.in[0].shape, &b = ctx.in[1].shape;
    if (a.rank < 1 || b.rank < 1) ctx.fail("both inputs need at least one axis");
    const int64_t k = a[-1], kb = b.rank == 1 ? b[0] : b[-2];
    if (k != kb)
      ctx.fail("inner sizes differ: the first input has %lld columns, the second %lld rows", (long long)k,
               (long long)kb);
    if (k / 4 >= INT32_MAX) ctx.fail("the inner size %lld is too large", (long long)k);
    if (quantized_ && k > kLargestSum / std::max<int64_t>(1, reach(a_zp_) * reach(b_zp_)))
      ctx.fail("a sum of %lld products may not fit int32; run this model with literal=True or with shorter inputs",
               (long long)k);
    Shape y;
    if (!broadcast(lead_of(a), lead_of(b), y)) ctx.fail("the batch axes of the inputs do not broadcast");
    if (y.rank + 2 > kMaxRank) ctx.fail("the result would have too many axes");
    if (a.rank >= 2) y.dim[y.rank++] = a[-2];
    if (b.rank >= 2) y.dim[y.rank++] = b[-1];
    set_shape(ctx, 0, y);
    if (quantized_) return;
    if (ctx.has(2) && ctx.in[2].elements() != 1) ctx.fail("only a scalar a_zero_point is supported");
    const int64_t n = b.rank == 1 ? 1 : b[-1];
    if (ctx.has(3) && ctx.in[3].elements() != 1 && ctx.in[3].elements() != n)
      ctx.fail("b_zero_point has %lld entries, expected 1 or %lld", (long long)ctx.in[3].elements(), (long long)n);
  }

  size_t scratch_bytes(const View* in, const View*, int threads) const override {
    const Sizes s = sizes(in);
    if (s.batch == 0 || s.m == 0 || s.n == 0) return 0;
    const Work w = work(in, s);
    return w.bytes * size_t(s.batch > 1 ? std::max(1, threads) : 1);
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const Sizes s = sizes(ctx.in);
    const Work w = work(ctx.in, s);
    const int64_t chunks =
        s.batch > 1 ? std::min(s.batch, ctx.pool.chunks_for(s.batch * s.m * std::max<int64_t>(1, s.n * (s.k + 32) / 64),
                                                            int64_t(kernel_->macs_per_us) * 4 / 64))
                    : 1;
    if (chunks < ctx.pool.threads() || chunks <= 1) {
      multiply(ctx, s, w, 0, s.batch, ctx.pool, ctx.scratch);
      return;
    }
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int worker) {
      Region alone(1);
      multiply(ctx, s, w, s.batch * chunk / chunks, s.batch * (chunk + 1) / chunks, alone,
               ctx.scratch + size_t(worker) * w.bytes);
    });
  }

  std::string kernel() const override {
    return std::string("gemm_s8 ") + kernel_->isa + (packed_ ? "" : " packed at run time");
  }
  int64_t macs(const View* in, const View* out) const override { return out[0].elements() * in[0].shape[-1]; }

 private:
  static constexpr int64_t kLargestSum = INT32_MAX;
  // The largest magnitude of a u8 number less its zero point.
  static int64_t reach(int32_t zp) { return std::max(zp, 255 - zp); }

  // Offsets of one worker's scratch.
  struct Work {
    GemmS8Packed layout;
    size_t sums = 0, bias = 0, m = 0, rows = 0, a = 0, bytes = 0;
    bool copy_a = false;
  };

  void parse_quantized(const BindContext& ctx) {
    auto byte = [&](const char* key, int64_t otherwise) {
      const int64_t v = ctx.step.i(key, otherwise);
      if (v < 0 || v > 255) ctx.fail("attribute %s is %lld, expected a value in [0, 255]", key, (long long)v);
      return int32_t(v);
    };
    a_zp_ = byte("a_zp", 0), b_zp_ = byte("b_zp", 0);
    y_zp_ = byte("y_zp", 0), lo_ = byte("lo", 0), hi_ = byte("hi", 255);
    if (lo_ > hi_) ctx.fail("lo (%d) is above hi (%d)", lo_, hi_);
    out_f32_ = ctx.step.i("out_f32", 0) != 0;
    check_dtype(ctx, 0, out_f32_ ? DType::f32 : DType::u8);
    const View& m = ctx.constant(2, DType::f32);
    if (m.elements() != 1 || !std::isfinite(m.as<float>()[0])) ctx.fail("m (input 2) must be one finite number");
    m_ = m.as<float>()[0];
  }

  bool natural() const { return !quantized_ || out_f32_; }

  static Sizes sizes(const View* in) {
    const Shape &a = in[0].shape, &b = in[1].shape;
    Sizes s;
    s.m = a.rank >= 2 ? a[-2] : 1, s.k = a[-1], s.n = b.rank >= 2 ? b[-1] : 1;
    broadcast(lead_of(a), lead_of(b), s.lead);
    s.batch = s.lead.elements();
    // One matrix on the right: the batch of the left is just more rows.
    if (lead_of(b).elements() == 1) {
      s.m *= s.batch;
      s.batch = 1;
    }
    return s;
  }

  Work work(const View* in, const Sizes& s) const {
    Work w;
    w.layout = GemmS8Packed::layout(kernel_, s.n, s.k, natural());
    w.copy_a = flip_a_ != 0 || overreads(in[0], s.k);
    const size_t side = align_up(w.layout.side_elements() * 4);
    w.sums = packed_ ? 0 : align_up(w.layout.bytes);
    w.bias = w.sums + side;
    w.m = w.bias + side;
    w.rows = w.m + side;
    w.a = w.rows + align_up(size_t(s.m) * 4);
    w.bytes = w.a + (w.copy_a ? align_up(size_t(s.m * s.k) + 16) : 0);
    return w;
  }

  // Matrices [first, last) of the batch with one worker's scratch.
  void multiply(RunContext& ctx, const Sizes& s, const Work& w, int64_t first, int64_t last, Region& pool,
                uint8_t* scratch) const {
    const bool per_column = !quantized_ && ctx.inputs > 3 && ctx.in[3].data && ctx.in[3].elements() > 1;
    const int32_t az = quantized_ ? a_zp_ : zero_point(ctx, 2) + (flip_a_ ? 128 : 0);
    const int32_t bz = quantized_ ? b_zp_ - 128 : per_column ? 0 : zero_point(ctx, 3) - (flip_b_ ? 128 : 0);
    const Shape lead_a = lead_of(ctx.in[0].shape), lead_b = lead_of(ctx.in[1].shape);
    int32_t* rows = reinterpret_cast<int32_t*>(scratch + w.rows);
    float* m = reinterpret_cast<float*>(scratch + w.m);
    std::fill(m, m + w.layout.side_elements(), m_);
    const uint8_t* ready = nullptr;
    for (int64_t i = first; i < last; i++) {
      const uint8_t* a = ctx.in[0].as<uint8_t>() + (s.batch == 1 ? 0 : matrix_index(i, s.lead, lead_a)) * s.m * s.k;
      const uint8_t* b = ctx.in[1].as<uint8_t>() + (s.batch == 1 ? 0 : matrix_index(i, s.lead, lead_b)) * s.k * s.n;
      if (b != ready || ready == nullptr) prepare(s, w, b, az, bz, pool, scratch);
      ready = b;
      if (w.copy_a) a = copied(a, s, pool, scratch + w.a);
      GemmS8Job job;
      job.b = packed_ ? &layout_ : &w.layout;
      job.panels = packed_ ? panels_.as<uint8_t>() : scratch;
      job.bias = reinterpret_cast<const int32_t*>(scratch + w.bias);
      job.m = m;
      job.a = a;
      job.in.rows = s.m, job.in.row = s.k;
      job.out.row = s.n;
      job.epilogue.kind = !quantized_ ? GemmS8Epilogue::Kind::s32
                          : out_f32_  ? GemmS8Epilogue::Kind::f32
                                      : GemmS8Epilogue::Kind::u8;
      job.epilogue.zp = y_zp_, job.epilogue.lo = lo_, job.epilogue.hi = hi_;
      job.c = ctx.out[0].as<uint8_t>() + i * s.m * s.n * int64_t(size_of(ctx.out[0].dtype));
      if (bz != 0 || per_column) {
        sum_rows(a, s, pool, per_column ? 1 : -bz, rows);
        if (!per_column) job.row_bias = rows;
      }
      gemm_s8(pool, job);
      if (per_column) subtract_columns(ctx, s, pool, rows, static_cast<int32_t*>(job.c));
    }
  }

  // Packs b and writes the bias of its columns.
  void prepare(const Sizes& s, const Work& w, const uint8_t* b, int32_t az, int32_t bz, Region& pool,
               uint8_t* scratch) const {
    const int32_t* sums = sums_.as<int32_t>();
    if (!packed_) {
      int32_t* to = reinterpret_cast<int32_t*>(scratch + w.sums);
      pack_activations(pool, w.layout, b, s.n, flip_b_, scratch, to);
      sums = to;
    }
    int32_t* bias = reinterpret_cast<int32_t*>(scratch + w.bias);
    const uint32_t all = uint32_t(s.k) * uint32_t(az) * uint32_t(bz);
    const uint32_t each = uint32_t(kernel_->flips ? 128 : 0) - uint32_t(az);
    for (size_t i = 0; i < w.layout.side_elements(); i++) bias[i] = int32_t(each * uint32_t(sums[i]) + all);
  }

  const uint8_t* copied(const uint8_t* a, const Sizes& s, Region& pool, uint8_t* to) const {
    const int64_t bytes = s.m * s.k, chunks = pool.chunks_for(bytes, 256 << 10);
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t i = bytes * c / chunks; i < bytes * (c + 1) / chunks; i++) to[i] = a[i] ^ flip_a_;
    });
    return to;
  }

  void sum_rows(const uint8_t* a, const Sizes& s, Region& pool, int32_t factor, int32_t* rows) const {
    const int64_t chunks = pool.chunks_for(s.m * s.k, 512 << 10);
    pool.parallel_for(chunks, [&](int64_t c, int) {
      const int64_t r0 = s.m * c / chunks, r1 = s.m * (c + 1) / chunks;
      kernel_->sum_rows(a + r0 * s.k, s.k, r1 - r0, s.k, rows + r0);
      for (int64_t r = r0; r < r1; r++) rows[r] = int32_t(uint32_t(rows[r]) * uint32_t(factor));
    });
  }

  // One zero point a column: acc -= zp[n] * (rowsum(a)[i] - K * a_zp), which no bias can express.
  void subtract_columns(RunContext& ctx, const Sizes& s, Region& pool, const int32_t* rows, int32_t* y) const {
    const uint32_t shift = uint32_t(s.k) * uint32_t(zero_point(ctx, 2) + (flip_a_ ? 128 : 0));
    const uint8_t* zp = ctx.in[3].as<uint8_t>();
    const int64_t chunks = pool.chunks_for(s.m * s.n, 64 << 10);
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t r = s.m * c / chunks; r < s.m * (c + 1) / chunks; r++) {
        const uint32_t sum = uint32_t(rows[r]) - shift;
        for (int64_t n = 0; n < s.n; n++) {
          // As packed: xor with the flip turns a u8 zero point into the s8 one.
          const uint32_t z = uint32_t(int32_t(int8_t(zp[n] ^ flip_b_)));
          y[r * s.n + n] = int32_t(uint32_t(y[r * s.n + n]) - z * sum);
        }
      }
    });
  }

  static int32_t zero_point(const RunContext& ctx, int k) {
    if (k >= ctx.inputs || ctx.in[k].data == nullptr) return 0;
    return ctx.in[k].dtype == DType::s8 ? int32_t(ctx.in[k].as<int8_t>()[0]) : int32_t(ctx.in[k].as<uint8_t>()[0]);
  }

  bool quantized_, out_f32_ = false, packed_ = false;
  uint8_t flip_a_ = 0, flip_b_ = 0;
  int32_t a_zp_ = 0, b_zp_ = 0, y_zp_ = 0, lo_ = 0, hi_ = 255;
  float m_ = 1.0f;
  const GemmS8* kernel_ = nullptr;
  GemmS8Packed layout_;  // of a constant b
  Buffer panels_, sums_;
};

}  // namespace

std::unique_ptr<Op> make_QMatMul(const BindContext& ctx) { return std::make_unique<Product>(ctx, true); }
std::unique_ptr<Op> make_MatMulInteger(const BindContext& ctx) { return std::make_unique<Product>(ctx, false); }

}  // namespace octavo
