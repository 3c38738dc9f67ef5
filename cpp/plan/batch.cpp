#include "plan/batch.h"

#include <algorithm>

#include "core/error.h"

namespace octavo {
namespace {

constexpr size_t kTooLarge = 16 << 20;  // an arena beyond this is worth cutting
constexpr size_t kWanted = 8 << 20;     // and this is what a part may take

// What a step asks of a batch axis that comes first in its data.
enum class Rule {
  refuse,
  images,       // an image apiece: every input that is data has the batch first
  broadcast,    // as images; constants must not reach the first axis
  along_axis,   // as images; attribute `axis` (or `axes`) must not be the first
  permutation,  // as images; `perm` leaves the first axis where it is
  weights,      // as images; input 1 is constant
};

Rule rule_of(const StepDef& step) {
  static const struct {
    const char* op;
    Rule rule;
  } kRules[] = {
      {"Conv", Rule::images},
      {"ConvTranspose", Rule::images},
      {"QConv", Rule::images},
      {"MaxPool", Rule::images},
      {"AveragePool", Rule::images},
      {"QAveragePool", Rule::images},
      {"Resize", Rule::images},
      {"DepthToSpace", Rule::images},
      {"SpaceToDepth", Rule::images},
      {"Unary", Rule::images},
      {"Lut", Rule::images},
      {"Flip8", Rule::images},
      {"Cast", Rule::images},
      {"Reshape", Rule::images},
      {"Flatten", Rule::images},
      {"Squeeze", Rule::images},
      {"Unsqueeze", Rule::images},
      {"Identity", Rule::images},
      {"QGemm", Rule::weights},
      {"MatMul", Rule::weights},
      {"Binary", Rule::broadcast},
      {"QAdd", Rule::broadcast},
      {"QMul", Rule::broadcast},
      {"Where", Rule::broadcast},
      {"Softmax", Rule::along_axis},
      {"LayerNormalization", Rule::along_axis},
      {"Concat", Rule::along_axis},
      {"Split", Rule::along_axis},
      {"Reduce", Rule::along_axis},
      {"QReduceMean", Rule::along_axis},
      {"Dequantize", Rule::along_axis},
      {"Quantize", Rule::permutation},
      {"Transpose", Rule::permutation},
  };
  for (const auto& r : kRules)
    if (step.op == r.op) return r.rule;
  return Rule::refuse;
}

class Cutter {
 public:
  Cutter(const Program& program, const Instance& whole, const Instance& part, int64_t images, int64_t images_of_part)
      : plan_(*program.plan), whole_(whole), part_(part), n_(images), m_(images_of_part) {}

  bool allowed() const {
    const int steps = int(plan_.steps.size());
    if (whole_.dynamic_from() < steps || part_.dynamic_from() < steps) return false;
    for (int32_t v : plan_.inputs)
      if (!batched(v)) return false;
    for (const OutputDef& o : plan_.outputs)
      if (!batched(o.value)) return false;
    for (const StepDef& step : plan_.steps)
      if (!allowed(step)) return false;
    return true;
  }

 private:
  bool known(int32_t v) const { return whole_.places()[v].home == Home::known; }
  // Not a constant, and [n, rest] where the part has [m, rest].
  bool batched(int32_t v) const {
    const Shape &a = whole_.places()[v].view.shape, &b = part_.places()[v].view.shape;
    if (known(v) || part_.places()[v].home == Home::known || a.rank < 1 || a.rank != b.rank) return false;
    for (int i = 1; i < a.rank; i++)
      if (a[i] != b[i]) return false;
    return a[0] == n_ && b[0] == m_;
  }
  bool is_constant(int32_t v) const { return plan_.values[v].constant >= 0; }

  bool allowed(const StepDef& step) const {
    bool computes = false;  // anything that was not known from the shapes
    for (int32_t v : step.outputs) computes = computes || !known(v);
    if (!computes) return true;
    const Rule rule = rule_of(step);
    if (rule == Rule::refuse) return false;
    for (int32_t v : step.outputs)
      if (!batched(v)) return false;
    const int rank = whole_.places()[step.outputs[0]].view.shape.rank;
    for (size_t k = 0; k < step.inputs.size(); k++) {
      const int32_t v = step.inputs[k];
      if (v < 0) continue;
      if (!known(v)) {
        if (!batched(v)) return false;
        // Broadcasting counts axes from the end.
        if (rule == Rule::broadcast && whole_.places()[v].view.shape.rank != rank) return false;
        if (rule == Rule::weights && k == 1) return false;
        continue;
      }
      if (k == 0 && rule != Rule::broadcast) return false;
      // A value that came of the shapes may only be another shape; the outputs' shapes have been compared.
      const bool shape = k == 1 && (step.op == "Reshape" || step.op == "Squeeze" || step.op == "Unsqueeze");
      if (!is_constant(v) && !shape) return false;
      const Shape& s = whole_.places()[v].view.shape;
      if (rule == Rule::broadcast && s.rank == rank && s[0] != 1) return false;
      if (step.op == "Concat") return false;
    }
    return axes_allow(step, rule);
  }

  bool axes_allow(const StepDef& step, Rule rule) const {
    const int rank = whole_.places()[step.inputs[0]].view.shape.rank;
    if (rule == Rule::weights) return rank >= 2;
    if (rule == Rule::permutation) {
      const std::vector<int64_t> perm = step.ints("perm", {});
      if (!perm.empty() && perm[0] != 0 && perm[0] != -rank) return false;
      if (step.op == "Transpose") return !perm.empty();
    }
    if (rule != Rule::along_axis && rule != Rule::permutation) return true;
    if (step.op == "Reduce" || step.op == "QReduceMean") {
      const std::vector<int64_t> axes = step.ints("axes", {});
      if (axes.empty()) return false;  // all, or given as an input
      for (int64_t a : axes)
        if (a == 0 || a == -rank) return false;
      return true;
    }
    // Scales of Quantize and Dequantize lie along an axis only if they are an input.
    const bool scales = step.op == "Quantize" || step.op == "Dequantize";
    if (scales && (step.inputs.size() < 2 || step.inputs[1] < 0)) return true;
    const int64_t axis = step.i("axis", scales ? 1 : step.op == "Split" || step.op == "Concat" ? 0 : -1);
    return axis != 0 && axis != -rank;
  }

  const Plan& plan_;
  const Instance &whole_, &part_;
  int64_t n_, m_;
};

}  // namespace

BatchParts split_batch(const Program& program, const Instance& whole, const std::vector<Shape>& input_shapes) {
  if (whole.arena_bytes() <= kTooLarge || input_shapes.empty() || input_shapes[0].rank < 1) return {};
  const int64_t n = input_shapes[0][0];
  for (const Shape& s : input_shapes)
    if (s.rank < 1 || s[0] != n) return {};
  if (n < 2) return {};
  int64_t m = std::max<int64_t>(1, int64_t(kWanted / (whole.arena_bytes() / size_t(n) + 1)));
  while (n % m != 0) m--;
  if (m >= n) return {};
  std::vector<Shape> shapes = input_shapes;
  for (Shape& s : shapes) s[0] = m;
  try {
    auto part = std::make_shared<const Instance>(program, shapes);
    if (Cutter(program, whole, *part, n, m).allowed()) return {part, n / m};
  } catch (const Error&) {
    // The plan is for this batch only.
  }
  return {};
}

}  // namespace octavo
