// The float operators: every ISA level gives the scalar bytes, and the scalar ones are close to naive double loops.
#include <cmath>
#include <limits>

#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/registry.h"
#include "op_harness.h"

using namespace octavo;
using namespace octavo::test;

namespace {

Tensor run_on(Isa isa, int threads, const char* op, const Attrs& attrs, std::vector<Tensor>& in, DType out) {
  StepDef step{op, "tested", {}, {0}, attrs};
  for (size_t k = 0; k < in.size(); k++) step.inputs.push_back(in[k].dtype == DType::none ? -1 : int(k));
  BindContext bind{step, isa, {}, {}};
  std::vector<View> views;
  for (Tensor& t : in) views.push_back(t.dtype == DType::none ? View{} : t.view());
  for (size_t k = 0; k < in.size(); k++)
    bind.inputs.push_back({in[k].dtype, in[k].shape.rank, &views[k], in[k].dtype != DType::none});
  bind.outputs.push_back({out, 0, nullptr, true});
  const std::unique_ptr<Op> made = find_op(op)(bind);
  InferContext infer{step, views, std::vector<Shape>(1)};
  made->infer(infer);
  Tensor y = blank(out, infer.out[0]);
  std::memset(y.bytes.data(), 0xA5, y.bytes.size());
  View target = y.view();
  std::vector<uint8_t> scratch(made->scratch_bytes(views.data(), &target, threads) + 64);
  uint8_t* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  Region pool(threads);
  RunContext ctx{views.data(), &target, int(views.size()), 1, aligned, pool};
  made->run(ctx);
  for (size_t i = y.bytes.size() - 64; i < y.bytes.size(); i++)
    if (!CHECK(y.bytes[i] == 0xA5)) break;
  return y;
}

// Bytes agree; NaNs agree as NaNs.
bool same(const Tensor& a, const Tensor& b) {
  if (a.shape != b.shape || a.dtype != b.dtype) return false;
  if (a.dtype != DType::f32) return a.bytes == b.bytes;
  const auto u = values<float>(a), v = values<float>(b);
  for (size_t i = 0; i < u.size(); i++)
    if (std::memcmp(&u[i], &v[i], 4) != 0 && (u[i] == u[i] || v[i] == v[i])) return false;
  return true;
}

// The scalar result, after checking that every level and thread count gives its bytes.
Tensor everywhere(const char* op, const Attrs& attrs, std::vector<Tensor> in, DType out = DType::f32) {
  const Tensor y = run_on(Isa::scalar, 1, op, attrs, in, out);
  for (Isa isa : compiled_isas())
    if (supported(isa)) {
      const bool ok = same(y, run_on(isa, 1, op, attrs, in, out)) && same(y, run_on(isa, 2, op, attrs, in, out));
      if (!CHECK(ok)) std::printf("  %s on %s\n", op, name_of(isa));
    }
  return y;
}

float number() { return float(int32_t(rng.next())) * 0x1p-30f; }
Tensor floats(const Shape& s, bool wild = false) {
  Tensor t = blank(DType::f32, s);
  float* p = reinterpret_cast<float*>(t.bytes.data());
  const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -3e38f, 3e38f, 88.8f, -103.5f};
  for (int64_t i = 0; i < s.elements(); i++)
    p[i] = wild && rng.between(0, 6) == 0 ? odd[rng.between(0, 9)] : number() * (wild ? 8.0f : 1.0f);
  return t;
}

bool close(const Tensor& y, const std::vector<double>& expected, double tolerance) {
  const auto v = values<float>(y);
  if (v.size() != expected.size()) return false;
  for (size_t i = 0; i < v.size(); i++)
    if (!(std::fabs(v[i] - expected[i]) <= tolerance * (1 + std::fabs(expected[i])))) {
      std::printf("  [%zu] %g, expected %g\n", i, double(v[i]), expected[i]);
      return false;
    }
  return true;
}

