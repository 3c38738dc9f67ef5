// Slice: numpy's x[start:end:step, ...]; starts, ends, axes?, steps? are inputs 1 to 4.
#include <algorithm>

#include "ops/copy.h"

namespace octavo {
namespace {

struct AxisRange {
  int64_t first = 0, step = 1, count = 0;
};

// ONNX's clamping: start into [0, n] or, going backwards, [0, n - 1]; end into [0, n] or [-1, n - 1]. step is not zero.
// Extreme values cannot overflow.
AxisRange slice_range(int64_t start, int64_t end, int64_t step, int64_t n) {
  auto place = [n](int64_t v, int64_t low, int64_t high) { return std::clamp(v < 0 ? v + n : v, low, high); };
  AxisRange r;
  if (n == 0) return r;
  if (step > 0) {
    r.first = place(start, 0, n);
    const int64_t stop = place(end, 0, n);
    r.count = stop > r.first ? (stop - r.first - 1) / step + 1 : 0;
  } else {
    step = std::max(step, -INT64_MAX);
    r.first = place(start, 0, n - 1);
    const int64_t stop = place(end, -1, n - 1);
    r.count = r.first > stop ? (r.first - stop - 1) / -step + 1 : 0;
  }
  r.step = r.count > 1 ? step : 1;  // a single element needs no step, and n * step then cannot overflow
  return r;
}

class Slice : public Op {
 public:
  explicit Slice(const BindContext& ctx) : name_(ctx.step.name) {
    check_arity(ctx, 3, 5);
    check_same_dtype(ctx, 0, 0);
    for (int k = 1; k < 5; k++)
      if (ctx.has(k)) check_index_dtype(ctx, k);
  }

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> list;
    for (int k = 1; k < 5; k++)
      if (ctx.has(k) && !ctx.value(k, list)) return;
    AxisRange range[kMaxRank];
    ranges(ctx.in.data(), int(ctx.in.size()), range);
    Shape y = ctx.in[0].shape;
    for (int a = 0; a < y.rank; a++) y.dim[a] = range[a].count;
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    AxisRange range[kMaxRank];
    ranges(ctx.in, ctx.inputs, range);
    const Strides from = strides_of(x), to = strides_of(y);
    const uint8_t* source = x.as<uint8_t>();
    CopyAxes axes;
    for (int a = 0; a < y.shape.rank; a++) {
      if (range[a].count != y.shape.dim[a])
        fail(ErrorKind::internal, "node '%s' (Slice): its bounds changed after the shapes were planned", name_.c_str());
      source += range[a].first * from.of[a];
      axes.add(range[a].count, range[a].step * from.of[a], to.of[a]);
    }
    copy_nd(ctx.pool, axes, size_of(x.dtype), source, y.data);
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }

 private:
  void ranges(const View* in, int inputs, AxisRange* range) const {
    const Shape& x = in[0].shape;
    auto has = [&](int k) { return k < inputs && in[k].dtype != DType::none; };
    int64_t starts[kMaxRank], ends[kMaxRank], axes[kMaxRank], steps[kMaxRank];
    const int n = ints_of(in[1], starts, kMaxRank, name_);
    bool fits = ints_of(in[2], ends, kMaxRank, name_) == n;
    if (has(3)) fits = ints_of(in[3], axes, kMaxRank, name_) == n && fits;
    if (has(4)) fits = ints_of(in[4], steps, kMaxRank, name_) == n && fits;
    if (!fits || n > x.rank)
      fail(ErrorKind::invalid_argument,
           "node '%s' (Slice): starts, ends, axes and steps must be equally long, and no longer than the rank (%d)",
           name_.c_str(), x.rank);
    for (int a = 0; a < x.rank; a++) range[a].count = x.dim[a];
    bool seen[kMaxRank] = {};
    for (int i = 0; i < n; i++) {
      const int64_t axis = has(3) ? (axes[i] < 0 ? axes[i] + x.rank : axes[i]) : i;
      if (axis < 0 || axis >= x.rank || seen[axis])
        fail(ErrorKind::invalid_argument, "node '%s' (Slice): axis %lld is out of range for rank %d or given twice",
             name_.c_str(), (long long)axes[i], x.rank);
      seen[axis] = true;
      const int64_t step = has(4) ? steps[i] : 1;
      if (step == 0) fail(ErrorKind::invalid_argument, "node '%s' (Slice): a step is 0", name_.c_str());
      range[axis] = slice_range(starts[i], ends[i], step, x.dim[axis]);
    }
  }

  std::string name_;
};

}  // namespace

std::unique_ptr<Op> make_Slice(const BindContext& ctx) { return std::make_unique<Slice>(ctx); }

}  // namespace octavo
