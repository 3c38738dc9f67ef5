// Recurrent: RNN, GRU, LSTM over a sequence, given the inputs' part of every gate (one product for all steps, made by
// MatMul). All float32. T steps, B sequences, D directions, G gates (1, 3, 4), H units.
//   inputs  0 p [T, B, D * G * H]: x W + both biases      1 r [D, G * H, H]
//           2 initial_h [D, B, H]?  3 initial_c [D, B, H]? (LSTM)  4 lengths [B] s32 or s64?
//           5 peepholes [D, 3 * H]? (LSTM; i, o, f)  6 the hidden gate's recurrent bias [D, H]? (GRU, then
//             linear_before_reset, and p does not hold it)
//   outputs y [T, D, B, H], y_h [D, B, H], y_c [D, B, H] (LSTM)
// Gates lie as ONNX has them: i o f c; z r h. a = fl(chain(h R) + p), the chain of MatMul; then fl(a + peephole * c);
// then clip; then the gate's function. Every product, sum and function rounds to float32.
#include <algorithm>
#include <sstream>

#include "core/buffer.h"
#include "ops/copy.h"
#include "ops/float_common.h"

namespace octavo {
namespace {

enum class Cell { RNN, GRU, LSTM };

class Recurrent : public Op {
 public:
  explicit Recurrent(const BindContext& ctx) : gemm_(gemm_f32(ctx.isa)), eltwise_(eltwise_f32(ctx.isa)) {
    const std::string fn = ctx.step.s("fn", "");
    if (fn != "RNN" && fn != "GRU" && fn != "LSTM") ctx.fail("attribute fn: '%s' is not RNN, GRU or LSTM", fn.c_str());
    cell_ = fn == "LSTM" ? Cell::LSTM : fn == "GRU" ? Cell::GRU : Cell::RNN;
    gates_ = cell_ == Cell::LSTM ? 4 : cell_ == Cell::GRU ? 3 : 1;
    const int results = cell_ == Cell::LSTM ? 3 : 2;
    check_arity(ctx, 2, 7, results, results);
    for (int k : {0, 1}) ctx.need(k, DType::f32);
    for (int k : {2, 3, 5, 6})
      if (ctx.has(k)) ctx.need(k, DType::f32);
    if (ctx.has(4)) check_index_dtype(ctx, 4);
    if (cell_ != Cell::LSTM && (ctx.has(3) || ctx.has(5))) ctx.fail("only an LSTM has cell states and peepholes");
    if (cell_ != Cell::GRU && ctx.has(6)) ctx.fail("only a GRU has a recurrent bias of its own");
    for (int k = 0; k < results; k++) check_dtype(ctx, k, DType::f32);
    const std::string direction = ctx.step.s("direction", "forward");
    if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
      ctx.fail("attribute direction: '%s' is unknown", direction.c_str());
    directions_ = direction == "bidirectional" ? 2 : 1;
    reverse_first_ = direction == "reverse";
    clip_ = float(ctx.step.f("clip", 0.0));
    if (!(clip_ >= 0.0f)) ctx.fail("clip must not be negative");
    input_forget_ = ctx.step.i("input_forget", 0) != 0;
    parse_functions(ctx);
    const View* r = ctx.constant_or_null(1);
    if (r == nullptr || r->shape.rank != 3 || r->elements() == 0 || r->shape.dim[0] != directions_ ||
        r->shape.dim[1] != gates_ * r->shape[-1])
      return;  // infer() names what is wrong; weights known at run time only are packed by run()
    packed_ = Buffer(size_t(directions_ * packed_floats(r->shape[-1])) * sizeof(float));
    for (int d = 0; d < directions_; d++)
      pack(r->as<float>(), r->shape[-1], d, packed_.as<float>() + d * packed_floats(r->shape[-1]));
  }