struct ConvCase {
  int64_t n, h, w, c, o, kh, kw, s, d, group;
  Ints pads;
  const char* act;
  bool residual;
};

double act_of(const char* name, double x) {
  if (std::strcmp(name, "Relu") == 0) return std::fmax(x, 0);
  if (std::strcmp(name, "Clip") == 0) return std::fmin(std::fmax(x, -0.5), 0.75);
  if (std::strcmp(name, "Silu") == 0) return x / (1 + std::exp(-x));
  return x;
}

void test_conv(const ConvCase& k) {
  const Tensor x = floats(shape_of({k.n, k.h, k.w, k.c})), w = floats(shape_of({k.o, k.kh, k.kw, k.c / k.group}));
  const Tensor b = floats(shape_of({k.o}));
  Attrs attrs{{"strides", Ints{k.s, k.s}}, {"dilations", Ints{k.d, k.d}}, {"pads", k.pads}, {"group", k.group}};
  attrs["act"] = std::string(k.act), attrs["act_lo"] = -0.5, attrs["act_hi"] = 0.75;
  const int64_t oh = (k.h + k.pads[0] + k.pads[2] - (k.kh - 1) * k.d - 1) / k.s + 1;
  const int64_t ow = (k.w + k.pads[1] + k.pads[3] - (k.kw - 1) * k.d - 1) / k.s + 1;
  std::vector<Tensor> in{x, w, b};
  if (k.residual) in.push_back(floats(shape_of({k.n, oh, ow, k.o})));
  const Tensor y = everywhere("Conv", attrs, in);
  CHECK(y.shape == shape_of({k.n, oh, ow, k.o}));
  const auto xv = values<float>(x), wv = values<float>(w), bv = values<float>(b);
  std::vector<double> expected;
  const int64_t cg = k.c / k.group;
  for (int64_t n = 0; n < k.n; n++)
    for (int64_t oy = 0; oy < oh; oy++)
      for (int64_t ox = 0; ox < ow; ox++)
        for (int64_t o = 0; o < k.o; o++) {
          double sum = bv[size_t(o)];
          for (int64_t ky = 0; ky < k.kh; ky++)
            for (int64_t kx = 0; kx < k.kw; kx++)
              for (int64_t c = 0; c < cg; c++) {
                const int64_t iy = oy * k.s + ky * k.d - k.pads[0], ix = ox * k.s + kx * k.d - k.pads[1];
                if (iy < 0 || iy >= k.h || ix < 0 || ix >= k.w) continue;
                sum += double(xv[size_t(((n * k.h + iy) * k.w + ix) * k.c + o / (k.o / k.group) * cg + c)]) *
                       double(wv[size_t(((o * k.kh + ky) * k.kw + kx) * cg + c)]);
              }
          if (k.residual) sum += double(values<float>(in[3])[expected.size()]);
          expected.push_back(act_of(k.act, sum));
        }
  CHECK(close(y, expected, 2e-5));
  attrs["acc64"] = int64_t(1);
  CHECK(close(everywhere("Conv", attrs, in), expected, 2e-6));
}

