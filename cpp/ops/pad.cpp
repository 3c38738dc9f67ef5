// Pad: pads (input 1: all begins, then all ends), value? (input 2), axes? (input 3); mode constant, reflect, edge,
// wrap. Negative pads crop, before anything is padded.
#include <algorithm>
#include <cstring>

#include "ops/copy.h"

namespace octavo {
namespace {

enum class PadMode { constant, reflect, edge, wrap };

struct Pads {
  int64_t begin[kMaxRank] = {}, end[kMaxRank] = {};
};

class Pad : public Op {
 public:
  explicit Pad(const BindContext& ctx) : name_(ctx.step.name) {
    check_arity(ctx, 2, 4);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
    if (ctx.has(2) && ctx.inputs[2].dtype != ctx.inputs[0].dtype)
      ctx.fail("the value must be %s like the input, it is %s", name_of(ctx.inputs[0].dtype),
               name_of(ctx.inputs[2].dtype));
    if (ctx.has(3)) check_index_dtype(ctx, 3);
    const std::string mode = ctx.step.s("mode", "constant");
    if (mode == "constant")
      mode_ = PadMode::constant;
    else if (mode == "reflect")
      mode_ = PadMode::reflect;
    else if (mode == "edge")
      mode_ = PadMode::edge;
    else if (mode == "wrap")
      mode_ = PadMode::wrap;
    else
      ctx.fail("mode '%s' is not one of constant, reflect, edge, wrap", mode.c_str());
  }

  void infer(InferContext& ctx) const override {
    std::vector<int64_t> list;
    if (!ctx.value(1, list)) return;
    if (ctx.has(3) && !ctx.value(3, list)) return;
    if (ctx.has(2) && ctx.in[2].shape.elements() != 1) ctx.fail("the value must be one number");
    const Pads pads = read(ctx.in.data(), int(ctx.in.size()));
    Shape y = ctx.in[0].shape;
    for (int a = 0; a < y.rank; a++) {
      const int64_t kept = y.dim[a] + std::min<int64_t>(pads.begin[a], 0) + std::min<int64_t>(pads.end[a], 0);
      if (kept < 0) ctx.fail("the pads remove more than the %lld elements of axis %d", (long long)y.dim[a], a);
      const int64_t added = std::max<int64_t>(pads.begin[a], 0) + std::max<int64_t>(pads.end[a], 0);
      if (kept == 0 && added > 0 && mode_ != PadMode::constant)
        ctx.fail("axis %d is empty: only mode 'constant' can pad it", a);
      y.dim[a] = kept + added;
    }
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const Pads pads = read(ctx.in, ctx.inputs);
    const Strides from = strides_of(x), to = strides_of(y);
    const size_t element = size_of(x.dtype);
    const int rank = x.shape.rank;
    const uint8_t* source = x.as<uint8_t>();
    uint8_t* inside = y.as<uint8_t>();  // where the kept part of the input begins
    CopyAxes kept;
    for (int a = 0; a < rank; a++) {
      const int64_t n = y.shape.dim[a] - std::max<int64_t>(pads.begin[a], 0) - std::max<int64_t>(pads.end[a], 0);
      if (n != x.shape.dim[a] + std::min<int64_t>(pads.begin[a], 0) + std::min<int64_t>(pads.end[a], 0))
        fail(ErrorKind::internal, "node '%s' (Pad): its pads changed after the shapes were planned", name_.c_str());
      source += std::max<int64_t>(-pads.begin[a], 0) * from.of[a];
      inside += std::max<int64_t>(pads.begin[a], 0) * to.of[a];
      kept.add(n, from.of[a], to.of[a]);
    }
    copy_nd(ctx.pool, kept, element, source, inside);
    if (mode_ == PadMode::constant)
      fill_borders(ctx, pads, kept, element);
    else
      mirror_borders(ctx, pads, kept, element);
  }

  bool strided_in(int k) const override { return k == 0; }
  bool strided_out() const override { return true; }

