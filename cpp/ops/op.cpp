#include "ops/op.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace octavo {
namespace {

[[noreturn]] void fail_at(ErrorKind kind, const StepDef& step, const char* format, va_list args) {
  char text[768];
  std::vsnprintf(text, sizeof text, format, args);
  fail(kind, "%s node '%s': %s", step.op.c_str(), step.name.c_str(), text);
}

const Attr* find(const StepDef& step, const char* key) {
  const auto it = step.attrs.find(key);
  return it == step.attrs.end() ? nullptr : &it->second;
}

[[noreturn]] void missing(const StepDef& step, const char* key) {
  fail(ErrorKind::invalid_model, "%s node '%s': attribute '%s' is missing; the plan is malformed", step.op.c_str(),
       step.name.c_str(), key);
}

[[noreturn]] void mistyped(const StepDef& step, const char* key, const char* wanted) {
  fail(ErrorKind::invalid_model, "%s node '%s': attribute '%s' should be %s; the plan is malformed", step.op.c_str(),
       step.name.c_str(), key, wanted);
}

}  // namespace

int64_t StepDef::i(const char* key) const {
  if (!has(key)) missing(*this, key);
  return i(key, 0);
}

int64_t StepDef::i(const char* key, int64_t otherwise) const {
  const Attr* a = find(*this, key);
  if (a == nullptr) return otherwise;
  if (const auto* v = std::get_if<int64_t>(a)) return *v;
  mistyped(*this, key, "an integer");
}

double StepDef::f(const char* key) const {
  if (!has(key)) missing(*this, key);
  return f(key, 0.0);
}

double StepDef::f(const char* key, double otherwise) const {
  const Attr* a = find(*this, key);
  if (a == nullptr) return otherwise;
  if (const auto* v = std::get_if<double>(a)) return *v;
  if (const auto* v = std::get_if<int64_t>(a)) return double(*v);
  mistyped(*this, key, "a number");
}

std::string StepDef::s(const char* key, const std::string& otherwise) const {
  const Attr* a = find(*this, key);
  if (a == nullptr) return otherwise;
  if (const auto* v = std::get_if<std::string>(a)) return *v;
  mistyped(*this, key, "a string");
}

std::vector<int64_t> StepDef::ints(const char* key) const {
  if (!has(key)) missing(*this, key);
  return ints(key, {});
}

std::vector<int64_t> StepDef::ints(const char* key, const std::vector<int64_t>& otherwise) const {
  const Attr* a = find(*this, key);
  if (a == nullptr) return otherwise;
  if (const auto* v = std::get_if<std::vector<int64_t>>(a)) return *v;
  if (const auto* v = std::get_if<std::vector<double>>(a); v != nullptr && v->empty()) return {};
  mistyped(*this, key, "a list of integers");
}

std::vector<double> StepDef::floats(const char* key, const std::vector<double>& otherwise) const {
  const Attr* a = find(*this, key);
  if (a == nullptr) return otherwise;
  if (const auto* v = std::get_if<std::vector<double>>(a)) return *v;
  if (const auto* v = std::get_if<std::vector<int64_t>>(a)) return std::vector<double>(v->begin(), v->end());
  mistyped(*this, key, "a list of numbers");
}

bool StepDef::operator==(const StepDef& o) const {
  if (op != o.op || name != o.name || inputs != o.inputs || outputs != o.outputs || attrs.size() != o.attrs.size())
    return false;
  const auto same_bits = [](const double* a, const double* b, size_t n) {
    return n == 0 || std::memcmp(a, b, n * sizeof(double)) == 0;
  };
  for (auto a = attrs.begin(), b = o.attrs.begin(); a != attrs.end(); ++a, ++b) {
    if (a->first != b->first || a->second.index() != b->second.index()) return false;
    if (const auto* x = std::get_if<double>(&a->second)) {
      if (!same_bits(x, &std::get<double>(b->second), 1)) return false;
    } else if (const auto* v = std::get_if<std::vector<double>>(&a->second)) {
      const auto& w = std::get<std::vector<double>>(b->second);
      if (v->size() != w.size() || !same_bits(v->data(), w.data(), v->size())) return false;
    } else if (a->second != b->second) {
      return false;
    }
  }
  return true;
}

const View& BindContext::constant(int k, DType dtype) const {
  if (!has(k) || inputs[k].constant == nullptr) fail("input %d must be a constant", k);
  if (inputs[k].constant->dtype != dtype)
    fail("input %d must be %s, but is %s", k, name_of(dtype), name_of(inputs[k].constant->dtype));
  return *inputs[k].constant;
}

void BindContext::need(int k, DType dtype) const {
  if (!has(k)) fail("input %d is missing", k);
  if (inputs[k].dtype != dtype) fail("input %d must be %s, but is %s", k, name_of(dtype), name_of(inputs[k].dtype));
}

void BindContext::fail(const char* format, ...) const {
  va_list args;
  va_start(args, format);
  fail_at(ErrorKind::invalid_model, step, format, args);
}

bool InferContext::value(int k, std::vector<int64_t>& out_values) {
  if (!has(k)) fail("input %d is missing", k);
  const View& v = in[k];
  if (v.data == nullptr && v.elements() > 0) {
    need_value = true;
    return false;
  }
  const int64_t n = v.elements();
  if (n > (int64_t(1) << 20)) fail("input %d has %lld elements, too many for a shape or index list", k, (long long)n);
  out_values.resize(size_t(n));
  for (int64_t i = 0; i < n; i++) {
    switch (v.dtype) {
      case DType::s64:
        out_values[i] = v.as<int64_t>()[i];
        break;
      case DType::s32:
        out_values[i] = v.as<int32_t>()[i];
        break;
      default:
        fail("input %d should hold int64 or int32, but holds %s", k, name_of(v.dtype));
    }
  }
  return true;
}

void InferContext::fail(const char* format, ...) const {
  va_list args;
  va_start(args, format);
  fail_at(ErrorKind::invalid_argument, step, format, args);
}

#define OCTAVO_OP(Name) std::unique_ptr<Op> make_##Name(const BindContext&);
#include "ops/ops.def"
#undef OCTAVO_OP

namespace {

struct Entry {
  const char* name;
  MakeOp make;
};

const Entry kOps[] = {
#define OCTAVO_OP(Name) {#Name, &make_##Name},
#include "ops/ops.def"
#undef OCTAVO_OP
    {nullptr, nullptr},
};

}  // namespace

MakeOp find_op(const std::string& name) {
  for (const Entry* e = kOps; e->name != nullptr; e++)
    if (name == e->name) return e->make;
  return nullptr;
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const Entry* e = kOps; e->name != nullptr; e++) names.push_back(e->name);
  return names;
}

bool broadcast(const Shape& a, const Shape& b, Shape& out) {
  Shape result;
  result.rank = a.rank > b.rank ? a.rank : b.rank;
  for (int i = 1; i <= result.rank; i++) {
    const int64_t da = i <= a.rank ? a[-i] : 1, db = i <= b.rank ? b[-i] : 1;
    if (da != db && da != 1 && db != 1) return false;
    result[-i] = da == 1 ? db : da;
  }
  out = result;
  return true;
}

int normal_axis(int64_t axis, int rank, const StepDef& step) {
  if (axis < -rank || axis >= rank)
    fail(ErrorKind::invalid_model, "%s node '%s': axis %lld is out of range for rank %d", step.op.c_str(),
         step.name.c_str(), (long long)axis, rank);
  return int(axis < 0 ? axis + rank : axis);
}

}  // namespace octavo
