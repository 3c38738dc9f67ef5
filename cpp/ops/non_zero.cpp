// NonZero: the indices of the elements that are not zero, row-major: y[a, k] is the k-th such element's index on axis
// a. NaN is not zero, -0 is. How many there are depends on the data, so the plan goes on from here when it is known.
#include "ops/copy.h"

namespace octavo {
namespace {

// Whether element i is not zero, by its bytes: for floats all but the sign.
template <class T>
bool set(const void* x, int64_t i, T mask) {
  return (static_cast<const T*>(x)[i] & mask) != 0;
}

bool is_set(const View& x, int64_t i) {
  switch (x.dtype) {
    case DType::f64:
      return set<uint64_t>(x.data, i, ~uint64_t(0) >> 1);
    case DType::f32:
      return set<uint32_t>(x.data, i, ~uint32_t(0) >> 1);
    case DType::f16:
      return set<uint16_t>(x.data, i, 0x7fff);
    default:
      break;
  }
  switch (size_of(x.dtype)) {
    case 1:
      return set<uint8_t>(x.data, i, 0xff);
    case 2:
      return set<uint16_t>(x.data, i, 0xffff);
    case 4:
      return set<uint32_t>(x.data, i, ~uint32_t(0));
    default:
      return set<uint64_t>(x.data, i, ~uint64_t(0));
  }
}

class NonZero : public Op {
 public:
  explicit NonZero(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    if (size_of(ctx.inputs[0].dtype) == 0) ctx.fail("input 0 has a dtype the core does not hold");
    check_dtype(ctx, 0, DType::s64);
  }

  void infer(InferContext& ctx) const override {
    const View& x = ctx.in[0];
    const int64_t n = x.elements();
    if (x.data == nullptr && n > 0) {
      ctx.need_value = true;
      return;
    }
    Shape y;
    y.rank = 2;
    y.dim[0] = x.shape.rank;
    for (int64_t i = 0; i < n; i++) y.dim[1] += is_set(x, i);
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &y = ctx.out[0];
    const int64_t n = x.elements(), count = y.shape.dim[1];
    int64_t* to = y.as<int64_t>();
    int64_t k = 0;
    for (int64_t i = 0; i < n && k < count; i++) {
      if (!is_set(x, i)) continue;
      int64_t rest = i;
      for (int a = x.shape.rank - 1; a >= 0; a--) to[a * count + k] = rest % x.shape.dim[a], rest /= x.shape.dim[a];
      k++;
    }
  }
};

}  // namespace

std::unique_ptr<Op> make_NonZero(const BindContext& ctx) { return std::make_unique<NonZero>(ctx); }

}  // namespace octavo
