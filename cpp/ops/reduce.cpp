// Reduce: Mean, Sum, Max, Min, Prod, SumSquare, L1, L2 over any axes.
// f32: sixteen virtual lanes (kernels/reduce_f32/reduce_f32.h); Mean divides the sum by n, L2 takes its square root.
// f64: in order, row-major. u8, s8, s32, s64, u32, u64: sums and products wrap, Mean truncates toward zero.
#include "kernels/reduce_f32/reduce_f32.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

constexpr int64_t kColumns = 128;  // outputs handled together when the last axis is kept: 16 lanes of them fill 8 KiB
const char* const kNames[] = {"Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2"};

// Axes of size 1 dropped, neighbours of one kind joined: extents and strides of kept and reduced axes.
struct Groups {
  int kept = 0, reduced = 0;
  int64_t kept_dim[kMaxRank] = {}, kept_stride[kMaxRank] = {}, reduced_dim[kMaxRank] = {},
          reduced_stride[kMaxRank] = {};
  int64_t outputs = 1, count = 1;
  bool inner_reduced = true;

  Groups(const Shape& s, const std::vector<bool>& reduce) {
    int last = -1;
    int64_t stride = s.elements();
    for (int a = 0; a < s.rank; a++) {
      const int64_t n = s.dim[a];
      (reduce[size_t(a)] ? count : outputs) *= n;
      stride = n ? stride / n : 0;
      if (n == 1) continue;
      const int kind = reduce[size_t(a)];
      int& rank = kind ? reduced : kept;
      int64_t *dim = kind ? reduced_dim : kept_dim, *step = kind ? reduced_stride : kept_stride;
      if (kind == last)
        dim[rank - 1] *= n, step[rank - 1] = stride;
      else
        dim[rank] = n, step[rank] = stride, rank++;
      last = kind;
      inner_reduced = kind;
    }
  }
  static int64_t offset(const int64_t* dim, const int64_t* stride, int rank, int64_t i) {
    int64_t at = 0;
    for (int a = rank - 1; a >= 0; a--) at += i % dim[a] * stride[a], i /= dim[a];
    return at;
  }
};

// The wrapped sum over a count that may exceed T itself, truncated toward zero.
template <class T>
T mean_of(T sum, int64_t count) {
  if constexpr (std::is_signed_v<T>)
    return T(int64_t(sum) / count);
  else
    return T(uint64_t(sum) / uint64_t(count));
}

