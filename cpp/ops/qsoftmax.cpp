// QSoftmax: softmax of bytes along the last axis, integers only. Differences of bytes have 256 values, so the
// exponentials are a table made when the step is bound.
//
//   d = x - max x;  e = exp(scaled_twice(d, fixed)) of a Q5 number;  those of d >= diff_min are summed with 12 integer
//   bits; y = min(255, shifted(e / sum))
#include <array>

#include "core/fixed.h"
#include "ops/copy.h"
#include "ops/quantized_attrs.h"

namespace octavo {
namespace {

constexpr int kSumBits = 12;
constexpr int64_t kLongest = 4095;  // as many ones fit the sum

class QSoftmax : public Op {
 public:
  explicit QSoftmax(const BindContext& ctx) {
    check_arity(ctx, 1, 1);
    ctx.need(0, DType::u8);
    check_dtype(ctx, 0, DType::u8);
    const FixedScale scale = fixed_attribute(ctx, "fixed");
    const int64_t least = ctx.step.i("diff_min");
    if (scale.multiplier < 0 || scale.shift < 0) ctx.fail("attribute fixed must be a factor of 1/2 or more");
    if (least > 0) ctx.fail("attribute diff_min is %lld; it must not be above 0", (long long)least);
    for (int64_t d = 0; d < 256; d++) {
      if (-d < least) break;
      const int64_t limit = int64_t(1) << 31;
      if (scale.shift < 31 && (d << scale.shift) >= limit)
        ctx.fail("attribute diff_min is %lld: differences of %lld leave 32 bits", (long long)least, (long long)-d);
      exp_[size_t(d)] = exp_negative_q5(scaled_twice(int32_t(-d), scale));
      terms_[size_t(d)] = int32_t(rounded_shift(exp_[size_t(d)], kSumBits));
    }
  }

  void infer(InferContext& ctx) const override {
    const Shape& x = ctx.in[0].shape;
    if (x.rank < 1) ctx.fail("the input must have at least one axis");
    if (x[-1] > kLongest)
      ctx.fail("the last axis has %lld elements, more than %lld", (long long)x[-1], (long long)kLongest);
    set_shape(ctx, 0, x);
  }

  void run(RunContext& ctx) const override {
    const int64_t total = ctx.in[0].elements();
    if (total == 0) return;
    const int64_t n = ctx.in[0].shape[-1], rows = total / n;
    const uint8_t* x = ctx.in[0].as<uint8_t>();
    uint8_t* y = ctx.out[0].as<uint8_t>();
    const int64_t chunks = std::min(rows, ctx.pool.chunks_for(total, 4 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t c, int) {
      for (int64_t r = rows * c / chunks; r < rows * (c + 1) / chunks; r++) row(x + r * n, y + r * n, n);
    });
  }

  bool in_place(int k) const override { return k == 0; }
  std::string kernel() const override { return "softmax of integers"; }

 private:
  void row(const uint8_t* x, uint8_t* y, int64_t n) const {
    int32_t most = 0;
    for (int64_t i = 0; i < n; i++) most = std::max<int32_t>(most, x[i]);
    int32_t sum = 0;  // at least the 2^19 of the largest element
    for (int64_t i = 0; i < n; i++) sum += terms_[size_t(most - x[i])];
    const int headroom = __builtin_clz(uint32_t(sum));
    const int32_t inverse = reciprocal_above_one(int32_t((uint32_t(sum) << headroom) - (1u << 31)));
    const int shift = kSumBits - headroom + 31 - 8;
    for (int64_t i = 0; i < n; i++) {
      const int64_t v = rounded_shift(high_product(inverse, exp_[size_t(most - x[i])]), shift);
      y[i] = uint8_t(std::min<int64_t>(v, 255));
    }
  }

  std::array<int32_t, 256> exp_ = {}, terms_ = {};  // by how far a byte is below the largest; 0 below diff_min
};

}  // namespace

std::unique_ptr<Op> make_QSoftmax(const BindContext& ctx) { return std::make_unique<QSoftmax>(ctx); }

}  // namespace octavo