  void infer(InferContext& ctx) const override {
    const Shape &p = ctx.in[0].shape, &r = ctx.in[1].shape;
    if (p.rank != 3 || r.rank != 3) ctx.fail("the gates' inputs and the recurrent weights must have three axes");
    const int64_t units = r.dim[2], batch = p.dim[1];
    const Shape state{3, {directions_, batch, units}};
    if (units < 1 || r.dim[0] != directions_ || r.dim[1] != gates_ * units)
      ctx.fail("the recurrent weights must have the shape [%d, %d * units, units]", directions_, gates_);
    if (p.dim[2] != directions_ * gates_ * units)
      ctx.fail("the gates' inputs have %lld columns, expected %lld", (long long)p.dim[2],
               (long long)(directions_ * gates_ * units));
    for (int k : {2, 3})
      if (ctx.has(k) && ctx.in[size_t(k)].shape != state) ctx.fail("input %d must have the shape of a state", k);
    if (ctx.has(4) && ctx.in[4].elements() != batch) ctx.fail("there must be one length a sequence");
    if (ctx.has(5) && ctx.in[5].elements() != directions_ * 3 * units) ctx.fail("there must be 3 * units peepholes");
    if (ctx.has(6) && ctx.in[6].elements() != directions_ * units) ctx.fail("input 6 must have one bias a unit");
    set_shape(ctx, 0, Shape{4, {p.dim[0], directions_, batch, units}});
    for (size_t k = 1; k < ctx.out.size(); k++) set_shape(ctx, int(k), state);
  }

  size_t scratch_bytes(const View* in, const View* out, int) const override {
    const int64_t units = out[1].shape.dim[2], batch = out[1].shape.dim[1];
    const int64_t packed = in[1].constant && packed_.size() > 0 ? 0 : packed_floats(units);
    return size_t(directions_) * size_t(packed + batch * units * (gates_ + 2)) * sizeof(float) + 64;
  }

  void run(RunContext& ctx) const override {
    const Shape& state = ctx.out[1].shape;
    if (state.elements() == 0) return;
    const int64_t work = ctx.in[0].elements() * state.dim[2];
    ctx.pool.parallel_for(directions_ == 2 && ctx.pool.chunks_for(work, 64 << 10) == 1 ? 1 : directions_,
                          [&](int64_t c, int) {
                            if (directions_ == 2 && ctx.pool.chunks_for(work, 64 << 10) == 1)
                              direction(ctx, 0), direction(ctx, 1);
                            else
                              direction(ctx, c);
                          });
  }

  std::string kernel() const override { return "gemm_f32 " + std::to_string(gemm_.lanes) + " lanes"; }
  int64_t macs(const View* in, const View* out) const override { return in[0].elements() * out[1].shape.dim[2]; }

 private:
  // "Sigmoid,Tanh,Tanh,.." for each direction, with parallel lists alpha and beta.
  void parse_functions(const BindContext& ctx) {
    const int each = cell_ == Cell::LSTM ? 3 : cell_ == Cell::GRU ? 2 : 1;
    std::istringstream names(ctx.step.s("activations", ""));
    const std::vector<double> alpha = ctx.step.floats("alpha", {}), beta = ctx.step.floats("beta", {});
    for (std::string name; std::getline(names, name, ',');) {
      Activation a;
      if (functions_.size() >= size_t(each * directions_))
        ctx.fail("there are more than %d activations", each * directions_);
      if (!parse_unary(name, a.fn) || a.fn == UnaryFn::None) ctx.fail("activation '%s' is unknown", name.c_str());
      unary_defaults(a.fn, a.alpha, a.beta);
      const size_t k = functions_.size();
      if (k < alpha.size()) a.alpha = float(alpha[k]);
      if (k < beta.size()) a.beta = float(beta[k]);
      functions_.push_back(a);
    }
    if (functions_.size() != size_t(each * directions_))
      ctx.fail("%zu activations are given, expected %d", functions_.size(), each * directions_);
    each_ = each;
  }

