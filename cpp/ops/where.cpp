// Where: y = cond ? a : b, all three broadcast.
#include <algorithm>
#include <cstring>

#include "ops/copy.h"

namespace octavo {
namespace {

struct Three {
  int64_t cond, a, b;  // strides in elements
};

template <class T>
void choose(const uint8_t* cond, const void* va, const void* vb, void* vy, Three s, int64_t n) {
  const T *a = static_cast<const T*>(va), *b = static_cast<const T*>(vb);
  T* y = static_cast<T*>(vy);
  for (int64_t i = 0; i < n; i++) {
    const T yes = a[i * s.a], no = b[i * s.b];
    y[i] = cond[i * s.cond] ? yes : no;
  }
}

using Choose = void (*)(const uint8_t*, const void*, const void*, void*, Three, int64_t);

// The output's axes with the strides of the three inputs, adjacent ones merged.
struct Axes {
  int rank = 0;
  int64_t dim[kMaxRank];
  Three stride[kMaxRank];
};

int64_t stride_in(const Shape& x, const Shape& y, int a) {
  const int b = a - (y.rank - x.rank);
  return b < 0 || x.dim[b] == 1 ? 0 : x.span(b + 1, x.rank);
}

Axes collapse(const Shape& y, const Shape& cond, const Shape& a, const Shape& b) {
  Axes r;
  for (int k = 0; k < y.rank; k++) {
    if (y.dim[k] == 1) continue;
    const Three s{stride_in(cond, y, k), stride_in(a, y, k), stride_in(b, y, k)};
    if (r.rank > 0) {
      Three& p = r.stride[r.rank - 1];
      if (p.cond == s.cond * y.dim[k] && p.a == s.a * y.dim[k] && p.b == s.b * y.dim[k]) {
        p = s;
        r.dim[r.rank - 1] *= y.dim[k];
        continue;
      }
    }
    r.dim[r.rank] = y.dim[k];
    r.stride[r.rank++] = s;
  }
  if (r.rank == 0) {
    r.dim[0] = 1;
    r.stride[r.rank++] = {0, 0, 0};
  }
  return r;
}

class Where : public Op {
 public:
  explicit Where(const BindContext& ctx) {
    check_arity(ctx, 3, 3);
    ctx.need(0, DType::boolean);
    check_same_dtype(ctx, 1, 0);
    check_same_dtype(ctx, 2, 0);
    element_ = size_of(ctx.inputs[1].dtype);
    choose_ = element_ == 1   ? choose<uint8_t>
              : element_ == 2 ? choose<uint16_t>
              : element_ == 4 ? choose<uint32_t>
                              : choose<uint64_t>;
  }

  void infer(InferContext& ctx) const override {
    Shape both, y;
    if (!broadcast(ctx.in[0].shape, ctx.in[1].shape, both) || !broadcast(both, ctx.in[2].shape, y))
      ctx.fail("the three shapes cannot be broadcast together");
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View& y = ctx.out[0];
    if (y.elements() == 0) return;
    const Axes axes = collapse(y.shape, ctx.in[0].shape, ctx.in[1].shape, ctx.in[2].shape);
    const int last = axes.rank - 1;
    const int64_t n = axes.dim[last], rows = y.elements() / n;
    // Long rows are cut into pieces, so that one long row makes several chunks as well.
    const int64_t pieces = rows >= 16 ? 1 : ctx.pool.chunks_for(n, 16 << 10);
    const int64_t jobs = rows * pieces;
    auto job = [&](int64_t j) {
      const int64_t row = j / pieces, from = n * (j % pieces) / pieces, to = n * (j % pieces + 1) / pieces;
      int64_t rest = row, cond = 0, a = 0, b = 0;
      for (int k = last - 1; k >= 0; k--) {
        const int64_t i = rest % axes.dim[k];
        rest /= axes.dim[k];
        cond += i * axes.stride[k].cond;
        a += i * axes.stride[k].a;
        b += i * axes.stride[k].b;
      }
      const Three s = axes.stride[last];
      const int64_t e = int64_t(element_);
      choose_(ctx.in[0].as<uint8_t>() + cond + from * s.cond, ctx.in[1].as<uint8_t>() + (a + from * s.a) * e,
              ctx.in[2].as<uint8_t>() + (b + from * s.b) * e, y.as<uint8_t>() + (row * n + from) * e, s, to - from);
    };
    const int64_t chunks = std::min(jobs, ctx.pool.chunks_for(rows * n, 16 << 10));
    if (chunks <= 1) {
      for (int64_t j = 0; j < jobs; j++) job(j);
      return;
    }
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t j = jobs * chunk / chunks; j < jobs * (chunk + 1) / chunks; j++) job(j);
    });
  }

 private:
  size_t element_ = 0;
  Choose choose_ = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_Where(const BindContext& ctx) { return std::make_unique<Where>(ctx); }

}  // namespace octavo
