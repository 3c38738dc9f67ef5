// TopK: the k greatest (or least, largest=0) elements along an axis, best first, and where they were. Of equal elements
// the one with the lower index comes first; NaN is greater than everything.
#include <algorithm>

#include "ops/copy.h"
#include "ops/half.h"

namespace octavo {
namespace {

inline float plain(Half h) { return float_of(h); }
template <class T>
inline T plain(T v) {
  return v;
}

template <class T>
inline bool beyond(T a, T b) {
  return a > b || (!(a == a) && b == b);
}

struct Line {
  int64_t n, k, inner;
};

// One line: x[0], x[inner], ...
template <class T, bool Largest>
void select(const void* in, const Line& l, int64_t* order, void* out, int64_t* indices) {
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
  for (int64_t i = 0; i < l.n; i++) order[i] = i;
  std::partial_sort(order, order + l.k, order + l.n, [&](int64_t a, int64_t b) {
    const auto u = plain(x[a * l.inner]), v = plain(x[b * l.inner]);
    if (Largest ? beyond(u, v) : beyond(v, u)) return true;
    if (Largest ? beyond(v, u) : beyond(u, v)) return false;
    return a < b;
  });
  for (int64_t i = 0; i < l.k; i++) y[i * l.inner] = x[order[i] * l.inner], indices[i * l.inner] = order[i];
}

using Select = void (*)(const void*, const Line&, int64_t*, void*, int64_t*);

template <class T>
Select either(bool largest) {
  return largest ? select<T, true> : select<T, false>;
}

Select pick(DType t, bool largest) {
  switch (t) {
    case DType::f32:
      return either<float>(largest);
    case DType::f64:
      return either<double>(largest);
    case DType::f16:
      return either<Half>(largest);
    case DType::u8:
      return either<uint8_t>(largest);
    case DType::s8:
      return either<int8_t>(largest);
    case DType::u16:
      return either<uint16_t>(largest);
    case DType::s16:
      return either<int16_t>(largest);
    case DType::u32:
      return either<uint32_t>(largest);
    case DType::s32:
      return either<int32_t>(largest);
    case DType::u64:
      return either<uint64_t>(largest);
    case DType::s64:
      return either<int64_t>(largest);
    default:
      return nullptr;
  }
}

class TopK : public Op {
 public:
  explicit TopK(const BindContext& ctx) : axis_(ctx.step.i("axis", -1)) {
    check_arity(ctx, 2, 2, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_dtype(ctx, 1, DType::s64);
    check_index_dtype(ctx, 1);
    select_ = pick(ctx.inputs[0].dtype, ctx.step.i("largest", 1) != 0);
    if (!select_) ctx.fail("%s has no order", name_of(ctx.inputs[0].dtype));
  }

  void infer(InferContext& ctx) const override {
    Shape y = ctx.in[0].shape;
    const int axis = normal_axis(axis_, y.rank, ctx.step);
    std::vector<int64_t> k;
    if (!ctx.value(1, k)) return;
    if (k.size() != 1) ctx.fail("k (input 1) must be one number");
    if (k[0] < 0 || k[0] > y.dim[axis])
      ctx.fail("k is %lld, but axis %d has %lld elements", (long long)k[0], axis, (long long)y.dim[axis]);
    y.dim[axis] = k[0];
    set_shape(ctx, 0, y);
    set_shape(ctx, 1, y);
  }

  size_t scratch_bytes(const View* in, const View*, int threads) const override {
    const Shape& x = in[0].shape;
    return size_t(x[int(axis_)]) * size_t(threads) * sizeof(int64_t);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0], &indices = ctx.out[1];
    if (y.elements() == 0) return;
    const int rank = x.shape.rank, axis = int(axis_ < 0 ? axis_ + rank : axis_);
    const Line l{x.shape.dim[axis], y.shape.dim[axis], x.shape.span(axis + 1, rank)};
    const int64_t lines = x.shape.span(0, axis) * l.inner, size = int64_t(size_of(x.dtype));
    int64_t* order = reinterpret_cast<int64_t*>(ctx.scratch);
    const int64_t chunks = std::min(lines, ctx.pool.chunks_for(x.elements(), 4 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int worker) {
      for (int64_t i = lines * c / chunks; i < lines * (c + 1) / chunks; i++) {
        const int64_t outer = i / l.inner, in = i % l.inner;
        const int64_t from = outer * l.n * l.inner + in, to = outer * l.k * l.inner + in;
        select_(x.as<uint8_t>() + from * size, l, order + worker * l.n, y.as<uint8_t>() + to * size,
                indices.as<int64_t>() + to);
      }
    });
  }

 private:
  int64_t axis_;
  Select select_ = nullptr;
};

}  // namespace

std::unique_ptr<Op> make_TopK(const BindContext& ctx) { return std::make_unique<TopK>(ctx); }

}  // namespace octavo