class Reduce : public Op {
 public:
  explicit Reduce(const BindContext& ctx)
      : kernel_(*static_cast<const ReduceF32*>(find_kernel("reduce_f32", ctx.isa))) {
    check_arity(ctx, 1, 2);
    check_same_dtype(ctx, 0, 0);
    if (ctx.has(1)) check_index_dtype(ctx, 1);
    dtype_ = ctx.inputs[0].dtype;
    if (dtype_ != DType::f32 && !(other_ = pick(dtype_)))
      ctx.fail("%s is not supported; expected a float or an integer of 8, 32 or 64 bits", name_of(dtype_));
    const std::string name = ctx.step.s("fn", "");
    int k = 0;
    while (k < 8 && name != kNames[k]) k++;
    if (k == 8) ctx.fail("attribute fn: unknown function '%s'", name.c_str());
    fn_ = ReduceFn(k);
    keep_ = ctx.step.i("keepdims", 1) != 0;
    noop_ = ctx.step.i("noop_with_empty_axes", 0) != 0;
    axes_ = ctx.step.ints("axes", {});
    name_ = ctx.step.name;
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    std::vector<int64_t> axes = axes_;
    if (ctx.has(1) && !ctx.value(1, axes)) return;
    axis_set(axes, x.rank, ctx.step);  // refuses axes out of range or given twice
    const std::vector<bool> reduce = marked(axes.data(), int(axes.size()), x.rank);
    Shape y;
    for (int a = 0; a < x.rank; a++) {
      if (!reduce[size_t(a)])
        y.dim[y.rank++] = x.dim[a];
      else if (keep_)
        y.dim[y.rank++] = 1;
    }
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    if (ctx.out[0].elements() == 0) return;
    const View &x = ctx.in[0], &y = ctx.out[0];
    int64_t axes[kMaxRank];
    int n = 0;
    if (ctx.inputs > 1 && ctx.in[1].dtype != DType::none) {
      n = ints_of(ctx.in[1], axes, kMaxRank, name_);
    } else {
      for (int64_t a : axes_) axes[n++] = a;
    }
    if (n == 0 && noop_) return copy_bytes(ctx.pool, x.bytes(), x.data, y.data);
    const Groups g(x.shape, marked(axes, n, x.shape.rank));
    if (other_) return (this->*other_)(ctx.pool, g, x, y);
    const float* from = x.as<float>();
    float* to = y.as<float>();
    const int64_t units =
        g.inner_reduced ? g.outputs
                        : g.outputs / g.kept_dim[g.kept - 1] * ((g.kept_dim[g.kept - 1] + kColumns - 1) / kColumns);
    const int64_t chunks = std::min(units, ctx.pool.chunks_for(x.elements(), 32 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t u = units * c / chunks; u < units * (c + 1) / chunks; u++)
        g.inner_reduced ? along_rows(g, from, to, u) : along_columns(g, from, to, u);
    });
  }

  std::string kernel() const override { return dtype_ == DType::f32 ? "reduce_f32" : "loop"; }

 private:
  std::vector<bool> marked(const int64_t* axes, int n, int rank) const {
    std::vector<bool> m(size_t(rank), n == 0 && !noop_);
    for (int k = 0; k < n; k++) m[size_t(axes[k] < 0 ? axes[k] + rank : axes[k])] = true;
    return m;
  }

  float identity() const {
    switch (fn_) {
      case ReduceFn::Max:
        return -std::numeric_limits<float>::infinity();
      case ReduceFn::Min:
        return std::numeric_limits<float>::infinity();
      case ReduceFn::Prod:
        return 1.0f;
      default:
        return 0.0f;
    }
  }

  void finish(const Groups& g, float* y, int64_t n) const {
    if (fn_ == ReduceFn::Mean)
      for (int64_t i = 0; i < n; i++) y[i] = y[i] / float(g.count);
    if (fn_ == ReduceFn::L2)
      for (int64_t i = 0; i < n; i++) y[i] = std::sqrt(y[i]);
  }

  // The last axis is reduced: output u.
  void along_rows(const Groups& g, const float* x, float* y, int64_t u) const {
    alignas(64) float lane[16];
    std::fill(lane, lane + 16, identity());
    const float* base = x + Groups::offset(g.kept_dim, g.kept_stride, g.kept, u);
    const int last = g.reduced - 1;
    const int64_t run = last < 0 ? 1 : g.reduced_dim[last], runs = run ? g.count / run : 0;
    for (int64_t r = 0; r < runs; r++) {
      const float* p = base + Groups::offset(g.reduced_dim, g.reduced_stride, last < 0 ? 0 : last, r);
      int64_t n = run;
      if (const int64_t at = r * run & 15) {  // the run starts inside the lanes
        const int64_t head = std::min(n, 16 - at);
        kernel_.step(int(fn_), lane + at, p, head);
        p += head, n -= head;
      }
      if (n > 0) kernel_.run(int(fn_), lane, p, n);
    }
    for (int half = 8; half; half >>= 1) kernel_.join(int(fn_), lane, lane + half, half);
    finish(g, lane, 1);
    y[u] = lane[0];
  }

  // The last axis is kept: up to kColumns neighbouring outputs.
  void along_columns(const Groups& g, const float* x, float* y, int64_t u) const {
    alignas(64) float lane[16][kColumns];
    const int64_t inner = g.kept_dim[g.kept - 1], blocks = (inner + kColumns - 1) / kColumns;
    const int64_t first = u % blocks * kColumns, n = std::min(kColumns, inner - first);
    for (auto& l : lane) std::fill(l, l + n, identity());
    const float* base = x + Groups::offset(g.kept_dim, g.kept_stride, g.kept - 1, u / blocks) + first;
    const int last = g.reduced - 1;
    const int64_t run = last < 0 ? 1 : g.reduced_dim[last], runs = run ? g.count / run : 0;
    int64_t i = 0;
    for (int64_t r = 0; r < runs; r++) {
      const float* p = base + Groups::offset(g.reduced_dim, g.reduced_stride, last < 0 ? 0 : last, r);
      for (int64_t k = 0; k < run; k++, i++)
        kernel_.step(int(fn_), lane[i & 15], p + (last < 0 ? 0 : k * g.reduced_stride[last]), n);
    }
    for (int half = 8; half; half >>= 1)
      for (int l = 0; l < half; l++) kernel_.join(int(fn_), lane[l], lane[l + half], n);
    finish(g, lane[0], n);
    std::copy(lane[0], lane[0] + n, y + u / blocks * inner + first);
  }

  using Other = void (Reduce::*)(Region&, const Groups&, const View&, const View&) const;
  static Other pick(DType t) {
    switch (t) {
      case DType::f64:
        return &Reduce::doubles;
      case DType::u8:
        return &Reduce::whole<uint8_t>;
      case DType::s8:
        return &Reduce::whole<int8_t>;
      case DType::s32:
        return &Reduce::whole<int32_t>;
      case DType::s64:
        return &Reduce::whole<int64_t>;
      case DType::u32:
        return &Reduce::whole<uint32_t>;
      case DType::u64:
        return &Reduce::whole<uint64_t>;
      default:
        return nullptr;
    }
  }

  // f64: acc <- acc op x in order, from the identity; NaN wins Max and Min.
  void doubles(Region& pool, const Groups& g, const View& x, const View& y) const {
    const int64_t chunks = std::min(g.outputs, pool.chunks_for(g.outputs * g.count, 16 << 10));
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t u = g.outputs * c / chunks; u < g.outputs * (c + 1) / chunks; u++) {
        const double* base = x.as<double>() + Groups::offset(g.kept_dim, g.kept_stride, g.kept, u);
        double acc = identity();
        for (int64_t i = 0; i < g.count; i++) {
          const double v = base[Groups::offset(g.reduced_dim, g.reduced_stride, g.reduced, i)];
          switch (fn_) {
            case ReduceFn::Max:
              acc = acc > v || !(acc == acc) ? acc : v;
              break;
            case ReduceFn::Min:
              acc = acc < v || !(acc == acc) ? acc : v;
              break;
            case ReduceFn::Prod:
              acc *= v;
              break;
            case ReduceFn::SumSquare:
            case ReduceFn::L2:
              acc += v * v;
              break;
            case ReduceFn::L1:
              acc += std::fabs(v);
              break;
            default:
              acc += v;
          }
        }
        if (fn_ == ReduceFn::Mean) acc /= double(g.count);
        if (fn_ == ReduceFn::L2) acc = std::sqrt(acc);
        y.as<double>()[u] = acc;
      }
    });
  }

  template <class T>
  void whole(Region& pool, const Groups& g, const View& x, const View& y) const {
    using U = std::make_unsigned_t<std::common_type_t<T, int>>;
    const int64_t chunks = std::min(g.outputs, pool.chunks_for(g.outputs * g.count, 16 << 10));
    pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t u = g.outputs * c / chunks; u < g.outputs * (c + 1) / chunks; u++) {
        const T* base = x.as<T>() + Groups::offset(g.kept_dim, g.kept_stride, g.kept, u);
        T acc = fn_ == ReduceFn::Max   ? std::numeric_limits<T>::min()
                : fn_ == ReduceFn::Min ? std::numeric_limits<T>::max()
                                       : T(fn_ == ReduceFn::Prod);
        for (int64_t i = 0; i < g.count; i++) {
          const T v = base[Groups::offset(g.reduced_dim, g.reduced_stride, g.reduced, i)];
          switch (fn_) {
            case ReduceFn::Max:
              acc = v > acc ? v : acc;
              break;
            case ReduceFn::Min:
              acc = v < acc ? v : acc;
              break;
            case ReduceFn::Prod:
              acc = T(U(acc) * U(v));
              break;
            case ReduceFn::SumSquare:
            case ReduceFn::L2:
              acc = T(U(acc) + U(v) * U(v));
              break;
            case ReduceFn::L1:
              acc = T(U(acc) + (v < 0 ? U(0) - U(v) : U(v)));
              break;
            default:
              acc = T(U(acc) + U(v));
          }
        }
        if (fn_ == ReduceFn::Mean) acc = g.count ? mean_of(acc, g.count) : T(0);
        if (fn_ == ReduceFn::L2) acc = acc > 0 ? T(std::sqrt(double(acc))) : T(0);
        y.as<T>()[u] = acc;
      }
    });
  }

  const ReduceF32& kernel_;
  DType dtype_;
  Other other_ = nullptr;
  ReduceFn fn_ = ReduceFn::Sum;
  bool keep_, noop_;
  std::vector<int64_t> axes_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Op> make_Reduce(const BindContext& ctx) { return std::make_unique<Reduce>(ctx); }

}  // namespace octavo
