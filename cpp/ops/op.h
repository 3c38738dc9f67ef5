// What a plan operator is. One file per operator in this folder, one line in ops.def.
//
// Life: make(StepDef, BindContext) once per session (checks attributes, selects kernels, packs constant weights);
// infer() once per distinct input shape; run() each call. After binding, run() does no look-up, no allocation, no
// string work and no ISA test. An operator is immutable after make(): run() is called from many threads at once.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/isa.h"
#include "core/thread_pool.h"
#include "core/types.h"

namespace octavo {

using Attr = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>;

// One step of a plan: operator, the values it reads (-1: absent optional input) and writes, attributes.
struct StepDef {
  std::string op;    // a name in ops.def
  std::string name;  // the ONNX node(s) it came from, for messages and profiles
  std::vector<int32_t> inputs, outputs;
  std::map<std::string, Attr> attrs;

  // Attribute access; a missing attribute without a default, or one of another type, is Error(invalid_model).
  int64_t i(const char* key) const;
  int64_t i(const char* key, int64_t otherwise) const;
  double f(const char* key) const;
  double f(const char* key, double otherwise) const;
  std::string s(const char* key, const std::string& otherwise) const;
  std::vector<int64_t> ints(const char* key) const;
  std::vector<int64_t> ints(const char* key, const std::vector<int64_t>& otherwise) const;
  std::vector<double> floats(const char* key, const std::vector<double>& otherwise) const;
  bool has(const char* key) const { return attrs.count(key) != 0; }
  bool operator==(const StepDef& o) const;  // numbers bit for bit: 0.0 is not -0.0
};

// What is known when a session is made. input(k) is null for an absent input; data is null unless the input is
// constant.
struct BindContext {
  const StepDef& step;
  Isa isa;
  struct Operand {
    DType dtype = DType::none;
    int rank = 0;
    const View* constant = nullptr;  // shape and data, when the plan holds it; lives as long as the session
    bool present = false;
  };
  std::vector<Operand> inputs, outputs;

  bool has(int k) const { return k < int(inputs.size()) && inputs[k].present; }
  // The constant behind input k; Error(invalid_model) naming the step when it is missing or of another dtype.
  const View& constant(int k, DType dtype) const;
  const View* constant_or_null(int k) const { return has(k) ? inputs[k].constant : nullptr; }
  // Throws unless input k is there and has this dtype.
  void need(int k, DType dtype) const;
  [[noreturn]] void fail(const char* format, ...) const __attribute__((format(printf, 2, 3)));
};

// Shape inference. in[k].shape is known; in[k].data is non-null when the value itself is known at planning time
// (constants, and everything computed from shapes alone).
struct InferContext {
  const StepDef& step;
  std::vector<View> in;     // absent inputs have dtype none
  std::vector<Shape> out;   // to be filled, one per output
  bool need_value = false;  // set by value(): the shape depends on data not known yet; return at once

  bool has(int k) const { return k < int(in.size()) && in[k].dtype != DType::none; }
  // Reads input k as int64s; false (and need_value set) when its value is not known yet.
  bool value(int k, std::vector<int64_t>& out_values);
  [[noreturn]] void fail(const char* format, ...) const __attribute__((format(printf, 2, 3)));
};

struct RunContext {
  View* in;  // absent inputs: data null
  View* out;
  int inputs, outputs;
  uint8_t* scratch;  // scratch_bytes() bytes, 64-byte aligned, contents undefined
  Region& pool;
};

class Op {
 public:
  virtual ~Op() = default;

  // Fills out shapes; throws Error(invalid_argument) through ctx.fail when shapes do not fit together.
  virtual void infer(InferContext& ctx) const = 0;
  // Scratch for these concrete views (pitches and borders are final, data pointers are not yet set).
  virtual size_t scratch_bytes(const View* in, const View* out, int threads) const {
    (void)in, (void)out, (void)threads;
    return 0;
  }
  virtual void run(RunContext& ctx) const = 0;

  // Output 0 is input k under another shape, no bytes move (Reshape, Squeeze, ...); run() is then never called.
  virtual int alias_of() const { return -1; }
  // Output 0 may share memory with input k (same size, element by element in order).
  virtual bool in_place(int k) const {
    (void)k;
    return false;
  }
  // The operator honours View pitches on input k / on output 0. Otherwise it always gets dense views.
  virtual bool strided_in(int k) const {
    (void)k;
    return false;
  }
  virtual bool strided_out() const { return false; }
  // The border the operator would like around input k, holding border_fill() in every element; the planner may grant it
  // (View::border is then at least this), or not (then run() pads into its scratch).
  virtual Border border(int k) const {
    (void)k;
    return {};
  }
  virtual uint8_t border_fill() const { return 0; }
  // For profiles and `explain`: which kernel serves it, and multiply-accumulates for these shapes.
  virtual std::string kernel() const { return ""; }
  virtual int64_t macs(const View* in, const View* out) const {
    (void)in, (void)out;
    return 0;
  }
};

using MakeOp = std::unique_ptr<Op> (*)(const BindContext&);
// The operator's factory, or null for a name not in ops.def.
MakeOp find_op(const std::string& name);
std::vector<std::string> op_names();

// Shared by many operators: numpy broadcasting of two shapes; false when they do not fit.
bool broadcast(const Shape& a, const Shape& b, Shape& out);
// Axis in [-rank, rank) -> [0, rank); throws through fail() otherwise.
int normal_axis(int64_t axis, int rank, const StepDef& step);

}  // namespace octavo