 private:
  Pads read(const View* in, int inputs) const {
    const int rank = in[0].shape.rank;
    int64_t list[2 * kMaxRank], axes[kMaxRank];
    const int n = ints_of(in[1], list, 2 * kMaxRank, name_);
    int count = rank;
    for (int a = 0; a < rank; a++) axes[a] = a;
    if (inputs > 3 && in[3].dtype != DType::none) count = ints_of(in[3], axes, kMaxRank, name_);
    if (n != 2 * count)
      fail(ErrorKind::invalid_argument, "node '%s' (Pad): %d pads are given for %d axes, two for each are needed",
           name_.c_str(), n, count);
    Pads pads;
    bool seen[kMaxRank] = {};
    for (int i = 0; i < count; i++) {
      const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
      if (axis < 0 || axis >= rank || seen[axis])
        fail(ErrorKind::invalid_argument, "node '%s' (Pad): axis %lld is out of range for rank %d or given twice",
             name_.c_str(), (long long)axes[i], rank);
      seen[axis] = true;
      const int64_t most = int64_t(1) << 40;
      if (std::max(list[i], list[i + count]) > most || std::min(list[i], list[i + count]) < -most)
        fail(ErrorKind::invalid_argument, "node '%s' (Pad): a pad of more than 2^40 elements", name_.c_str());
      pads.begin[axis] = list[i];
      pads.end[axis] = list[i + count];
    }
    return pads;
  }

  // The slabs before and after the kept part on axis `a`: earlier axes only where something was kept, later ones in
  // full.
  static CopyAxes slab(const View& y, const CopyAxes& kept, const Strides& to, int a) {
    CopyAxes s;
    for (int b = 0; b < y.shape.rank; b++) s.add(b < a ? kept.dim[b] : y.shape.dim[b], to.of[b], to.of[b]);
    return s;
  }

  // Where the slabs of axis `a` begin, at index 0 of that axis.
  static uint8_t* origin(const View& y, const Pads& pads, const Strides& to, int a) {
    uint8_t* p = y.as<uint8_t>();
    for (int b = 0; b < a; b++) p += std::max<int64_t>(pads.begin[b], 0) * to.of[b];
    return p;
  }

  void fill_borders(RunContext& ctx, const Pads& pads, const CopyAxes& kept, size_t element) const {
    const View& y = ctx.out[0];
    const Strides to = strides_of(y);
    uint8_t value[16] = {};
    if (ctx.inputs > 2 && ctx.in[2].data) std::memcpy(value, ctx.in[2].data, element);
    for (int a = 0; a < y.shape.rank; a++) {
      CopyAxes s = slab(y, kept, to, a);
      for (int b = 0; b < s.rank; b++) s.in[b] = 0;
      const int64_t before = std::max<int64_t>(pads.begin[a], 0);
      s.dim[a] = before;
      copy_nd(ctx.pool, s, element, value, origin(y, pads, to, a));
      s.dim[a] = std::max<int64_t>(pads.end[a], 0);
      copy_nd(ctx.pool, s, element, value, origin(y, pads, to, a) + (before + kept.dim[a]) * to.of[a]);
    }
  }

  // From the last axis to the first: each border plane is a copy of a plane of the kept part.
  void mirror_borders(RunContext& ctx, const Pads& pads, const CopyAxes& kept, size_t element) const {
    const View& y = ctx.out[0];
    const Strides to = strides_of(y);
    for (int a = y.shape.rank - 1; a >= 0; a--) {
      CopyAxes s = slab(y, kept, to, a);
      s.dim[a] = 1;
      const int64_t before = std::max<int64_t>(pads.begin[a], 0), n = kept.dim[a];
      uint8_t* base = origin(y, pads, to, a);
      for (int64_t i = 0; i < y.shape.dim[a]; i++) {
        if (i == before) i += n;
        if (i >= y.shape.dim[a]) break;
        copy_nd(ctx.pool, s, element, base + (before + source_index(i - before, n)) * to.of[a], base + i * to.of[a]);
      }
    }
  }

  int64_t source_index(int64_t i, int64_t n) const {
    auto modulo = [](int64_t v, int64_t m) { return (v % m + m) % m; };
    if (mode_ == PadMode::edge) return std::clamp<int64_t>(i, 0, n - 1);
    if (mode_ == PadMode::wrap) return modulo(i, n);
    if (n == 1) return 0;
    const int64_t m = modulo(i, 2 * (n - 1));
    return m < n ? m : 2 * (n - 1) - m;
  }

  std::string name_;
  PadMode mode_ = PadMode::constant;
};

}  // namespace

std::unique_ptr<Op> make_Pad(const BindContext& ctx) { return std::make_unique<Pad>(ctx); }

}  // namespace octavo