void test_convs() {
  const ConvCase cases[] = {
      {1, 7, 7, 24, 40, 1, 1, 1, 1, 1, {0, 0, 0, 0}, "", false},
      {2, 9, 8, 3, 17, 3, 3, 2, 1, 1, {1, 1, 0, 1}, "Relu", false},
      {1, 13, 15, 16, 33, 3, 3, 1, 1, 1, {1, 1, 1, 1}, "Clip", true},
      {1, 8, 9, 12, 18, 3, 2, 1, 2, 3, {2, 1, 2, 1}, "Silu", true},
      {2, 11, 14, 37, 37, 3, 3, 1, 1, 37, {1, 1, 1, 1}, "Clip", false},
      {1, 11, 13, 20, 20, 5, 5, 2, 1, 20, {2, 2, 2, 2}, "Silu", false},
      {1, 9, 9, 18, 18, 3, 3, 1, 2, 18, {2, 2, 2, 2}, "", false},
      {1, 10, 10, 16, 16, 5, 5, 1, 1, 16, {2, 2, 2, 2}, "Relu", true},
      {1, 10, 11, 16, 16, 3, 3, 2, 1, 16, {0, 0, 1, 1}, "Relu", false},
      {1, 6, 6, 8, 16, 3, 3, 1, 1, 8, {1, 1, 1, 1}, "", false},
      {1, 1, 1, 70, 100, 1, 1, 1, 1, 1, {0, 0, 0, 0}, "", false},
      {1, 20, 20, 64, 96, 1, 1, 2, 1, 1, {0, 0, 0, 0}, "Relu", true},
      {0, 5, 5, 4, 4, 3, 3, 1, 1, 1, {1, 1, 1, 1}, "", false},
  };
  for (const ConvCase& k : cases) test_conv(k);
  // 1-D, and refusals.
  CHECK(everywhere("Conv", {{"pads", Ints{1, 1}}}, {floats(shape_of({2, 9, 5})), floats(shape_of({6, 3, 5}))}).shape ==
        shape_of({2, 9, 6}));
  const Tensor x = floats(shape_of({1, 4, 4, 4})), w = floats(shape_of({4, 3, 3, 4}));
  CHECK(refused("Conv", {{"strides", Ints{0, 1}}}, {x, w}, DType::f32));
  CHECK(refused("Conv", {{"pads", Ints{-1, 0, 0, 0}}}, {x, w}, DType::f32));
  CHECK(refused("Conv", {{"group", int64_t(3)}}, {x, w}, DType::f32));
  CHECK(refused("Conv", {{"act", std::string("Rely")}}, {x, w}, DType::f32));
  CHECK(refused("Conv", {}, {floats(shape_of({1, 4, 4, 5})), w}, DType::f32));
}

void test_conv_transpose(int64_t h, int64_t w, int64_t c, int64_t o, int64_t k, int64_t s, int64_t d, int64_t pad,
                         int64_t extra, int64_t group) {
  const Tensor x = floats(shape_of({2, h, w, c})), f = floats(shape_of({o, k, k, c / group})),
               b = floats(shape_of({o}));
  Attrs attrs{{"strides", Ints{s, s}},
              {"dilations", Ints{d, d}},
              {"pads", Ints{pad, pad, pad, pad}},
              {"group", group},
              {"output_padding", Ints{extra, extra}}};
  const Tensor y = everywhere("ConvTranspose", attrs, {x, f, b});
  const int64_t oh = (h - 1) * s + (k - 1) * d + 1 + extra - 2 * pad,
                ow = (w - 1) * s + (k - 1) * d + 1 + extra - 2 * pad;
  CHECK(y.shape == shape_of({2, oh, ow, o}));
  const auto xv = values<float>(x), fv = values<float>(f), bv = values<float>(b);
  std::vector<double> expected(size_t(2 * oh * ow * o));
  for (size_t i = 0; i < expected.size(); i++) expected[i] = bv[i % size_t(o)];
  for (int64_t n = 0; n < 2; n++)  // scatter: the other way round
    for (int64_t iy = 0; iy < h; iy++)
      for (int64_t ix = 0; ix < w; ix++)
        for (int64_t ky = 0; ky < k; ky++)
          for (int64_t kx = 0; kx < k; kx++) {
            const int64_t oy = iy * s + ky * d - pad, ox = ix * s + kx * d - pad;
            if (oy < 0 || oy >= oh || ox < 0 || ox >= ow) continue;
            for (int64_t q = 0; q < o; q++)
              for (int64_t e = 0; e < c / group; e++)
                expected[size_t(((n * oh + oy) * ow + ox) * o + q)] +=
                    double(xv[size_t(((n * h + iy) * w + ix) * c + q / (o / group) * (c / group) + e)]) *
                    double(fv[size_t(((q * k + ky) * k + kx) * (c / group) + e)]);
          }
  CHECK(close(y, expected, 2e-5));
  attrs["acc64"] = int64_t(1);
  CHECK(close(everywhere("ConvTranspose", attrs, {x, f, b}), expected, 2e-6));
}