  // Gates whose product takes h itself come first; a GRU's hidden gate is packed apart.
  int64_t first_gates() const { return cell_ == Cell::GRU ? 2 : gates_; }
  int64_t packed_floats(int64_t units) const {
    return gemm_f32_packed_floats(gemm_, units, first_gates() * units) +
           (cell_ == Cell::GRU ? gemm_f32_packed_floats(gemm_, units, units) : 0);
  }
  void pack(const float* r, int64_t units, int64_t d, float* to) const {
    const float* own = r + d * gates_ * units * units;
    const int64_t n = first_gates() * units;
    gemm_f32_pack(gemm_, own, 1, units, units, n, 0, gemm_f32_panels(gemm_, n), to);
    if (cell_ == Cell::GRU)
      gemm_f32_pack(gemm_, own + n * units, 1, units, units, units, 0, gemm_f32_panels(gemm_, units),
                    to + gemm_f32_packed_floats(gemm_, units, n));
  }

  struct Step {  // one direction
    int64_t units, batch, d;
    const float *packed, *packed_hidden, *peephole, *bias;
    float *gates, *temp, *spare;  // [B, first gates * H], [B, H], [B, H]
    const Activation* fn;
  };

  void product(const Step& s, const float* packed, int64_t n, const float* a, const float* bias, const float* z,
               int64_t ldz, float* y, int64_t ldy) const {
    const int64_t zero = 0;
    const GemmF32Job job{&gemm_, &eltwise_, packed, s.units, n, &zero, 1, s.units, bias, UnaryFn::None, 0, 0};
    gemm_f32_rows(job, a, s.units, z, ldz, y, ldy, s.batch, 0, gemm_f32_panels(gemm_, n));
  }

  void activate(const Activation& f, float* y, int64_t n) const {
    if (clip_ > 0.0f) unary_row_f32(eltwise_, int(UnaryFn::Clip), y, y, n, -clip_, clip_);
    unary_row_f32(eltwise_, int(f.fn), y, y, n, f.alpha, f.beta);
  }

  void direction(RunContext& ctx, int64_t d) const {
    const View &p = ctx.in[0], &y = ctx.out[0];
    const int64_t steps = p.shape.dim[0], batch = p.shape.dim[1], units = ctx.out[1].shape.dim[2];
    const bool packed = packed_.size() > 0 && ctx.in[1].constant;
    const auto given = [&](int k) { return k < ctx.inputs && ctx.in[k].dtype != DType::none; };
    float* scratch = reinterpret_cast<float*>(ctx.scratch) +
                     d * ((packed ? 0 : packed_floats(units)) + batch * units * (gates_ + 2));
    const float* weights = packed ? packed_.as<float>() + d * packed_floats(units) : scratch;
    if (!packed) pack(ctx.in[1].as<float>(), units, d, scratch), scratch += packed_floats(units);
    Step s{units,
           batch,
           d,
           weights,
           weights + gemm_f32_packed_floats(gemm_, units, first_gates() * units),
           nullptr,
           nullptr,
           scratch,
           scratch + batch * units * gates_,
           scratch + batch * units * (gates_ + 1),
           &functions_[size_t(d * each_)]};
    if (given(5)) s.peephole = ctx.in[5].as<float>() + d * 3 * units;
    if (given(6)) s.bias = ctx.in[6].as<float>() + d * units;
    const int64_t size = batch * units;
    float* h = ctx.out[1].as<float>() + d * size;
    float* c = cell_ == Cell::LSTM ? ctx.out[2].as<float>() + d * size : nullptr;
    given(2) ? (void)std::copy_n(ctx.in[2].as<float>() + d * size, size, h) : (void)std::fill_n(h, size, 0.0f);
    if (c) given(3) ? (void)std::copy_n(ctx.in[3].as<float>() + d * size, size, c) : (void)std::fill_n(c, size, 0.0f);
    const bool backwards = d == 1 || reverse_first_;
    for (int64_t k = 0; k < steps; k++) {
      const int64_t t = backwards ? steps - 1 - k : k, columns = p.shape.dim[2];
      const float* in = p.as<float>() + t * batch * columns + d * gates_ * units;
      product(s, s.packed, first_gates() * units, h, nullptr, in, columns, s.gates, first_gates() * units);
      if (cell_ == Cell::GRU && s.bias) product(s, s.packed_hidden, units, h, s.bias, nullptr, 0, s.temp, units);
      float* out = y.as<float>() + (t * directions_ + d) * size;
      if (cell_ == Cell::GRU && !s.bias) reset_first(s, h, in, columns);
      for (int64_t b = 0; b < batch; b++) {
        if (given(4) && t >= int_at(ctx.in[4], b)) {  // behind the sequence's end: zeros, the states stay
          std::fill_n(out + b * units, units, 0.0f);
          continue;
        }
        float* hidden = h + b * units;
        if (cell_ == Cell::LSTM)
          lstm(s, b, hidden, c + b * units);
        else if (cell_ == Cell::GRU)
          gru(s, b, hidden, in + b * columns + 2 * units);
        else
          std::copy_n(s.gates + b * units, units, hidden), activate(s.fn[0], hidden, units);
        std::copy_n(hidden, units, out + b * units);
      }
    }
  }

