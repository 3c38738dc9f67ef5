#include "plan/instance.h"

#include <algorithm>
#include <cstring>

#include "core/arith.h"
#include "plan/memory.h"

namespace octavo {
namespace {

// Results of shape arithmetic are folded while planning; anything larger is left to run time.
constexpr int64_t kFoldElements = 4096;
constexpr int64_t kMaxBorderGrowth = 16;

}  // namespace

void check_result(const Plan& plan, const StepDef& step, size_t k, const Shape& shape) {
  const ValueDef& def = plan.values[step.outputs[k]];
  if (shape.rank < 0 || shape.rank > kMaxRank || (def.rank >= 0 && shape.rank != def.rank))
    fail(ErrorKind::invalid_model, "%s node '%s': its result '%s' has %d dimensions, but the plan declares %d",
         step.op.c_str(), step.name.c_str(), def.name.c_str(), shape.rank, def.rank);
  if (shape.extent(kMaxElements) < 0)
    fail(ErrorKind::invalid_argument,
         "%s node '%s': its output would be larger than this engine allows; check the input shapes", step.op.c_str(),
         step.name.c_str());
  const size_t bytes = size_t(shape.elements()) * size_of(def.dtype);
  if (bytes > memory_limit())
    fail(ErrorKind::out_of_memory,
         "%s node '%s': its output would take %zu bytes, but this machine has %zu; use smaller inputs", step.op.c_str(),
         step.name.c_str(), bytes, memory_limit());
}

Instance::Instance(const Program& program, const std::vector<Shape>& input_shapes) : program_(program) {
  const Plan& plan = *program.plan;
  places_.resize(plan.values.size());
  parent_.assign(plan.values.size(), -1);
  parent_offset_.assign(plan.values.size(), 0);
  pinned_.assign(plan.values.size(), 0);
  skipped_.assign(plan.steps.size(), 0);
  fills_.resize(plan.steps.size());
  scratch_offset_.assign(plan.steps.size(), 0);
  output_in_place_.assign(plan.outputs.size(), 0);
  resolve_shapes(input_shapes);
  choose_outputs();
  place_concats();
  grant_borders();
  share_in_place();
  lay_out();
}

void Instance::resolve_shapes(const std::vector<Shape>& input_shapes) {
  const FpScope rounding;  // steps are run here as well
  const Plan& plan = *program_.plan;
  for (size_t v = 0; v < plan.values.size(); v++) {
    View& view = places_[v].view;
    view.dtype = plan.values[v].dtype;
    if (plan.values[v].constant >= 0) {
      view = program_.constant(int32_t(v));
      places_[v].home = Home::known;
    }
  }
  for (size_t k = 0; k < plan.inputs.size(); k++) {
    Place& p = places_[plan.inputs[k]];
    p.home = Home::input;
    p.slot = int32_t(k);
    p.view.shape = input_shapes[k];
    p.view.external = true;
    p.view.set_dense_pitches();
  }
  const int steps = int(plan.steps.size());
  for (dynamic_from_ = 0; dynamic_from_ < steps; dynamic_from_++) {
    const StepDef& step = plan.steps[dynamic_from_];
    const Op* op = program_.ops[dynamic_from_].get();
    if (op == nullptr) return;
    InferContext ctx{step, {}, std::vector<Shape>(step.outputs.size()), false};
    for (int32_t v : step.inputs) ctx.in.push_back(v < 0 ? View{} : places_[v].view);
    op->infer(ctx);
    if (ctx.need_value) return;
    for (size_t k = 0; k < step.outputs.size(); k++) {
      check_result(plan, step, k, ctx.out[k]);
      Place& p = places_[step.outputs[k]];
      p.home = Home::arena;
      p.view.shape = ctx.out[k];
      p.view.set_dense_pitches();
    }
    if (fold(dynamic_from_, ctx.in)) continue;
    if (const int k = op->alias_of(); k >= 0) {
      const int32_t from = step.inputs[k], to = step.outputs[0];
      skipped_[dynamic_from_] = 1;
      parent_[to] = from;
      if (places_[from].home == Home::arena) continue;
      View view = places_[from].view;  // an input or a known value under another shape
      view.shape = places_[to].view.shape;
      view.set_dense_pitches();
      places_[to] = places_[from];
      places_[to].view = view;
      parent_[to] = -1;
    }
  }
}

// A step whose inputs are all known, or that reads only shapes, is run now.
bool Instance::fold(int step_index, const std::vector<View>& in) {
  const StepDef& step = program_.plan->steps[step_index];
  const bool shape_only = step.op == "Shape" || step.op == "Size";
  for (const View& v : in)
    if (!shape_only && v.dtype != DType::none && v.data == nullptr && v.elements() > 0) return false;
  if (program_.ops[step_index]->alias_of() >= 0) return false;  // resolve_shapes() follows those without copying
  std::vector<View> out;
  for (int32_t v : step.outputs) {
    if (places_[v].view.elements() > kFoldElements) return false;
    out.push_back(places_[v].view);
  }
  std::vector<View> inputs = in;
  for (View& v : inputs)
    if (v.dtype != DType::none && v.data == nullptr) v.data = empty_data();
  for (View& v : out) {
    folded_.emplace_back(v.bytes(), true);
    v.data = folded_.back().data();
    v.constant = true;
  }
  Buffer scratch(program_.ops[step_index]->scratch_bytes(inputs.data(), out.data(), 1));
  Region alone(1);
  RunContext run{inputs.data(), out.data(), int(inputs.size()), int(out.size()), scratch.as<uint8_t>(), alone};
  program_.ops[step_index]->run(run);
  for (size_t k = 0; k < out.size(); k++) {
    places_[step.outputs[k]].home = Home::known;
    places_[step.outputs[k]].view = out[k];
  }
  skipped_[step_index] = 1;
  return true;
}

int32_t Instance::root(int32_t value) const {
  while (parent_[value] >= 0) value = parent_[value];
  return value;
}

// The first output over a planned value is computed straight into the caller's buffer; others are copied at the end.
void Instance::choose_outputs() {
  const Plan& plan = *program_.plan;
  for (size_t k = 0; k < plan.outputs.size(); k++) {
    const int32_t v = plan.outputs[k].value;
    if (places_[v].home != Home::arena) continue;
    Place& p = places_[root(v)];
    if (p.home != Home::arena) continue;
    p.home = Home::output;
    p.slot = int32_t(k);
    p.view.external = true;
    pinned_[root(v)] = 1;
    output_in_place_[k] = 1;
  }
}

bool Instance::joinable(int32_t value, int32_t concat) const {
  const Plan& plan = *program_.plan;
  const int32_t writer = program_.writer[value];
  if (!planned(value) || parent_[value] >= 0 || pinned_[value] || program_.is_output[value]) return false;
  if (writer < 0 || writer >= dynamic_from_ || !program_.ops[writer]->strided_out()) return false;
  if (plan.steps[writer].outputs[0] != value) return false;
  for (int reader : program_.readers[value]) {
    if (reader >= dynamic_from_) return false;
    const StepDef& step = plan.steps[reader];
    for (size_t k = 0; k < step.inputs.size(); k++) {
      if (step.inputs[k] != value) continue;
      if (!program_.ops[reader]->strided_in(int(k)) || program_.ops[reader]->alias_of() >= 0) return false;
    }
  }
  const auto& in = plan.steps[concat].inputs;
  return std::count(in.begin(), in.end(), value) == 1;
}

// Concat on the last axis: parts whose writers can stride are written straight into their columns of the result.
void Instance::place_concats() {
  const Plan& plan = *program_.plan;
  for (int step = 0; step < dynamic_from_; step++) {
    const StepDef& s = plan.steps[step];
    if (s.op != "Concat" || skipped_[step]) continue;
    const int32_t whole = s.outputs[0];
    const View& result = places_[whole].view;
    const int rank = result.shape.rank;
    if (rank < 2 || rank > 4 || parent_[whole] >= 0 || normal_axis(s.i("axis"), rank, s) != rank - 1) continue;
    size_t at = 0;
    bool all = true;
    for (int32_t v : s.inputs) {
      View& part = places_[v].view;
      const size_t bytes = size_t(part.shape[-1]) * size_of(part.dtype);
      if (joinable(v, step)) {
        parent_[v] = whole;
        parent_offset_[v] = at;
        pinned_[v] = 1;
        part.external = result.external;
        part.pixel_pitch = result.pixel_pitch;
        part.row_pitch = result.row_pitch;
        part.image_pitch = result.image_pitch;
      } else {
        all = false;
      }
      at += bytes;
    }
    pinned_[whole] = 1;
    if (all) skipped_[step] = 1;
  }
}

// Images whose readers pad are stored with their border around them, where the writer can stride.
void Instance::grant_borders() {
  const Plan& plan = *program_.plan;
  for (int step = 0; step < dynamic_from_; step++) {
    if (skipped_[step] || program_.ops[step] == nullptr || !program_.ops[step]->strided_out()) continue;
    const int32_t value = plan.steps[step].outputs[0];
    View& view = places_[value].view;
    if (!planned(value) || parent_[value] >= 0 || pinned_[value] || view.shape.rank != 4) continue;
    if (plan.steps[step].outputs.size() != 1 || view.elements() == 0) continue;
    Border need;
    int fill = -1;
    bool possible = !program_.is_output[value];
    for (int reader : program_.readers[value]) {
      if (reader >= dynamic_from_ || program_.ops[reader]->alias_of() >= 0) possible = false;
      if (!possible) break;
      const Op& op = *program_.ops[reader];
      for (size_t k = 0; k < plan.steps[reader].inputs.size(); k++) {
        if (plan.steps[reader].inputs[k] != value) continue;
        if (!op.strided_in(int(k))) possible = false;
        const Border b = op.border(int(k));
        if (b.empty()) continue;
        if (fill >= 0 && fill != op.border_fill()) possible = false;
        fill = op.border_fill();
        need.top = std::max(need.top, b.top), need.left = std::max(need.left, b.left);
        need.bottom = std::max(need.bottom, b.bottom), need.right = std::max(need.right, b.right);
      }
    }
    if (!possible || need.empty()) continue;
    // Hostile pads: a border that dwarfs the image is not worth its memory, and its bytes could overflow.
    const Shape bordered{
        3, {view.shape[1] + need.top + need.bottom, view.shape[2] + need.left + need.right, view.shape[3]}};
    if (bordered.extent(kMaxElements / view.shape[0]) < 0 ||
        view.shape[0] * bordered.elements() > kMaxBorderGrowth * view.elements() + kFoldElements)
      continue;
    view.border = need;
    view.row_pitch = (view.shape[2] + need.left + need.right) * view.pixel_pitch;
    view.image_pitch = (view.shape[1] + need.top + need.bottom) * view.row_pitch;
    pinned_[value] = 1;
    fills_[step].push_back({value, uint8_t(fill)});
  }
}

void Instance::share_in_place() {
  const Plan& plan = *program_.plan;
  // Last reader of the storage behind each root.
  std::vector<int> last(plan.values.size(), -1);
  for (size_t v = 0; v < plan.values.size(); v++) {
    const int32_t r = root(int32_t(v));
    for (int reader : program_.readers[v]) last[r] = std::max(last[r], reader);
    if (program_.is_output[v]) last[r] = int(plan.steps.size());
  }
  for (int step = 0; step < dynamic_from_; step++) {
    if (skipped_[step]) continue;
    const StepDef& s = plan.steps[step];
    const int32_t out = s.outputs[0];
    if (!planned(out) || parent_[out] >= 0 || pinned_[out]) continue;
    for (size_t k = 0; k < s.inputs.size(); k++) {
      const int32_t in = s.inputs[k];
      if (in < 0 || !planned(in) || !program_.ops[step]->in_place(int(k))) continue;
      const int32_t r = root(in);
      if (!planned(r) || pinned_[r] || pinned_[in] || last[r] != step) continue;
      if (places_[in].view.bytes() != places_[out].view.bytes()) continue;
      // Nothing else that the step reads may lie there, under this name or that of a Reshape.
      if (std::count_if(s.inputs.begin(), s.inputs.end(), [&](int32_t v) { return v >= 0 && root(v) == r; }) != 1)
        continue;
      parent_[out] = in;
      last[r] = std::max(last[r], last[out]);
      break;
    }
  }
}

void Instance::lay_out() {
  const Plan& plan = *program_.plan;
  std::vector<Block> blocks;
  std::vector<int32_t> block_of(plan.values.size(), -1);
  const int last_step = int(plan.steps.size());
  const auto extend = [&](int32_t v, int first, int last) {
    const int32_t r = root(v);
    if (!planned(r)) return;
    if (block_of[r] < 0) {
      block_of[r] = int32_t(blocks.size());
      const View& view = places_[r].view;
      Block b;
      b.bytes =
          view.border.empty() ? view.bytes() : size_t(view.image_pitch * view.shape[0]) * size_of(view.dtype) + kSlack;
      b.first = first, b.last = last;
      blocks.push_back(b);
    }
    Block& b = blocks[block_of[r]];
    b.first = std::min(b.first, int32_t(first));
    b.last = std::max(b.last, int32_t(last));
  };
  for (int step = 0; step < dynamic_from_; step++)
    for (int32_t v : plan.steps[step].outputs) {
      if (places_[v].home != Home::arena) continue;
      extend(v, step, step);
      for (int reader : program_.readers[v]) extend(v, step, reader >= dynamic_from_ ? last_step : reader);
      if (program_.is_output[v]) extend(v, step, last_step);
    }
  // Views first (shapes and pitches decide the scratch), then scratch blocks, then offsets.
  for (size_t v = 0; v < places_.size(); v++) {
    if (parent_[v] < 0) continue;
    const Place& r = places_[root(int32_t(v))];
    places_[v].view.external = r.view.external;
  }
  std::vector<int32_t> scratch_block(plan.steps.size(), -1);
  for (int step = 0; step < dynamic_from_; step++) {
    if (skipped_[step]) continue;
    schedule_.push_back(step);
    std::vector<View> in, out;
    for (int32_t v : plan.steps[step].inputs) in.push_back(v < 0 ? View{} : places_[v].view);
    for (int32_t v : plan.steps[step].outputs) out.push_back(places_[v].view);
    const size_t bytes = program_.ops[step]->scratch_bytes(in.data(), out.data(), program_.threads);
    if (bytes == 0) continue;
    if (bytes > memory_limit())
      fail(ErrorKind::out_of_memory, "%s node '%s' would need %zu bytes of working memory; this machine has %zu",
           plan.steps[step].op.c_str(), plan.steps[step].name.c_str(), bytes, memory_limit());
    scratch_block[step] = int32_t(blocks.size());
    blocks.push_back(Block{bytes + kSlack, step, step, 0});
  }
  arena_bytes_ = place_blocks(blocks);
  size_t bytes = arena_bytes_;
  for (const OutputDef& o : plan.outputs)
    if (places_[o.value].home != Home::unknown) bytes += places_[o.value].view.bytes();
  if (bytes > memory_limit())
    fail(ErrorKind::out_of_memory,
         "a run with these input shapes would take %zu bytes, but this machine has %zu; use smaller inputs", bytes,
         memory_limit());
  for (int step = 0; step < dynamic_from_; step++)
    if (scratch_block[step] >= 0) scratch_offset_[step] = blocks[scratch_block[step]].offset;
  for (size_t v = 0; v < places_.size(); v++) {
    Place& p = places_[v];
    if (p.home != Home::arena && p.home != Home::output) continue;
    size_t offset = 0;
    int32_t r = int32_t(v);
    for (; parent_[r] >= 0; r = parent_[r]) offset += parent_offset_[r];
    const Place& base = places_[r];
    const View& b = base.view;
    if (!b.border.empty())
      offset += size_t(b.border.top * b.row_pitch + b.border.left * b.pixel_pitch) * size_of(b.dtype);
    p.home = base.home == Home::output ? Home::output : Home::arena;
    p.slot = base.home == Home::output ? base.slot : -1;
    p.offset = base.home == Home::output ? offset : blocks[block_of[r]].offset + offset;
  }
}

}  // namespace octavo