void test_matmul() {
  const int64_t sizes[][3] = {{1, 70, 100}, {5, 33, 17}, {29, 64, 48}, {37, 130, 65}, {4, 0, 6}, {64, 200, 300}};
  for (const auto& s : sizes)
    for (int64_t trans = 0; trans < 2; trans++) {
      const Tensor a = floats(shape_of({s[0], s[1]})),
                   b = floats(trans ? shape_of({s[2], s[1]}) : shape_of({s[1], s[2]}));
      const Tensor bias = floats(shape_of({s[2]})), z = floats(shape_of({s[0], s[2]}));
      const Tensor y = everywhere("MatMul", {{"trans_b", trans}, {"act", std::string("Relu")}}, {a, b, bias, z});
      const auto av = values<float>(a), bv = values<float>(b), cv = values<float>(bias), zv = values<float>(z);
      std::vector<double> expected;
      for (int64_t m = 0; m < s[0]; m++)
        for (int64_t n = 0; n < s[2]; n++) {
          double sum = double(cv[size_t(n)]) + double(zv[size_t(m * s[2] + n)]);
          for (int64_t k = 0; k < s[1]; k++)
            sum += double(av[size_t(m * s[1] + k)]) * double(bv[size_t(trans ? n * s[1] + k : k * s[2] + n)]);
          expected.push_back(std::fmax(sum, 0));
        }
      CHECK(close(y, expected, 5e-5));
    }
  // Batches, broadcast batches and vectors, against products of single matrices.
  const Tensor a = floats(shape_of({2, 1, 3, 5})), b = floats(shape_of({4, 5, 7}));
  const Tensor y = everywhere("MatMul", {}, {a, b});
  CHECK(y.shape == shape_of({2, 4, 3, 7}));
  for (int64_t i = 0; i < 2; i++)
    for (int64_t j = 0; j < 4; j++) {
      Tensor p = floats(shape_of({3, 5})), q = floats(shape_of({5, 7}));
      std::memcpy(p.bytes.data(), a.bytes.data() + i * 15 * 4, 15 * 4);
      std::memcpy(q.bytes.data(), b.bytes.data() + j * 35 * 4, 35 * 4);
      CHECK(std::memcmp(everywhere("MatMul", {}, {p, q}).bytes.data(), y.bytes.data() + (i * 4 + j) * 21 * 4, 21 * 4) ==
            0);
    }
  CHECK(everywhere("MatMul", {}, {floats(shape_of({5})), b}).shape == shape_of({4, 7}));
  CHECK(everywhere("MatMul", {}, {floats(shape_of({3, 5})), floats(shape_of({5}))}).shape == shape_of({3}));
  CHECK(refused("MatMul", {}, {floats(shape_of({3, 5})), floats(shape_of({6, 2}))}, DType::f32));
}

