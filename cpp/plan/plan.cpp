#include "plan/plan.h"

#include <cstring>

#include "core/error.h"

namespace octavo {
namespace {

[[noreturn]] void malformed(const std::string& what) {
  fail(ErrorKind::invalid_model, "malformed plan: %s", what.c_str());
}

void check_value(const Plan& plan, const ValueDef& v) {
  const std::string name = "value '" + v.name + "'";
  if (size_of(v.dtype) == 0) malformed(name + " has a dtype this build does not hold");
  if (v.rank < -1 || v.rank > kMaxRank)
    malformed(name + " has rank " + std::to_string(v.rank) + "; at most 8 is allowed");
  if (v.rank >= 0 && int(v.dims.size()) != v.rank) malformed(name + ": rank and dimensions disagree");
  for (const Dim& d : v.dims) {
    if (d.symbol < -1 || d.symbol >= int32_t(plan.symbols.size())) malformed(name + " names an unknown symbol");
    if (d.symbol < 0 && d.size < -1) malformed(name + " has a negative dimension");
  }
  if (v.constant < -1 || v.constant >= int32_t(plan.constants.size())) malformed(name + " names an unknown constant");
  if (v.constant >= 0 && plan.constants[v.constant].dtype != v.dtype) malformed(name + ": constant of another dtype");
  if (v.constant >= 0 && plan.constants[v.constant].shape.rank != v.rank)
    malformed(name + ": constant of another rank");
}

}  // namespace

bool Plan::operator==(const Plan& other) const {
  if (this == &other) return true;
  const bool alike = symbols == other.symbols && values == other.values && steps == other.steps &&
                     inputs == other.inputs && outputs == other.outputs && metadata == other.metadata &&
                     constants.size() == other.constants.size();
  if (!alike) return false;
  for (size_t k = 0; k < constants.size(); k++) {
    const View &a = constants[k], &b = other.constants[k];
    if (a.dtype != b.dtype || a.shape != b.shape) return false;
    if (a.bytes() > 0 && std::memcmp(a.data, b.data, a.bytes()) != 0) return false;
  }
  return true;
}

void Plan::validate() const {
  const auto count = int32_t(values.size());
  for (const ValueDef& v : values) check_value(*this, v);
  std::vector<char> written(values.size(), 0);
  for (int32_t k = 0; k < count; k++) written[k] = values[k].constant >= 0;
  for (int32_t k : inputs) {
    if (k < 0 || k >= count) malformed("an input names an unknown value");
    if (written[k]) malformed("input '" + values[k].name + "' is a constant or is listed twice");
    if (values[k].rank < 0) malformed("input '" + values[k].name + "' has no fixed rank");
    written[k] = 1;
  }
  for (const StepDef& s : steps) {
    const std::string name = s.op + " node '" + s.name + "'";
    if (find_op(s.op) == nullptr && s.op != "Python")
      fail(ErrorKind::unsupported, "%s: this build of octavo has no such plan operator; update octavo", name.c_str());
    if (s.outputs.empty()) malformed(name + " has no output");
    for (int32_t k : s.inputs) {
      if (k < -1 || k >= count) malformed(name + " reads an unknown value");
      if (k >= 0 && !written[k]) malformed(name + " reads '" + values[k].name + "' before it is written");
    }
    for (int32_t k : s.outputs) {
      if (k < 0 || k >= count) malformed(name + " writes an unknown value");
      if (written[k]) malformed(name + " writes '" + values[k].name + "' a second time");
      written[k] = 1;
    }
  }
  if (outputs.empty()) malformed("no outputs");
  for (const OutputDef& o : outputs)
    if (o.value < 0 || o.value >= count || !written[o.value]) malformed("output '" + o.name + "' is never written");
}

std::string Plan::python_step() const {
  for (const StepDef& s : steps)
    if (s.op == "Python") return s.name;
  return "";
}

std::string Plan::describe_dims(const ValueDef& v) const {
  if (v.rank < 0) return "[?]";
  std::string text = "[";
  for (int i = 0; i < v.rank; i++) {
    if (i > 0) text += ", ";
    const Dim& d = v.dims[i];
    text += d.symbol >= 0 ? symbols[d.symbol] : d.size >= 0 ? std::to_string(d.size) : "?";
  }
  return text + "]";
}

Dim PlanBuilder::symbol(const std::string& name) {
  for (size_t k = 0; k < plan_->symbols.size(); k++)
    if (plan_->symbols[k] == name) return Dim{-1, int32_t(k)};
  plan_->symbols.push_back(name);
  return Dim{-1, int32_t(plan_->symbols.size() - 1)};
}

int32_t PlanBuilder::add_value(const std::string& name, DType dtype, int rank, const std::vector<Dim>& dims) {
  ValueDef v;
  v.name = name;
  v.dtype = dtype;
  v.rank = rank;
  v.dims = dims;
  if (rank >= 0) v.dims.resize(size_t(rank));
  plan_->values.push_back(std::move(v));
  return int32_t(plan_->values.size() - 1);
}

int32_t PlanBuilder::add_input(const std::string& name, DType dtype, const std::vector<Dim>& dims) {
  plan_->inputs.push_back(add_value(name, dtype, int(dims.size()), dims));
  return plan_->inputs.back();
}

int32_t PlanBuilder::add_constant(const std::string& name, DType dtype, const Shape& shape, const void* data) {
  View c;
  c.dtype = dtype;
  c.shape = shape;
  c.constant = true;
  c.set_dense_pitches();
  auto memory = std::make_shared<Buffer>(c.bytes());
  if (c.bytes() > 0) std::memcpy(memory->data(), data, c.bytes());
  c.data = memory->data();
  plan_->storage.push_back(memory);
  plan_->constants.push_back(c);
  std::vector<Dim> dims;
  for (int i = 0; i < shape.rank; i++) dims.push_back(size(shape[i]));
  const int32_t id = add_value(name, dtype, shape.rank, dims);
  plan_->values[id].constant = int32_t(plan_->constants.size() - 1);
  return id;
}

std::shared_ptr<const Plan> PlanBuilder::build() {
  plan_->validate();
  std::shared_ptr<const Plan> done = std::move(plan_);
  plan_ = std::make_shared<Plan>();
  return done;
}

}  // namespace octavo