  void lstm(const Step& s, int64_t b, float* h, float* c) const {
    const int64_t n = s.units;
    float *i = s.gates + b * 4 * n, *o = i + n, *f = i + 2 * n, *g = i + 3 * n, *t = s.temp;
    if (s.peephole) {
      const float *pi = s.peephole, *pf = s.peephole + 2 * n;
      for (int64_t k = 0; k < n; k++) i[k] = i[k] + pi[k] * c[k], f[k] = f[k] + pf[k] * c[k];
    }
    activate(s.fn[0], i, n);
    activate(s.fn[0], f, n);
    activate(s.fn[1], g, n);
    if (input_forget_)
      for (int64_t k = 0; k < n; k++) f[k] = 1.0f - i[k];
    for (int64_t k = 0; k < n; k++) c[k] = f[k] * c[k] + i[k] * g[k];
    if (s.peephole)
      for (int64_t k = 0; k < n; k++) o[k] = o[k] + s.peephole[n + k] * c[k];
    activate(s.fn[0], o, n);
    std::copy_n(c, n, t);
    unary_row_f32(eltwise_, int(s.fn[2].fn), t, t, n, s.fn[2].alpha, s.fn[2].beta);
    for (int64_t k = 0; k < n; k++) h[k] = o[k] * t[k];
  }

  // The hidden gate of a GRU that resets h before the product: spare = p + (r * h) R. r is activated in place.
  void reset_first(const Step& s, const float* h, const float* in, int64_t columns) const {
    const int64_t n = s.units;
    for (int64_t b = 0; b < s.batch; b++) {
      float* r = s.gates + b * 2 * n + n;
      activate(s.fn[0], r, n);
      for (int64_t k = 0; k < n; k++) s.temp[b * n + k] = r[k] * h[b * n + k];
    }
    product(s, s.packed_hidden, n, s.temp, nullptr, in + 2 * n, columns, s.spare, n);
  }

  void gru(const Step& s, int64_t b, float* h, const float* in) const {
    const int64_t n = s.units;
    float *z = s.gates + b * 2 * n, *r = z + n, *g = s.spare + b * n;
    if (s.bias) {
      activate(s.fn[0], r, n);
      for (int64_t k = 0; k < n; k++) g[k] = in[k] + r[k] * s.temp[b * n + k];
    }
    activate(s.fn[0], z, n);
    activate(s.fn[1], g, n);
    for (int64_t k = 0; k < n; k++) h[k] = (1.0f - z[k]) * g[k] + z[k] * h[k];
  }

  const GemmF32& gemm_;
  const EltwiseF32& eltwise_;
  Cell cell_ = Cell::RNN;
  int gates_ = 1, directions_ = 1, each_ = 1;
  bool reverse_first_ = false, input_forget_ = false;
  float clip_ = 0;
  std::vector<Activation> functions_;
  Buffer packed_;
};

}  // namespace

std::unique_ptr<Op> make_Recurrent(const BindContext& ctx) { return std::make_unique<Recurrent>(ctx); }

}  // namespace octavo