// Every function on a grid of bit patterns over the whole float range, row by row and against unary_f32.
void test_unary() {
  for (int f = 1; f < int(UnaryFn::Not); f++) {
    const UnaryFn fn = UnaryFn(f);
    float alpha, beta;
    unary_defaults(fn, alpha, beta);
    if (fn == UnaryFn::Clip) alpha = -1.5f, beta = 6.0f;
    const bool slow = fn == UnaryFn::Log || fn == UnaryFn::Softplus || fn == UnaryFn::Sin || fn == UnaryFn::Cos;
    const uint32_t step = slow ? 2000003 : 60013;
    std::vector<float> x;
    for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += step) {
      const uint32_t b = uint32_t(bits);
      float v;
      std::memcpy(&v, &b, 4);
      x.push_back(v);
    }
    for (int k = 0; k < 20000; k++) x.push_back(number() * 40.0f);
    for (float v :
         {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-45f, 0.5f, 1.5f, 2.5f, -87.0f, 88.722839f, 88.722847f})
      x.push_back(v);
    for (Isa isa : compiled_isas()) {
      if (!supported(isa)) continue;
      std::vector<float> y(x.size());
      unary_row_f32(*static_cast<const EltwiseF32*>(find_kernel("eltwise_f32", isa)), f, x.data(), y.data(),
                    int64_t(x.size()), alpha, beta);
      int64_t wrong = 0;
      for (size_t i = 0; i < x.size(); i++) {
        const float e = unary_f32(fn, x[i], alpha, beta);
        if (std::memcmp(&e, &y[i], 4) != 0 && (e == e || y[i] == y[i]) && wrong++ == 0)
          std::printf("  %s(%a) on %s: %a, expected %a\n", name_of(fn), double(x[i]), name_of(isa), double(y[i]),
                      double(e));
      }
      CHECK(wrong == 0);
    }
  }
  // Accuracy of the vectorisable approximations and of the double functions.
  double exp_error = 0, error = 0, exact = 0;
  for (int k = -400000; k < 400000; k++) {
    const float x = float(k) * 2.17e-4f;
    const double d = x;
    auto note = [&](UnaryFn fn, double truth) { error = std::fmax(error, std::fabs(unary_f32(fn, x, 1, 0) - truth)); };
    exp_error = std::fmax(exp_error, std::fabs(unary_f32(UnaryFn::Exp, x, 0, 0) / std::exp(d) - 1));
    note(UnaryFn::Sigmoid, 1 / (1 + std::exp(-d)));
    note(UnaryFn::Tanh, std::tanh(d));
    note(UnaryFn::Erf, std::erf(d));
    auto relative = [&](double a, double b) {
      exact = std::fmax(exact, std::fabs(a - b) / std::fmax(std::fabs(b), 1e-300));
    };
    relative(exp_exact(d), std::exp(d));
    relative(tanh_exact(d), std::tanh(d));
    relative(softplus_exact(d), std::log1p(std::exp(d)));
    relative(pow_exact(std::fabs(d) + 0.01, 1.7), std::pow(std::fabs(d) + 0.01, 1.7));
    if (k % 16 == 0) relative(erf_exact(d / 16), std::erf(d / 16));
    if (d > 0) relative(log_exact(d * d), std::log(d * d) == 0 ? 0 : std::log(d * d));
    exact = std::fmax(exact, std::fabs(sin_exact(d) - std::sin(d)));
    const float far = std::ldexp(x, 20 + (k & 63));
    exact = std::fmax(exact, std::fabs(cos_exact(far) - std::cos(double(far))));
  }
  CHECK(exp_error < 2.5e-7);
  CHECK(error < 2e-7);
  CHECK(exact < 1e-12);
  CHECK(unary_f32(UnaryFn::Exp, 89.0f, 0, 0) == INFINITY && unary_f32(UnaryFn::Exp, -104.0f, 0, 0) == 0.0f);
  CHECK(std::isnan(unary_f32(UnaryFn::Relu, NAN, 0, 0)) && std::isnan(unary_f32(UnaryFn::Clip, NAN, 0, 1)));
  const Tensor i = s32({-5, 0, 7, INT32_MIN});
  CHECK(values<int32_t>(everywhere("Unary", {{"fn", std::string("Abs")}}, {i}, DType::s32)) ==
        (std::vector<int32_t>{5, 0, 7, INT32_MIN}));
  CHECK(values<int32_t>(everywhere("Unary", {{"fn", std::string("Clip")}, {"lo", -1.5}, {"hi", 3.0}}, {i},
                                   DType::s32)) == (std::vector<int32_t>{-1, 0, 3, -1}));
}

