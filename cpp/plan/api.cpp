// The public C++ API over plans and sessions.
#include <cstdlib>
#include <cstring>
#include <new>

#include "octavo/octavo.h"
#include "plan/session.h"

namespace octavo {
namespace {

// The public header knows none of the internal types, so internal errors are translated at its border.
template <class F>
auto translated(F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    throw ModelError(e.what());
  } catch (const std::bad_alloc&) {
    throw ModelError("out of memory");
  }
}

TensorInfo describe(const Plan& plan, const std::string& name, const ValueDef& v) {
  TensorInfo info{name, ElementType(v.dtype), {}};
  for (const Dim& d : v.dims)
    info.dims.push_back(d.symbol >= 0 ? plan.symbols[d.symbol] : d.size >= 0 ? std::to_string(d.size) : "?");
  return info;
}

Shape to_shape(const std::vector<int64_t>& dims) {
  if (dims.size() > size_t(kMaxRank)) throw ModelError("tensors of more than 8 dimensions are not supported");
  Shape s;
  s.rank = int(dims.size());
  for (int i = 0; i < s.rank; i++) s[i] = dims[i];
  return s;
}

}  // namespace

Tensor::Tensor(ElementType type, std::vector<int64_t> shape) : type_(type), shape_(std::move(shape)) {
  size_t n = size_of(DType(type_));
  if (n == 0) throw ModelError("unknown element type");
  for (int64_t d : shape_)
    if (d < 0 || __builtin_mul_overflow(n, size_t(d), &n)) throw ModelError("a tensor shape is negative or too large");
  translated([&] {
    auto memory = std::make_shared<Buffer>(n);
    memory_ = std::shared_ptr<void>(memory, memory->data());
    return 0;
  });
}

int64_t Tensor::elements() const {
  int64_t n = 1;
  for (int64_t d : shape_) n *= d;
  return memory_ == nullptr ? 0 : n;
}

size_t Tensor::bytes() const { return size_t(elements()) * size_of(DType(type_)); }

struct Model::Impl {
  mutable Session session;
};

Model::Model(const std::string& path, const ModelOptions& options) {
  impl_ = translated([&] {
    SessionOptions o;
    o.isa = options.isa;
    o.threads = options.threads;
    return std::unique_ptr<Impl>(new Impl{Session(Plan::load(path), std::move(o))});
  });
}

Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

std::vector<TensorInfo> Model::inputs() const {
  const Plan& p = impl_->session.plan();
  std::vector<TensorInfo> list;
  for (int32_t k : p.inputs) list.push_back(describe(p, p.values[k].name, p.values[k]));
  return list;
}

std::vector<TensorInfo> Model::outputs() const {
  const Plan& p = impl_->session.plan();
  std::vector<TensorInfo> list;
  for (const OutputDef& o : p.outputs) list.push_back(describe(p, o.name, p.values[o.value]));
  return list;
}

std::string Model::isa() const { return name_of(impl_->session.isa()); }

std::vector<Tensor> Model::run(const std::vector<Tensor>& inputs) const {
  return translated([&] {
    const Plan& p = impl_->session.plan();
    std::vector<Shape> shapes;
    for (size_t k = 0; k < inputs.size(); k++) {
      shapes.push_back(to_shape(inputs[k].shape()));
      if (k < p.inputs.size() && DType(inputs[k].type()) != p.values[p.inputs[k]].dtype)
        throw ModelError("input '" + p.values[p.inputs[k]].name + "' should hold " +
                         name_of(p.values[p.inputs[k]].dtype) + ", but holds " + name_of(DType(inputs[k].type())));
    }
    const auto call = impl_->session.prepare(shapes);
    for (size_t k = 0; k < inputs.size(); k++) call->set_input(int(k), inputs[k].raw());
    std::vector<Tensor> out(p.outputs.size());
    const auto tensor_for = [&](size_t k, const Shape& s) {
      const DType type = p.values[p.outputs[k].value].dtype;
      return Tensor(ElementType(type), std::vector<int64_t>(s.dim, s.dim + s.rank));
    };
    for (size_t k = 0; k < out.size(); k++)
      if (const Shape* s = call->output_shape(int(k))) {
        out[k] = tensor_for(k, *s);
        call->set_output(int(k), out[k].raw());
      }
    call->run();
    for (size_t k = 0; k < out.size(); k++) {
      if (call->output_shape(int(k)) != nullptr) continue;
      const View v = call->output_view(int(k));
      out[k] = tensor_for(k, v.shape);
      if (v.bytes() > 0) std::memcpy(out[k].raw(), v.data, v.bytes());
    }
    return out;
  });
}

}  // namespace octavo
