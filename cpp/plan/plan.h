// The plan: a flat list of steps over numbered values, with the constants they read. docs/plan.md names the operators.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/buffer.h"
#include "core/types.h"
#include "ops/op.h"

namespace octavo {

// One dimension of a declared shape: a size, a symbol (index into Plan::symbols), or neither (unknown until run time).
struct Dim {
  int64_t size = -1;
  int32_t symbol = -1;
  bool operator==(const Dim& o) const { return size == o.size && symbol == o.symbol; }
};

struct ValueDef {
  std::string name;
  DType dtype = DType::none;
  int rank = -1;  // -1: not known before run time (results of Python steps)
  std::vector<Dim> dims;
  int32_t constant = -1;  // index into Plan::constants
  bool operator==(const ValueDef& o) const {
    return name == o.name && dtype == o.dtype && rank == o.rank && dims == o.dims && constant == o.constant;
  }
};

struct OutputDef {
  std::string name;
  int32_t value = -1;
  bool operator==(const OutputDef& o) const { return name == o.name && value == o.value; }
};

class Plan {
 public:
  std::vector<std::string> symbols;
  std::vector<ValueDef> values;
  std::vector<View> constants;  // memory in `storage`: 64-byte aligned, slack after the end
  std::vector<StepDef> steps;
  std::vector<int32_t> inputs;  // values
  std::vector<OutputDef> outputs;
  std::map<std::string, std::string> metadata;

  // The same in everything but where the constants lie: sessions of equal plans do the same.
  bool operator==(const Plan& other) const;
  // Error(invalid_model) naming the offender unless every index, rank and dtype is in order, every value is written
  // once and before it is read, and every operator is known.
  void validate() const;
  // The name of a step that only Python can run, or "".
  std::string python_step() const;
  std::string describe_dims(const ValueDef& v) const;  // "[N, 3, 224, 224]"

  // The `.octavo` file. save() writes beside the target and renames: a failure leaves an old file in place.
  void save(const std::string& path) const;
  std::string to_bytes() const;
  static std::shared_ptr<const Plan> load(const std::string& path);  // memory-mapped
  static std::shared_ptr<const Plan> from_bytes(const void* data, size_t bytes);

  std::vector<std::shared_ptr<void>> storage;  // what `constants` point into
};

// Builds a plan step by step; used by Python's lowering and by C++ tests and benchmarks.
class PlanBuilder {
 public:
  PlanBuilder() : plan_(std::make_shared<Plan>()) {}

  Dim symbol(const std::string& name);
  static Dim size(int64_t n) { return Dim{n, -1}; }

  int32_t add_input(const std::string& name, DType dtype, const std::vector<Dim>& dims);
  int32_t add_value(const std::string& name, DType dtype, int rank, const std::vector<Dim>& dims = {});
  int32_t add_constant(const std::string& name, DType dtype, const Shape& shape, const void* data);
  void add_step(StepDef step) { plan_->steps.push_back(std::move(step)); }
  void add_output(const std::string& name, int32_t value) { plan_->outputs.push_back({name, value}); }
  void set_metadata(const std::string& key, const std::string& text) { plan_->metadata[key] = text; }
  std::shared_ptr<const Plan> build();  // validates; the builder is empty afterwards

 private:
  std::shared_ptr<Plan> plan_;
};

}  // namespace octavo