void test_binary() {
  const char* const names[] = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod", "PRelu"};
  const Shape shapes[][2] = {{shape_of({3, 37}), shape_of({3, 37})},
                             {shape_of({4, 19}), shape_of({19})},
                             {shape_of({2, 3, 4, 5}), shape_of({2, 1, 1, 5})},
                             {shape_of({}), shape_of({33})},
                             {shape_of({5, 1}), shape_of({1, 7})},
                             {shape_of({2, 3, 1}), shape_of({3, 16})},
                             {shape_of({0, 3}), shape_of({3})}};
  for (const char* name : names)
    for (const auto& s : shapes) {
      const Tensor a = floats(s[0], true), b = floats(s[1], true);
      const Tensor y = everywhere("Binary", {{"fn", std::string(name)}}, {a, b});
      const auto av = values<float>(a), bv = values<float>(b), yv = values<float>(y);
      int64_t wrong = 0;
      for (int64_t i = 0; i < y.shape.elements(); i++) {
        int64_t rest = i, ia = 0, ib = 0, ta = 1, tb = 1;
        for (int k = 1; k <= y.shape.rank; k++) {
          const int64_t at = rest % y.shape[-k];
          rest /= y.shape[-k];
          if (k <= a.shape.rank) ia += (a.shape[-k] == 1 ? 0 : at) * ta, ta *= a.shape[-k];
          if (k <= b.shape.rank) ib += (b.shape[-k] == 1 ? 0 : at) * tb, tb *= b.shape[-k];
        }
        const float u = av[size_t(ia)], v = bv[size_t(ib)];
        float e = 0;
        switch (name[0] + name[1]) {
          case 'A' + 'd':
            e = u + v;
            break;
          case 'S' + 'u':
            e = u - v;
            break;
          case 'M' + 'u':
            e = u * v;
            break;
          case 'D' + 'i':
            e = u / v;
            break;
          case 'M' + 'i':
            e = std::isnan(u) || std::isnan(v) ? NAN : u < v ? u : v;
            break;
          case 'M' + 'a':
            e = std::isnan(u) || std::isnan(v) ? NAN : u > v ? u : v;
            break;
          case 'P' + 'R':
            e = u < 0 ? v * u : u;
            break;
          default:
            continue;
        }
        const float r = yv[size_t(i)];
        if (e != r && (e == e || r == r)) wrong++;
      }
      CHECK(wrong == 0);
    }
  const Tensor f = list(DType::f32, std::vector<float>{-3.5f, 3.5f, -3.5f, 4.0f}),
               g = list(DType::f32, std::vector<float>{2, -2, -2, 0.5f});
  CHECK(values<float>(everywhere("Binary", {{"fn", std::string("Mod")}}, {f, g})) ==
        (std::vector<float>{0.5f, -0.5f, -1.5f, 0.0f}));
  CHECK(values<float>(everywhere("Binary", {{"fn", std::string("Pow")}}, {f, g}))[3] == 2.0f);
  const Tensor p = s64({7, -7, 5, INT64_MIN}), q = s64({2, 2, 0, -1});
  auto ints = [&](const char* fn, const Attrs& more = {}) {
    Attrs attrs = more;
    attrs["fn"] = std::string(fn);
    return values<int64_t>(everywhere("Binary", attrs, {p, q}, DType::s64));
  };
  CHECK(ints("Div") == (std::vector<int64_t>{3, -3, 0, INT64_MIN}));
  CHECK(ints("Mod") == (std::vector<int64_t>{1, 1, 0, 0}));
  CHECK(ints("Mod", {{"fmod", int64_t(1)}}) == (std::vector<int64_t>{1, -1, 0, 0}));
  CHECK(values<uint8_t>(everywhere("Binary", {{"fn", std::string("Less")}}, {q, p}, DType::boolean)) ==
        (std::vector<uint8_t>{1, 0, 1, 0}));
  CHECK(refused("Binary", {{"fn", std::string("Add")}}, {f, s64({1})}, DType::f32));
  CHECK(refused("Binary", {{"fn", std::string("Add")}}, {f, list(DType::f32, std::vector<float>(3))}, DType::f32));
}

