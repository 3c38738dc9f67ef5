#include "plan/program.h"

#include <algorithm>
#include <mutex>

#include "core/arith.h"
#include "core/buffer.h"

namespace octavo {
namespace {

std::mutex mutex;

// The programs in use. Behind a function, and never destroyed: sessions may outlive static objects.
std::vector<std::weak_ptr<const Program>>& programs() {
  static auto* list = new std::vector<std::weak_ptr<const Program>>;
  return *list;
}

std::shared_ptr<const Program> find(const Plan& plan, Isa isa, int threads) {
  auto& list = programs();
  list.erase(std::remove_if(list.begin(), list.end(), [](const auto& p) { return p.expired(); }), list.end());
  for (const auto& entry : list)
    if (const auto p = entry.lock())
      if (p->isa == isa && p->threads == threads && *p->plan == plan) return p;
  return nullptr;
}

std::shared_ptr<Program> bind_program(std::shared_ptr<const Plan> plan, Isa isa, int threads) {
  const FpScope rounding;  // operators compute tables and packed weights
  const size_t before = bytes_held();
  auto program = std::make_shared<Program>();
  Program& p = *program;
  p.plan = std::move(plan);
  p.isa = isa;
  p.threads = threads;
  const size_t values = p.plan->values.size();
  p.readers.resize(values);
  p.writer.assign(values, -1);
  p.is_output.assign(values, 0);
  for (const OutputDef& o : p.plan->outputs) p.is_output[o.value] = 1;
  for (size_t k = 0; k < p.plan->steps.size(); k++) {
    const StepDef& step = p.plan->steps[k];
    for (int32_t v : step.outputs) p.writer[v] = int32_t(k);
    for (int32_t v : step.inputs)
      if (v >= 0) p.readers[v].push_back(int(k));
    if (step.op == "Python") {
      p.ops.push_back(nullptr);
      continue;
    }
    BindContext ctx{step, isa, {}, {}};
    const auto describe = [&](int32_t v) {
      BindContext::Operand o;
      if (v < 0) return o;
      const ValueDef& def = p.plan->values[v];
      o.present = true;
      o.dtype = def.dtype;
      o.rank = def.rank;
      o.constant = def.constant >= 0 ? &p.plan->constants[def.constant] : nullptr;
      return o;
    };
    for (int32_t v : step.inputs) ctx.inputs.push_back(describe(v));
    for (int32_t v : step.outputs) ctx.outputs.push_back(describe(v));
    p.ops.push_back(find_op(step.op)(ctx));
  }
  const size_t after = bytes_held();
  p.packed_bytes = after > before ? after - before : 0;
  return program;
}

}  // namespace

std::shared_ptr<const Program> shared_program(std::shared_ptr<const Plan> plan, Isa isa, int threads) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (auto p = find(*plan, isa, threads)) return p;
  }
  // Binding takes long, so others need not wait; of two that bind the same plan at once the first to finish is kept.
  std::shared_ptr<const Program> made = bind_program(plan, isa, threads);
  std::lock_guard<std::mutex> lock(mutex);
  if (auto p = find(*plan, isa, threads)) return p;
  programs().push_back(made);
  return made;
}

}  // namespace octavo
