#include "tools/selftest_cases.h"

#include <algorithm>

#include "tools/fixed_cases.h"

namespace octavo {
namespace {

using Cases = std::vector<Case>;
using Attrs = std::map<std::string, Attr>;
using Ints = std::vector<int64_t>;

template <class T, size_t n>
T pick(Random& r, const T (&of)[n]) {
  return of[r.between(0, int64_t(n) - 1)];
}
bool one_in(Random& r, int n) { return r.between(1, n) == 1; }

constexpr int64_t kChannels[] = {1,  2,  3,  4,  5,  8,  12, 15, 16,  17,  24,  31, 32,
                                 33, 40, 48, 63, 64, 65, 80, 96, 100, 127, 128, 130};

template <class Spec>
void add_variants(Random& r, Spec& s) {
  s.out_f32 = one_in(r, 6);
  s.residual = !s.out_f32 && one_in(r, 4);
  s.table = !s.out_f32 && one_in(r, 4);
  s.wide_weights = one_in(r, 6);
  s.one_scale = one_in(r, 3);
  s.bias = !one_in(r, 5);
  s.fill = one_in(r, 4) ? Fill::extreme : Fill::usual;
}

ConvSpec random_conv(Random& r, bool depthwise) {
  ConvSpec s;
  s.batch = r.between(1, 2);
  s.kernel_h = pick<int64_t>(r, {1, 1, 2, 3, 3, 3, 5, 7});
  s.kernel_w = one_in(r, 4) ? pick<int64_t>(r, {1, 2, 3, 5}) : s.kernel_h;
  s.stride = one_in(r, 3) ? 2 : 1;
  s.dilation = one_in(r, 6) ? 2 : 1;
  s.in = pick(r, kChannels);
  s.out = pick(r, kChannels);
  if (depthwise) {
    s.group = s.in;
    s.out = s.in * (one_in(r, 6) ? 2 : 1);
  } else if (one_in(r, 6)) {
    s.group = r.between(2, 4);
    s.in = s.group * r.between(1, 20);
    s.out = s.group * r.between(1, 20);
  }
  for (int64_t& p : s.pads) p = r.between(0, 2);
  if (one_in(r, 2)) s.same();
  s.height = std::max<int64_t>(r.between(1, 12), (s.kernel_h - 1) * s.dilation + 1);
  s.width = std::max<int64_t>(r.between(1, 19), (s.kernel_w - 1) * s.dilation + 1);
  add_variants(r, s);
  return s;
}

GemmSpec random_gemm(Random& r) {
  GemmSpec s;
  s.batch = one_in(r, 4) ? r.between(1, 3) : 0;
  s.M = one_in(r, 3) ? 1 : r.between(1, 40);
  s.N = one_in(r, 3) ? r.between(1, 200) : pick(r, kChannels);
  s.K = one_in(r, 3) ? r.between(1, 300) : pick(r, kChannels);
  add_variants(r, s);
  return s;
}

void add_products(Random& r, Cases& cases, int scale) {
  for (int k = 0; k < 60 * scale; k++) cases.push_back(qconv_case(r, random_conv(r, false)));
  for (int k = 0; k < 60 * scale; k++) cases.push_back(qconv_case(r, random_conv(r, true)));
  for (int k = 0; k < 60 * scale; k++) cases.push_back(qgemm_case(r, random_gemm(r)));
  for (int k = 0; k < 30 * scale; k++) {
    GemmSpec s = random_gemm(r);
    cases.push_back(qgemm_dynamic_case(r, s, k % 5 == 0 ? "Relu" : k % 5 == 1 ? "Gelu" : ""));
    cases.push_back(qmatmul_case(r, s));
  }
  for (int k = 0; k < 20 * scale; k++) {
    const GemmSpec s = random_gemm(r);
    const DType a = one_in(r, 2) ? DType::u8 : DType::s8, b = one_in(r, 2) ? DType::u8 : DType::s8;
    Operand weights = bytes_operand(r, b, make_shape({s.K, s.N}), s.fill);
    weights.constant = one_in(r, 2);
    std::vector<Operand> in = {bytes_operand(r, a, make_shape({s.M, s.K}), s.fill), weights};
    if (one_in(r, 2)) in.push_back(bytes_operand(r, a, Shape{}));
    if (in.size() == 3 && one_in(r, 2)) in.push_back(bytes_operand(r, b, one_in(r, 2) ? Shape{} : make_shape({s.N})));
    cases.push_back(simple_case({"MatMulInteger", {}, in, DType::s32, 2}));
  }
  for (int k = 0; k < 30 * scale; k++) {
    ConvSpec s = random_conv(r, k % 3 == 0);
    cases.push_back(conv_case(r, s));
    cases.push_back(matmul_case(r, random_gemm(r), k % 4 == 0 ? "Relu" : k % 4 == 1 ? "Sigmoid" : ""));
    Case run_time =
        simple_case({"MatMul",
                     {},
                     {floats(r, make_shape({2, 5, s.in}), -1, 1), floats(r, make_shape({2, s.in, s.out}), -1, 1)},
                     DType::f32,
                     3});
    cases.push_back(run_time);
  }
  for (int k = 0; k < 10 * scale; k++) {
    const int64_t in = pick(r, kChannels), out = pick(r, kChannels), kernel = r.between(1, 4);
    cases.push_back(simple_case(
        {"ConvTranspose",
         {{"strides", Ints{2, 2}}, {"dilations", Ints{1, 1}}, {"pads", Ints{0, 0, 0, 0}}, {"group", int64_t(1)}},
         {floats(r, make_shape({1, r.between(1, 6), r.between(1, 6), in}), -1, 1),
          constant(floats(r, make_shape({out, kernel, kernel, in}), -1, 1))},
         DType::f32,
         4}));
  }
}

Shape random_shape(Random& r, int rank, int64_t most) {
  Shape s;
  s.rank = rank;
  for (int a = 0; a < rank; a++) s.dim[a] = r.between(1, most);
  return s;
}

// A shape that broadcasts to s.
Shape thinner(Random& r, const Shape& s) {
  Shape t = s;
  for (int a = 0; a < s.rank; a++)
    if (one_in(r, 3)) t.dim[a] = 1;
  return t;
}

void add_quantized(Random& r, Cases& cases, int scale) {
  for (int k = 0; k < 30 * scale; k++) {
    const int rank = int(r.between(1, 4));
    const Shape s = k % 3 == 0 ? make_shape({r.between(1, 400)}) : random_shape(r, rank, k % 2 ? 9 : 40 / rank);
    const bool same = one_in(r, 2);
    Attrs add = {{"za", r.between(0, 255)},
                 {"zb", r.between(0, 255)},
                 {"sa", double(r.real(0.01f, 1))},
                 {"sb", double(r.real(0.01f, 1))},
                 {"sy", double(one_in(r, 2) ? 0.25f : r.real(0.01f, 1))},  // a power of two: ties
                 {"zp", r.between(0, 255)},
                 {"lo", int64_t(0)},
                 {"hi", int64_t(255)}};
    if (one_in(r, 3)) add["c"] = double(r.real(-200, 200)), add["inner_a"] = r.between(0, 1);
    std::vector<Operand> two = {bytes_operand(r, DType::u8, same ? s : thinner(r, s)), bytes_operand(r, DType::u8, s)};
    std::vector<Operand> three = two;
    three.push_back(constant(bytes_operand(r, DType::u8, make_shape({256}))));
    cases.push_back(simple_case({"QAdd", add, one_in(r, 3) ? three : two, DType::u8, s.rank}));
    cases.push_back(simple_case({"QMul",
                                 {{"za", r.between(0, 255)},
                                  {"zb", r.between(0, 255)},
                                  {"m", double(r.real(0.0001f, 0.1f))},
                                  {"zp", r.between(0, 255)},
                                  {"lo", r.between(0, 20)},
                                  {"hi", r.between(200, 255)}},
                                 two,
                                 DType::u8,
                                 s.rank}));
    cases.push_back(simple_case({"Lut", {}, {two[1], three[2]}, DType::u8, s.rank}));
    cases.push_back(simple_case({"Lut", {}, {two[1], constant(odd_floats(r, make_shape({256})))}, DType::f32, s.rank}));
    cases.push_back(simple_case({"Flip8", {}, {two[1]}, DType::s8, s.rank}));
    Attrs quantize = {
        {"y_zp", r.between(0, 255)}, {"lo", int64_t(0)}, {"hi", int64_t(255)}, {"graph_input", int64_t(0)}};
    if (one_in(r, 3)) {
      quantize["axis"] = int64_t(s.rank - 1);
      cases.push_back(simple_case({"Quantize",
                                   quantize,
                                   {odd_floats(r, s), constant(floats(r, make_shape({s[-1]}), 0.01f, 1))},
                                   DType::u8,
                                   s.rank}));
    } else {
      quantize["y_scale"] = double(r.real(0.001f, 1));
      if (s.rank == 4) quantize["perm"] = Ints{0, 2, 3, 1};
      cases.push_back(simple_case({"Quantize", quantize, {odd_floats(r, s)}, DType::u8, s.rank}));
    }
    const DType from = k % 3 == 0 ? DType::s32 : k % 3 == 1 ? DType::u8 : DType::s8;
    cases.push_back(simple_case(
        {"Dequantize",
         {{"x_scale", double(r.real(0.001f, 1))}, {"x_zp", r.between(-100, 100) & (from == DType::s32 ? 0 : 127)}},
         {from == DType::s32 ? ints(r, from, s, INT32_MIN, INT32_MAX) : bytes_operand(r, from, s)},
         DType::f32,
         s.rank}));
    Case dynamic = simple_case({"DynamicQuantizeLinear", {}, {floats(r, s, -3, k % 2 ? 3 : -1)}, DType::u8, s.rank});
    dynamic.out.push_back({DType::f32, 0});
    dynamic.out.push_back({DType::u8, 0});
    cases.push_back(dynamic);
  }
  for (int k = 0; k < 20 * scale; k++) {
    const Shape s = make_shape({r.between(1, 2), r.between(3, 12), r.between(3, 12), pick(r, kChannels)});
    const Attrs zero = {{"x_zp", r.between(0, 255)},
                        {"x_scale", double(r.real(0.01f, 3))},
                        {"y_scale", double(r.real(0.01f, 3))},
                        {"y_zp", r.between(0, 255)},
                        {"lo", int64_t(0)},
                        {"hi", int64_t(255)}};
    const int64_t size = r.between(1, 3);
    Attrs pool = {
        {"kernel_shape", Ints{size, size}},
        {"strides", Ints{r.between(1, 2), r.between(1, 2)}},
        {"pads", Ints{r.between(0, size - 1), r.between(0, size - 1), r.between(0, size - 1), r.between(0, size - 1)}},
        {"dilations", Ints{1, 1}},
        {"ceil_mode", int64_t(0)}};
    cases.push_back(simple_case(
        {"MaxPool", pool, {bytes_operand(r, k % 2 ? DType::u8 : DType::s8, s)}, k % 2 ? DType::u8 : DType::s8, 4}));
    cases.push_back(simple_case({"MaxPool", pool, {floats(r, s, -5, 5)}, DType::f32, 4}));
    pool["count_include_pad"] = r.between(0, 1);
    cases.push_back(simple_case({"AveragePool", pool, {floats(r, s, -5, 5)}, DType::f32, 4}));
    pool.insert(zero.begin(), zero.end());
    pool["zp_before"] = k % 2 ? int64_t(0) : r.between(-128, 255);
    cases.push_back(simple_case({"QAveragePool", pool, {bytes_operand(r, DType::u8, s)}, DType::u8, 4}));
    Attrs mean = zero;
    mean["keepdims"] = int64_t(1);
    mean["axes"] = k % 3 == 0 ? Ints{1, 2} : k % 3 == 1 ? Ints{3} : Ints{1};
    cases.push_back(simple_case({"QReduceMean", mean, {bytes_operand(r, DType::u8, s)}, DType::u8, 4}));
  }
}

// Every third integer step again, in the fixed scheme.
void add_fixed(Random& r, Cases& cases, int scale) {
  Cases more;
  for (size_t k = 0; k < cases.size(); k += 3)
    for (const char* op : {"QConv", "QGemm", "QAdd", "QMul", "QAveragePool", "QReduceMean"})
      if (cases[k].step.op == op) more.push_back(fixed_case(r, cases[k]));
  cases.insert(cases.end(), more.begin(), more.end());
  for (int k = 0; k < 10 * scale; k++) cases.push_back(qsoftmax_case(r));
}

void add_float(Random& r, Cases& cases, int scale) {
  for (const char* fn :
       {"Relu",  "Clip", "LeakyRelu", "Elu",      "Sigmoid", "Silu", "HardSigmoid", "HardSwish", "Tanh",
        "Erf",   "Gelu", "GeluTanh",  "Exp",      "Log",     "Sqrt", "Reciprocal",  "Neg",       "Abs",
        "Floor", "Ceil", "Round",     "Softplus", "Sign",    "Sin",  "Cos"})
    for (int64_t n : {1, 7, 64, 1000}) {
      Attrs attrs = {{"fn", std::string(fn)}};
      if (std::string(fn) == "Clip") attrs["lo"] = -1.5, attrs["hi"] = 6.0;
      if (std::string(fn) == "LeakyRelu" || std::string(fn) == "HardSigmoid") attrs["alpha"] = 0.2;
      if (std::string(fn) == "HardSigmoid") attrs["beta"] = 0.5;
      cases.push_back(simple_case({"Unary", attrs, {odd_floats(r, make_shape({n}))}, DType::f32, 1}));
    }
  for (const char* fn : {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu", "Equal", "Less", "LessOrEqual",
                         "Greater", "GreaterOrEqual"})
    for (int k = 0; k < 6 * scale; k++) {
      const std::string name = fn;
      const bool compares = name == "Equal" || name.find("Less") == 0 || name.find("Greater") == 0;
      const Shape s = random_shape(r, int(r.between(1, 4)), k % 2 ? 6 : 20);
      cases.push_back(simple_case({"Binary",
                                   {{"fn", name}},
                                   {odd_floats(r, s), odd_floats(r, k % 2 ? s : thinner(r, s))},
                                   compares ? DType::boolean : DType::f32,
                                   s.rank}));
    }
  for (int k = 0; k < 12 * scale; k++) {
    const Shape s = random_shape(r, 3, k % 2 ? 70 : 9);
    const int64_t axis = r.between(0, 2);
    for (const char* fn : {"Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2"})
      cases.push_back(
          simple_case({"Reduce",
                       {{"fn", std::string(fn)}, {"axes", k % 3 ? Ints{axis} : Ints{1, 2}}, {"keepdims", int64_t(1)}},
                       {floats(r, s, -2, 2)},
                       DType::f32,
                       3}));
    cases.push_back(
        simple_case({"Softmax", {{"axis", axis}, {"log", r.between(0, 1)}}, {floats(r, s, -30, 30)}, DType::f32, 3}));
    cases.push_back(simple_case({"LayerNormalization",
                                 {{"axis", int64_t(-1)}, {"epsilon", 1e-5}},
                                 {floats(r, s, -4, 4), constant(floats(r, make_shape({s[-1]}), 0.5f, 2)),
                                  constant(floats(r, make_shape({s[-1]}), -1, 1))},
                                 DType::f32,
                                 3}));
    const int64_t m = r.between(1, 40), n = r.between(1, 40), heads = r.between(1, 3), d = r.between(1, 20);
    cases.push_back(simple_case({"Attention",
                                 {{k % 2 ? "divide" : "multiply", 2.5}},
                                 {floats(r, make_shape({2, m, heads, d}), -2, 2),
                                  floats(r, make_shape({k % 3 ? 2 : 1, n, k % 4 ? heads : 1, d}), -2, 2),
                                  floats(r, make_shape({2, n, heads, r.between(1, 20)}), -2, 2),
                                  floats(r, make_shape({2, 1, k % 2 ? m : 1, k % 5 ? n : 1}), -9, 0)},
                                 DType::f32,
                                 4}));
    const Shape image = make_shape({1, r.between(1, 9), r.between(1, 9), pick(r, kChannels)});
    cases.push_back(simple_case(
        {"Resize",
         {{"mode", std::string(k % 3 == 0   ? "nearest"
                               : k % 3 == 1 ? "linear"
                                            : "cubic")}},
         {floats(r, image, -1, 1), of<int64_t>(DType::s64, {1, r.between(1, 20), r.between(1, 20), image.dim[3]})},
         DType::f32,
         4}));
  }
}

}  // namespace

std::vector<Case> selftest_cases(uint64_t seed, int scale) {
  Random r(seed);
  Cases cases;
  add_products(r, cases, scale);
  add_quantized(r, cases, scale);
  add_fixed(r, cases, scale);
  add_float(r, cases, scale);
  std::stable_sort(cases.begin(), cases.end(), [](const Case& a, const Case& b) { return a.step.op < b.step.op; });
  return cases;
}

}  // namespace octavo
