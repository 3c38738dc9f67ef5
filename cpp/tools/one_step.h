// Plans of one step with random operands: what octavo-selftest compares and octavo-bench times. They run through a
// Session like any model, so what is tested and timed is what users run.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plan/session.h"
#include "tools/feeds.h"

namespace octavo {

struct Operand {
  DType dtype = DType::none;  // none: an absent optional input
  Shape shape;
  bool constant = false;
  std::vector<uint8_t> bytes;
};

struct Case {
  std::string name;
  StepDef step;  // op and attributes; the values are filled in when the plan is made
  std::vector<Operand> in;
  std::vector<std::pair<DType, int>> out;  // dtype and rank
  // Inputs come from an identity step before, so that they lie in the arena as they do inside a network, with the
  // border the operator asked for.
  bool inside = false;
};

Shape make_shape(std::initializer_list<int64_t> dims);
std::shared_ptr<const Plan> plan_of(const Case& c);

// A case bound to a level, with its inputs in place.
class Prepared {
 public:
  Prepared(const Case& c, Isa isa, int threads, bool profile = false);

  void run() { call_->run(); }
  std::vector<View> outputs() const;
  StepInfo info();                         // of the step itself
  size_t bytes() const { return bytes_; }  // read and written by the step, constants included

 private:
  std::unique_ptr<Session> session_;
  std::vector<Shape> shapes_;
  std::vector<Buffer> inputs_;
  std::unique_ptr<Call> call_;
  size_t bytes_ = 0;
};

// ---- makers
// ----------------------------------------------------------------------------------------------------------

enum class Fill {
  usual,    // spread over the range
  extreme,  // only the ends of the range: the largest sums and products
};

Operand bytes_operand(Random& r, DType dtype, const Shape& s, Fill fill = Fill::usual);  // u8, s8, bool
Operand floats(Random& r, const Shape& s, float low, float high);
Operand odd_floats(Random& r, const Shape& s);  // also infinities, NaN, denormals, huge and tiny numbers, -0
Operand ints(Random& r, DType dtype, const Shape& s, int64_t low, int64_t high);
Operand constant(Operand o);
Operand absent();
template <class T>
Operand of(DType dtype, const std::vector<T>& values);  // constant, one-dimensional

struct ConvSpec {
  int64_t batch = 1, height = 1, width = 1, in = 1, out = 1, kernel_h = 1, kernel_w = 1, stride = 1, dilation = 1,
          group = 1;
  int64_t pads[4] = {0, 0, 0, 0};
  bool residual = false, table = false, out_f32 = false, wide_weights = false, one_scale = false, bias = true;
  Fill fill = Fill::usual;

  ConvSpec& same();  // pads that keep the size at stride 1
  int64_t out_h() const { return (height + pads[0] + pads[2] - (kernel_h - 1) * dilation - 1) / stride + 1; }
  int64_t out_w() const { return (width + pads[1] + pads[3] - (kernel_w - 1) * dilation - 1) / stride + 1; }
};
Case qconv_case(Random& r, const ConvSpec& spec);
Case conv_case(Random& r, const ConvSpec& spec);  // float

struct GemmSpec {
  int64_t batch = 0, M = 1, N = 1, K = 1;  // batch 0: no batch axis
  bool residual = false, table = false, out_f32 = false, wide_weights = false, one_scale = false, bias = true;
  Fill fill = Fill::usual;
};
Case qgemm_case(Random& r, const GemmSpec& spec);
Case qgemm_dynamic_case(Random& r, const GemmSpec& spec, const std::string& act);
Case qmatmul_case(Random& r, const GemmSpec& spec);
Case matmul_case(Random& r, const GemmSpec& spec, const std::string& act);  // float, constant weights
// Any other operator. A braced list evaluates its elements in order, so that random operands come out the same
// whichever compiler built this.
struct StepSpec {
  std::string op;
  std::map<std::string, Attr> attrs;
  std::vector<Operand> in;
  DType out;
  int rank;  // of the output
};
Case simple_case(const StepSpec& spec);

}  // namespace octavo