void test_rows() {
  for (int round = 0; round < 40; round++) {
    Shape s = shape_of({rng.between(1, 4), rng.between(1, 40), rng.between(1, 70)});
    const Tensor x = floats(s);
    const auto v = values<float>(x);
    for (int axis = 0; axis < 3; axis++) {
      const Tensor y = everywhere("Softmax", {{"axis", int64_t(axis)}}, {x});
      const Tensor l = everywhere("Softmax", {{"axis", int64_t(axis)}, {"log", int64_t(1)}}, {x});
      const int64_t n = s[axis], inner = s.span(axis + 1, 3);
      std::vector<double> soft(v.size()), logs(v.size());
      for (int64_t i = 0; i < s.elements(); i++) {
        double sum = 0;
        const int64_t base = i / (n * inner) * n * inner + i % inner;
        for (int64_t k = 0; k < n; k++) sum += std::exp(double(v[size_t(base + k * inner)]));
        soft[size_t(i)] = std::exp(double(v[size_t(i)])) / sum, logs[size_t(i)] = v[size_t(i)] - std::log(sum);
      }
      CHECK(close(y, soft, 1e-6) && close(l, logs, 2e-6));
    }
    const Tensor scale = floats(shape_of({s[2]})), bias = floats(shape_of({s[2]}));
    const Tensor y = everywhere("LayerNormalization", {{"epsilon", 1e-2}}, {x, scale, bias});
    std::vector<double> expected;
    for (int64_t r = 0; r < s[0] * s[1]; r++) {
      double mean = 0, var = 0;
      for (int64_t k = 0; k < s[2]; k++) mean += v[size_t(r * s[2] + k)] / double(s[2]);
      for (int64_t k = 0; k < s[2]; k++) var += std::pow(v[size_t(r * s[2] + k)] - mean, 2) / double(s[2]);
      for (int64_t k = 0; k < s[2]; k++)
        expected.push_back((v[size_t(r * s[2] + k)] - mean) / std::sqrt(var + 1e-2) * values<float>(scale)[size_t(k)] +
                           values<float>(bias)[size_t(k)]);
    }
    CHECK(close(y, expected, 2e-5));
  }
  everywhere("Softmax", {}, {floats(shape_of({30, 50}), true)});
  everywhere("Softmax", {{"axis", int64_t(0)}}, {floats(shape_of({30, 50}), true)});
}

void test_reduce() {
  const char* const names[] = {"Mean", "Sum", "Max", "Min", "Prod", "SumSquare", "L1", "L2"};
  for (int round = 0; round < 60; round++) {
    const Shape s = shape_of({rng.between(1, 3), rng.between(1, 9), rng.between(1, 37), rng.between(1, 40)});
    const Tensor x = floats(s);
    const auto v = values<float>(x);
    const int mask = int(rng.between(1, 15));
    Ints axes;
    for (int a = 0; a < 4; a++)
      if (mask >> a & 1) axes.push_back(a);
    for (const char* name : names) {
      const Tensor y = everywhere("Reduce", {{"fn", std::string(name)}, {"axes", axes}}, {x});
      const std::string f = name;
      std::vector<double> expected(size_t(y.shape.elements()), f == "Max"    ? -1e300
                                                               : f == "Min"  ? 1e300
                                                               : f == "Prod" ? 1.0
                                                                             : 0.0);
      for (size_t i = 0; i < v.size(); i++) {
        int64_t rest = int64_t(i), at = 0, stride = 1;
        for (int a = 3; a >= 0; a--) {
          const int64_t index = rest % s.dim[a];
          rest /= s.dim[a];
          if (!(mask >> a & 1)) at += index * stride, stride *= s.dim[a];
        }
        double& e = expected[size_t(at)];
        const double d = v[i];
        e = f == "Max"                      ? std::fmax(e, d)
            : f == "Min"                    ? std::fmin(e, d)
            : f == "Prod"                   ? e * d
            : f == "L1"                     ? e + std::fabs(d)
            : f == "SumSquare" || f == "L2" ? e + d * d
                                            : e + d;
      }
      const double count = double(v.size()) / double(expected.size());
      for (double& e : expected) e = f == "Mean" ? e / count : f == "L2" ? std::sqrt(e) : e;
      if (f != "Prod" || count < 60) CHECK(close(y, expected, 1e-4));
      everywhere("Reduce", {{"fn", f}, {"axes", axes}, {"keepdims", int64_t(0)}}, {floats(s, true)});
    }
  }
  CHECK(values<int64_t>(everywhere("Reduce", {{"fn", std::string("Sum")}, {"keepdims", int64_t(0)}},
                                   {s64({1, 2, 3}), s64({0})}, DType::s64)) == (std::vector<int64_t>{6}));
  CHECK(refused("Reduce", {{"fn", std::string("Sum")}, {"axes", Ints{4}}}, {s64({1})}, DType::s64));
}

