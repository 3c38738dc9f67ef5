#include "tools/one_step.h"

#include <cmath>
#include <cstring>

namespace octavo {
namespace {

template <class T>
Operand filled(DType dtype, const Shape& s, T (*next)(Random&), Random& r) {
  Operand o{dtype, s, false, std::vector<uint8_t>(size_t(s.elements()) * sizeof(T))};
  for (int64_t i = 0; i < s.elements(); i++) {
    const T v = next(r);
    std::memcpy(o.bytes.data() + size_t(i) * sizeof(T), &v, sizeof(T));
  }
  return o;
}

// The scale that brings a sum of K products of random bytes to about the range of a byte.
float usual_multiplier(int64_t K, Fill fill) {
  return fill == Fill::extreme ? 1e-5f : 0.008f / std::sqrt(float(K > 0 ? K : 1));
}

Operand weights(Random& r, const Shape& s, bool wide, Fill fill) {
  if (!wide) return constant(bytes_operand(r, DType::s8, s, fill));
  return constant(fill == Fill::extreme ? ints(r, DType::s16, s, -255, -255) : ints(r, DType::s16, s, -255, 255));
}

Operand multipliers(Random& r, int64_t n, bool one, float typical) {
  return constant(floats(r, make_shape({one ? 1 : n}), typical * 0.5f, typical * 1.5f));
}

void add_quantized_output(Case& c, Random& r, const Operand& residual_like, bool residual, bool table, bool out_f32) {
  c.step.attrs["x_zp"] = r.between(0, 255);
  if (out_f32) {
    c.step.attrs["out_f32"] = int64_t(1);
    return;
  }
  c.step.attrs["y_zp"] = r.between(0, 255);
  c.step.attrs["lo"] = r.between(0, 3) ? int64_t(0) : r.between(0, 100);
  c.step.attrs["hi"] = r.between(0, 3) ? int64_t(255) : r.between(150, 255);
  c.in.push_back(residual ? residual_like : absent());
  if (residual) {
    c.step.attrs["add_za"] = c.step.attrs["y_zp"];
    c.step.attrs["add_zb"] = r.between(0, 255);
    c.step.attrs["add_sa"] = double(r.real(0.02f, 0.15f));
    c.step.attrs["add_sb"] = double(r.real(0.02f, 0.15f));
    c.step.attrs["add_sy"] = double(r.real(0.05f, 0.2f));
    c.step.attrs["add_zp"] = r.between(0, 255);
    c.step.attrs["add_lo"] = int64_t(0);
    c.step.attrs["add_hi"] = int64_t(255);
  }
  if (table) c.in.push_back(constant(bytes_operand(r, DType::u8, make_shape({256}))));
}

std::vector<int64_t> pads_of(const ConvSpec& s) { return {s.pads[0], s.pads[1], s.pads[2], s.pads[3]}; }

void add_geometry(Case& c, const ConvSpec& s) {
  c.step.attrs["strides"] = std::vector<int64_t>{s.stride, s.stride};
  c.step.attrs["dilations"] = std::vector<int64_t>{s.dilation, s.dilation};
  c.step.attrs["pads"] = pads_of(s);
  c.step.attrs["group"] = s.group;
}

std::string conv_name(const ConvSpec& s) {
  char text[128];
  std::snprintf(text, sizeof text, "%dx%d %s%dx%dx%d -> %d s%d", int(s.kernel_h), int(s.kernel_w),
                s.group > 1 && s.group == s.in ? "depthwise "
                : s.group > 1                  ? "grouped "
                                               : "",
                int(s.height), int(s.width), int(s.in), int(s.out), int(s.stride));
  return text;
}

std::string gemm_name(const GemmSpec& s) {
  char text[96];
  std::snprintf(text, sizeof text, s.batch ? "%lld x " : "", (long long)s.batch);
  std::string name = text;
  std::snprintf(text, sizeof text, "%lld,%lld,%lld", (long long)s.M, (long long)s.K, (long long)s.N);
  return name + text;
}

Shape rows_of(const GemmSpec& s, int64_t last) {
  return s.batch ? make_shape({s.batch, s.M, last}) : make_shape({s.M, last});
}

}  // namespace

Shape make_shape(std::initializer_list<int64_t> dims) {
  Shape s;
  for (int64_t d : dims) s.dim[s.rank++] = d;
  return s;
}

std::shared_ptr<const Plan> plan_of(const Case& c) {
  PlanBuilder b;
  StepDef step = c.step;
  step.name = c.name;
  step.inputs.clear();
  step.outputs.clear();
  for (size_t k = 0; k < c.in.size(); k++) {
    const Operand& o = c.in[k];
    const std::string name = "in" + std::to_string(k);
    if (o.dtype == DType::none) {
      step.inputs.push_back(-1);
    } else if (o.constant) {
      step.inputs.push_back(b.add_constant(name, o.dtype, o.shape, o.bytes.data()));
    } else {
      std::vector<Dim> dims;
      std::vector<int64_t> perm;
      for (int a = 0; a < o.shape.rank; a++) dims.push_back(PlanBuilder::size(o.shape.dim[a])), perm.push_back(a);
      int32_t v = b.add_input(name, o.dtype, dims);
      if (c.inside) {
        const int32_t copy = b.add_value(name + "_copy", o.dtype, o.shape.rank, dims);
        b.add_step({"Transpose", "copy", {v}, {copy}, {{"perm", perm}}});
        v = copy;
      }
      step.inputs.push_back(v);
    }
  }
  for (size_t k = 0; k < c.out.size(); k++) {
    const int32_t v = b.add_value("out" + std::to_string(k), c.out[k].first, c.out[k].second);
    step.outputs.push_back(v);
  }
  for (size_t k = 0; k < c.out.size(); k++) b.add_output("out" + std::to_string(k), step.outputs[k]);
  b.add_step(std::move(step));
  return b.build();
}

Prepared::Prepared(const Case& c, Isa isa, int threads, bool profile) {
  SessionOptions options;
  options.isa = name_of(isa);
  options.threads = threads;
  options.profile = profile;
  session_ = std::make_unique<Session>(plan_of(c), options);
  for (const Operand& o : c.in) {
    bytes_ += o.bytes.size();
    if (o.dtype == DType::none || o.constant) continue;
    shapes_.push_back(o.shape);
    inputs_.emplace_back(o.bytes.size());
    if (!o.bytes.empty()) std::memcpy(inputs_.back().data(), o.bytes.data(), o.bytes.size());
  }
  call_ = session_->prepare(shapes_);
  for (size_t k = 0; k < inputs_.size(); k++) call_->set_input(int(k), inputs_[k].data());
  for (size_t k = 0; k < c.out.size(); k++)
    if (const Shape* s = call_->output_shape(int(k))) bytes_ += size_t(s->elements()) * size_of(c.out[k].first);
}

std::vector<View> Prepared::outputs() const {
  std::vector<View> views;
  for (size_t k = 0; k < session_->plan().outputs.size(); k++) views.push_back(call_->output_view(int(k)));
  return views;
}

StepInfo Prepared::info() { return session_->steps(shapes_).back(); }

Operand bytes_operand(Random& r, DType dtype, const Shape& s, Fill fill) {
  Operand o{dtype, s, false, std::vector<uint8_t>(size_t(s.elements()))};
  const uint8_t low = dtype == DType::s8 ? 0x80 : 0, high = dtype == DType::s8        ? 0x7f
                                                            : dtype == DType::boolean ? 1
                                                                                      : 0xff;
  // Long runs of one extreme make the largest sums; a change now and then meets the other signs.
  bool top = r.next() & 1;
  for (uint8_t& b : o.bytes) {
    if (fill == Fill::extreme) {
      if (r.between(0, 40) == 0) top = !top;
      b = top ? high : low;
    } else {
      b = dtype == DType::boolean ? uint8_t(r.next() & 1) : uint8_t(r.next());
    }
  }
  return o;
}

Operand floats(Random& r, const Shape& s, float low, float high) {
  Operand o{DType::f32, s, false, std::vector<uint8_t>(size_t(s.elements()) * 4)};
  for (int64_t i = 0; i < s.elements(); i++) {
    const float v = r.real(low, high);
    std::memcpy(o.bytes.data() + 4 * i, &v, 4);
  }
  return o;
}

Operand odd_floats(Random& r, const Shape& s) {
  static const float odd[] = {0.0f,   -0.0f,   1.0f,        -1.0f,   INFINITY,      -INFINITY,
                              NAN,    1e-45f,  -1e-45f,     1e-39f,  3.4e38f,       -3.4e38f,
                              1e-38f, 0.5f,    -0.5f,       2.5f,    -3.5f,         88.8f,
                              -88.8f, -103.9f, 127.5f,      -128.5f, 2147483520.0f, -2147483648.0f,
                              1e19f,  1e-20f,  16777217.0f, 709.0f,  0.99999994f,   1.0000001f};
  return filled<float>(
      DType::f32, s,
      [](Random& q) -> float {
        switch (q.between(0, 3)) {
          case 0:
            return odd[q.between(0, int64_t(sizeof odd / sizeof *odd) - 1)];
          case 1:
            return q.real(-1, 1);
          case 2:
            return q.real(-12, 12);
          default: {
            const uint32_t bits = q.next();  // any float at all
            float f;
            std::memcpy(&f, &bits, 4);
            return f;
          }
        }
      },
      r);
}

Operand ints(Random& r, DType dtype, const Shape& s, int64_t low, int64_t high) {
  const size_t size = size_of(dtype);
  Operand o{dtype, s, false, std::vector<uint8_t>(size_t(s.elements()) * size)};
  for (int64_t i = 0; i < s.elements(); i++) {
    const int64_t v = r.between(low, high);
    std::memcpy(o.bytes.data() + size_t(i) * size, &v, size);  // little-endian: the low bytes
  }
  return o;
}

Operand constant(Operand o) {
  o.constant = true;
  return o;
}

Operand absent() { return Operand(); }

template <class T>
Operand of(DType dtype, const std::vector<T>& values) {
  Operand o{dtype, make_shape({int64_t(values.size())}), true, std::vector<uint8_t>(values.size() * sizeof(T))};
  if (!values.empty()) std::memcpy(o.bytes.data(), values.data(), o.bytes.size());
  return o;
}
template Operand of<int64_t>(DType, const std::vector<int64_t>&);
template Operand of<float>(DType, const std::vector<float>&);

ConvSpec& ConvSpec::same() {
  pads[0] = pads[2] = (kernel_h - 1) * dilation / 2;
  pads[1] = pads[3] = (kernel_w - 1) * dilation / 2;
  return *this;
}

Case qconv_case(Random& r, const ConvSpec& s) {
  Case c;
  c.name = conv_name(s);
  c.step.op = "QConv";
  add_geometry(c, s);
  const int64_t K = s.kernel_h * s.kernel_w * (s.in / s.group);
  c.in.push_back(bytes_operand(r, DType::u8, make_shape({s.batch, s.height, s.width, s.in}), s.fill));
  c.in.push_back(weights(r, make_shape({s.out, s.kernel_h, s.kernel_w, s.in / s.group}), s.wide_weights, s.fill));
  c.in.push_back(!s.bias                   ? absent()
                 : s.fill == Fill::extreme ? constant(ints(r, DType::s32, make_shape({s.out}), INT32_MIN, INT32_MAX))
                                           : constant(ints(r, DType::s32, make_shape({s.out}), -20000, 20000)));
  c.in.push_back(multipliers(r, s.out, s.one_scale, usual_multiplier(K, s.fill)));
  const Shape y = make_shape({s.batch, s.out_h(), s.out_w(), s.out});
  add_quantized_output(c, r, s.residual ? bytes_operand(r, DType::u8, y) : absent(), s.residual, s.table, s.out_f32);
  c.out = {{s.out_f32 ? DType::f32 : DType::u8, 4}};
  return c;
}

Case conv_case(Random& r, const ConvSpec& s) {
  Case c;
  c.name = conv_name(s);
  c.step.op = "Conv";
  add_geometry(c, s);
  c.in.push_back(floats(r, make_shape({s.batch, s.height, s.width, s.in}), -1, 1));
  c.in.push_back(constant(floats(r, make_shape({s.out, s.kernel_h, s.kernel_w, s.in / s.group}), -1, 1)));
  c.in.push_back(s.bias ? constant(floats(r, make_shape({s.out}), -1, 1)) : absent());
  if (s.residual) c.in.push_back(floats(r, make_shape({s.batch, s.out_h(), s.out_w(), s.out}), -1, 1));
  if (s.table) c.step.attrs["act"] = std::string("Relu");
  c.out = {{DType::f32, 4}};
  return c;
}

Case qgemm_case(Random& r, const GemmSpec& s) {
  Case c;
  c.name = gemm_name(s);
  c.step.op = "QGemm";
  c.in.push_back(bytes_operand(r, DType::u8, rows_of(s, s.K), s.fill));
  c.in.push_back(weights(r, make_shape({s.N, s.K}), s.wide_weights, s.fill));
  c.in.push_back(!s.bias                   ? absent()
                 : s.fill == Fill::extreme ? constant(ints(r, DType::s32, make_shape({s.N}), INT32_MIN, INT32_MAX))
                                           : constant(ints(r, DType::s32, make_shape({s.N}), -20000, 20000)));
  c.in.push_back(multipliers(r, s.N, s.one_scale, usual_multiplier(s.K, s.fill)));
  add_quantized_output(c, r, s.residual ? bytes_operand(r, DType::u8, rows_of(s, s.N)) : absent(), s.residual, s.table,
                       s.out_f32);
  c.out = {{s.out_f32 ? DType::f32 : DType::u8, s.batch ? 3 : 2}};
  return c;
}

Case qgemm_dynamic_case(Random& r, const GemmSpec& s, const std::string& act) {
  Case c;
  c.name = gemm_name(s) + (act.empty() ? "" : " " + act);
  c.step.op = "QGemmDynamic";
  if (!act.empty()) c.step.attrs["act"] = act;
  c.in.push_back(bytes_operand(r, DType::u8, rows_of(s, s.K), s.fill));
  c.in.push_back(bytes_operand(r, DType::u8, Shape{}));
  c.in.push_back(weights(r, make_shape({s.N, s.K}), s.wide_weights, s.fill));
  c.in.push_back(floats(r, Shape{}, 0.001f, 0.02f));
  c.in.push_back(multipliers(r, s.N, s.one_scale, 0.01f));
  c.in.push_back(s.bias ? constant(floats(r, make_shape({s.N}), -1, 1)) : absent());
  if (s.residual) c.in.push_back(floats(r, rows_of(s, s.N), -1, 1));
  c.out = {{DType::f32, s.batch ? 3 : 2}};
  return c;
}

Case qmatmul_case(Random& r, const GemmSpec& s) {
  Case c;
  c.name = gemm_name(s);
  c.step.op = "QMatMul";
  c.in.push_back(bytes_operand(r, DType::u8, rows_of(s, s.K), s.fill));
  c.in.push_back(
      bytes_operand(r, DType::u8, s.batch ? make_shape({s.batch, s.K, s.N}) : make_shape({s.K, s.N}), s.fill));
  c.in.push_back(multipliers(r, 1, true, usual_multiplier(s.K, s.fill)));
  c.step.attrs = {{"a_zp", r.between(0, 255)},
                  {"b_zp", r.between(0, 255)},
                  {"y_zp", r.between(0, 255)},
                  {"lo", int64_t(0)},
                  {"hi", int64_t(255)}};
  if (s.out_f32) c.step.attrs["out_f32"] = int64_t(1);
  c.out = {{s.out_f32 ? DType::f32 : DType::u8, s.batch ? 3 : 2}};
  return c;
}

Case matmul_case(Random& r, const GemmSpec& s, const std::string& act) {
  Case c;
  c.name = gemm_name(s) + (act.empty() ? "" : " " + act);
  c.step.op = "MatMul";
  c.step.attrs["trans_b"] = int64_t(1);
  if (!act.empty()) c.step.attrs["act"] = act;
  c.in.push_back(floats(r, rows_of(s, s.K), -1, 1));
  c.in.push_back(constant(floats(r, make_shape({s.N, s.K}), -1, 1)));
  c.in.push_back(s.bias ? constant(floats(r, make_shape({s.N}), -1, 1)) : absent());
  if (s.residual) c.in.push_back(floats(r, rows_of(s, s.N), -1, 1));
  c.out = {{DType::f32, s.batch ? 3 : 2}};
  return c;
}

Case simple_case(const StepSpec& spec) {
  Case c;
  c.step.op = spec.op;
  c.step.attrs = spec.attrs;
  for (const Operand& o : spec.in)
    if (o.dtype != DType::none && !o.constant) c.name += (c.name.empty() ? "" : ", ") + describe(o.shape);
  const auto fn = spec.attrs.find("fn");
  if (fn != spec.attrs.end()) c.name = std::get<std::string>(fn->second) + " " + c.name;
  c.in = spec.in;
  c.out = {{spec.out, spec.rank}};
  return c;
}

}  // namespace octavo