void test_images() {
  const Tensor x = floats(shape_of({2, 7, 6, 19}));
  const auto v = values<float>(x);
  const Tensor y = everywhere("AveragePool",
                              {{"kernel_shape", Ints{3, 2}}, {"strides", Ints{2, 1}}, {"pads", Ints{1, 0, 1, 1}}}, {x});
  CHECK(y.shape == shape_of({2, 4, 6, 19}));
  std::vector<double> expected;
  for (int64_t n = 0; n < 2; n++)
    for (int64_t oy = 0; oy < 4; oy++)
      for (int64_t ox = 0; ox < 6; ox++)
        for (int64_t c = 0; c < 19; c++) {
          double sum = 0, count = 0;
          for (int64_t iy = oy * 2 - 1; iy < oy * 2 + 2; iy++)
            for (int64_t ix = ox; ix < ox + 2; ix++)
              if (iy >= 0 && iy < 7 && ix < 6) sum += v[size_t(((n * 7 + iy) * 6 + ix) * 19 + c)], count++;
          expected.push_back(sum / count);
        }
  CHECK(close(y, expected, 1e-6));
  const Tensor line = [] {
    Tensor t = blank(DType::f32, shape_of({1, 4, 1}));
    for (int k = 0; k < 4; k++) reinterpret_cast<float*>(t.bytes.data())[k] = float(k + 1);
    return t;
  }();
  auto resize = [&](const Attrs& attrs, int64_t size) {
    return values<float>(everywhere("Resize", attrs, {line, s64({1, size, 1})}));
  };
  using F = std::vector<float>;
  CHECK(resize({{"mode", std::string("linear")}}, 8) == (F{1, 1.25f, 1.75f, 2.25f, 2.75f, 3.25f, 3.75f, 4}));
  CHECK(resize({{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string("align_corners")}},
               7) == (F{1, 1.5f, 2, 2.5f, 3, 3.5f, 4}));
  CHECK(resize({{"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}},
               8) == (F{1, 1, 2, 2, 3, 3, 4, 4}));
  CHECK(resize({{"mode", std::string("cubic")}}, 4) == (F{1, 2, 3, 4}));
  CHECK(refused("Resize", {{"mode", std::string("bilinear")}}, {line, s64({1, 8, 1})}, DType::f32));
}

}  // namespace

int main() {
  test_unary();
  test_convs();
  test_conv_transpose(5, 6, 8, 12, 3, 2, 1, 1, 1, 1);
  test_conv_transpose(4, 3, 6, 9, 2, 2, 1, 0, 0, 3);
  test_conv_transpose(4, 5, 4, 35, 3, 1, 2, 2, 0, 1);
  test_conv_transpose(3, 4, 4, 4, 2, 3, 1, 0, 0, 4);
  test_matmul();
  test_binary();
  test_rows();
  test_reduce();
  test_images();
  return check::finish();
}
