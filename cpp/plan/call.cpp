#include "plan/call.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/arith.h"

namespace octavo {
namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void* at(void* base, size_t offset) { return static_cast<char*>(base) + offset; }

}  // namespace

void fill_border(const View& v, uint8_t byte) {
  const size_t size = size_of(v.dtype);
  const int64_t height = v.shape[1], width = v.shape[2];
  const size_t left = size_t(v.border.left * v.pixel_pitch) * size,
               right = size_t(v.border.right * v.pixel_pitch) * size;
  const size_t row = size_t(v.row_pitch) * size;
  for (int64_t n = 0; n < v.shape[0]; n++) {
    char* image = static_cast<char*>(v.data) + size_t(n * v.image_pitch) * size;
    char* top = image - left - size_t(v.border.top) * row;
    std::memset(top, byte, size_t(v.border.top) * row + left);
    const size_t inner = size_t(width * v.pixel_pitch) * size;
    // The right edge of one row and the left edge of the next are neighbours.
    for (int64_t y = 0; y < height; y++)
      std::memset(image + size_t(y) * row + inner, byte, right + (y + 1 < height ? left : 0));
    std::memset(image + size_t(height) * row - left, byte, size_t(v.border.bottom) * row);
  }
}

void copy_dense(const View& from, void* to) {
  const size_t size = size_of(from.dtype);
  if (from.dense() || from.elements() == 0) {
    if (from.bytes() > 0) std::memcpy(to, from.data, from.bytes());
    return;
  }
  const int rank = from.shape.rank;
  const int64_t channels = from.shape[-1], width = rank > 1 ? from.shape[-2] : 1,
                height = rank > 2 ? from.shape[-3] : 1;
  const int64_t images = from.elements() / (channels * width * height);
  auto* out = static_cast<char*>(to);
  for (int64_t n = 0; n < images; n++)
    for (int64_t y = 0; y < height; y++)
      for (int64_t x = 0; x < width; x++, out += size_t(channels) * size)
        std::memcpy(out,
                    static_cast<const char*>(from.data) +
                        size_t(n * from.image_pitch + y * from.row_pitch + x * from.pixel_pitch) * size,
                    size_t(channels) * size);
}

std::unique_ptr<Call::State> make_state(const Program& program, const Instance& instance) {
  const Plan& plan = *program.plan;
  auto state = std::make_unique<Call::State>();
  state->arena = Buffer(instance.arena_bytes());
  state->inputs.assign(plan.inputs.size(), nullptr);
  state->outputs.assign(plan.outputs.size(), nullptr);
  state->spare_outputs.resize(plan.outputs.size());
  state->heap_views.resize(plan.values.size());
  state->heap.resize(plan.values.size());
  const auto add = [&](int32_t value) {
    const auto index = int32_t(state->views.size());
    if (value < 0) {
      state->views.emplace_back();
      return;
    }
    const Place& p = instance.places()[value];
    state->views.push_back(p.view);
    if (p.home == Home::arena) state->views.back().data = at(state->arena.data(), p.offset);
    if (p.home == Home::input || p.home == Home::output)
      state->patches.push_back({index, p.slot, p.offset, p.home == Home::output});
  };
  for (int32_t step : instance.schedule()) {
    const StepDef& s = plan.steps[step];
    Call::State::Ready r;
    r.step = step;
    r.op = program.ops[step].get();
    r.scratch = static_cast<uint8_t*>(at(state->arena.data(), instance.scratch_offset()[step]));
    r.in = int32_t(state->views.size());
    r.inputs = int32_t(s.inputs.size());
    for (int32_t v : s.inputs) add(v);
    r.out = int32_t(state->views.size());
    r.outputs = int32_t(s.outputs.size());
    for (int32_t v : s.outputs) add(v);
    state->ready.push_back(r);
  }
  return state;
}

Call::Call(Session& session, std::shared_ptr<const Instance> whole, BatchParts parts, std::unique_ptr<State> state)
    : session_(session),
      whole_(std::move(whole)),
      instance_(parts.instance ? std::move(parts.instance) : whole_),
      parts_(parts.parts),
      state_(std::move(state)) {}

Call::~Call() {
  if (state_ == nullptr) return;
  for (void*& p : state_->inputs) p = nullptr;  // the caller may free them now
  for (void*& p : state_->outputs) p = nullptr;
  for (Buffer& b : state_->heap) b = Buffer();
  if (kept_) session_.give_back(whole_, std::move(state_));
}

const Shape* Call::output_shape(int k) const {
  const Place& p = whole_->places()[session_.plan().outputs[k].value];
  return p.home == Home::unknown ? nullptr : &p.view.shape;
}

size_t Call::arena_bytes() const { return state_->arena.size(); }

void Call::set_slot(Home home, int slot, void* data) {
  const bool output = home == Home::output;
  const auto number = size_t(slot);
  const int32_t value = output ? session_.plan().outputs[number].value : session_.plan().inputs[number];
  const Place& place = whole_->places()[value];
  if (data == nullptr && place.home != Home::unknown && place.view.elements() == 0) data = empty_data();
  point(output, slot, data);
}

void Call::point(bool output, int slot, void* data) {
  (output ? state_->outputs : state_->inputs)[slot] = data;
  for (const State::Patch& p : state_->patches)
    if (p.slot == slot && p.output == output) state_->views[p.index].data = at(data, p.offset);
}

void Call::set_input(int k, const void* data) { set_slot(Home::input, k, const_cast<void*>(data)); }
void Call::set_output(int k, void* data) { set_slot(Home::output, k, data); }

// Where value v is now. Valid for values whose writer has run.
View Call::value(int32_t v) const {
  const Place& p = instance_->places()[v];
  View view = p.view;
  switch (p.home) {
    case Home::unknown:
      return state_->heap_views[v];
    case Home::known:
      break;
    case Home::arena:
      view.data = at(state_->arena.data(), p.offset);
      break;
    case Home::input:
      view.data = at(state_->inputs[p.slot], p.offset);
      break;
    case Home::output:
      view.data = at(state_->outputs[p.slot], p.offset);
      break;
  }
  return view;
}

void Call::run(const Observer* observer, const std::vector<char>* watched) {
  const FpScope rounding;
  const Plan& plan = session_.plan();
  for (size_t k = 0; k < plan.inputs.size(); k++)
    if (state_->inputs[k] == nullptr)
      fail(ErrorKind::invalid_argument, "input '%s' has no data: call set_input() before run()",
           plan.values[plan.inputs[k]].name.c_str());
  for (size_t k = 0; k < plan.outputs.size(); k++) {
    if (state_->outputs[k] != nullptr) continue;
    const Shape* shape = output_shape(int(k));
    if (shape == nullptr) continue;
    View v;
    v.dtype = plan.values[plan.outputs[k].value].dtype;
    v.shape = *shape;
    if (state_->spare_outputs[k].size() < v.bytes() || state_->spare_outputs[k].data() == nullptr)
      state_->spare_outputs[k] = Buffer(v.bytes());
    set_slot(Home::output, int(k), state_->spare_outputs[k].data());
  }
  if (parts_ > 1) return observer != nullptr ? run_whole(*observer, *watched) : run_parts();
  run_static(observer, watched);
  if (instance_->dynamic_from() < int(plan.steps.size())) run_dynamic(observer, watched);
  for (size_t k = 0; k < plan.outputs.size(); k++) {
    if (instance_->output_in_place(int(k)) || output_shape(int(k)) == nullptr) continue;
    copy_dense(value(plan.outputs[k].value), state_->outputs[k]);
  }
}

// Every part reads and writes its own piece of the caller's buffers.
void Call::run_parts() {
  const Plan& plan = session_.plan();
  State& s = *state_;
  s.whole_inputs = s.inputs, s.whole_outputs = s.outputs;
  const auto point_at = [&](int64_t part) {
    const auto piece = [&](void* base, int32_t value) {
      return at(base, instance_->places()[value].view.bytes() * size_t(part));
    };
    for (size_t k = 0; k < s.inputs.size(); k++) point(false, int(k), piece(s.whole_inputs[k], plan.inputs[k]));
    for (size_t k = 0; k < s.outputs.size(); k++) point(true, int(k), piece(s.whole_outputs[k], plan.outputs[k].value));
  };
  struct Restore {  // also where a step throws
    decltype(point_at)& point;
    ~Restore() { point(0); }
  } restore{point_at};
  for (int64_t part = 0; part < parts_; part++) {
    point_at(part);
    run_static(nullptr, nullptr, part == 0);
    for (size_t k = 0; k < s.outputs.size(); k++)
      if (!instance_->output_in_place(int(k))) copy_dense(value(plan.outputs[k].value), s.outputs[k]);
  }
}

// Observers see values of the whole batch.
void Call::run_whole(const Observer& observer, const std::vector<char>& watched) {
  Call call(session_, whole_, {}, make_state(*session_.program_, *whole_));
  call.kept_ = false;
  for (size_t k = 0; k < state_->inputs.size(); k++) call.set_input(int(k), state_->inputs[k]);
  for (size_t k = 0; k < state_->outputs.size(); k++) call.set_output(int(k), state_->outputs[k]);
  call.run(&observer, &watched);
}

void Call::run_static(const Observer* observer, const std::vector<char>* watched, bool counts) {
  const Program& program = *session_.program_;
  const auto notify = [&](int from, int to) {  // values of steps [from, to) are there now
    for (int step = from; step < to; step++)
      for (int32_t v : program.plan->steps[step].outputs)
        if ((*watched)[v]) (*observer)(v, value(v));
  };
  if (observer != nullptr) {
    for (int32_t v : program.plan->inputs)
      if ((*watched)[v]) (*observer)(v, value(v));
  }
  Region pool(program.threads);
  int seen = 0;
  for (const State::Ready& r : state_->ready) {
    if (observer != nullptr && seen < r.step) {  // steps with nothing to do, before r may overwrite their values
      notify(seen, r.step);
      seen = r.step;
    }
    for (const BorderFill& f : instance_->fills()[r.step]) fill_border(value(f.value), f.byte);
    RunContext ctx{&state_->views[r.in], &state_->views[r.out], r.inputs, r.outputs, r.scratch, pool};
    if (session_.options_.profile) {
      pool.clear_spread();
      const int64_t start = now_ns();
      r.op->run(ctx);
      session_.measured(r.step, now_ns() - start, pool.spread(), counts);
    } else {
      r.op->run(ctx);
    }
    if (observer != nullptr) {
      notify(seen, r.step + 1);
      seen = r.step + 1;
    }
  }
  if (observer != nullptr) notify(seen, instance_->dynamic_from());
}

void Call::run_dynamic(const Observer* observer, const std::vector<char>* watched) {
  const Program& program = *session_.program_;
  const Plan& plan = *program.plan;
  std::vector<int> last(plan.values.size(), -1);
  for (size_t v = 0; v < plan.values.size(); v++) {
    for (int reader : program.readers[v]) last[v] = std::max(last[v], reader);
    if (program.is_output[v]) last[v] = int(plan.steps.size());
  }
  for (int step = instance_->dynamic_from(); step < int(plan.steps.size()); step++) {
    const int64_t start = session_.options_.profile ? now_ns() : 0;
    const int threads = run_dynamic_step(step);
    if (session_.options_.profile) session_.measured(step, now_ns() - start, threads);
    if (observer != nullptr)
      for (int32_t v : plan.steps[step].outputs)
        if ((*watched)[v]) (*observer)(v, value(v));
    for (int32_t v : plan.steps[step].inputs)
      if (v >= 0 && last[v] <= step && instance_->places()[v].home == Home::unknown) state_->heap[v] = Buffer();
  }
}

// Infer, allocate, run: the slow and general way, used from the first step whose shapes depend on data.
int Call::run_dynamic_step(int step) {
  const Program& program = *session_.program_;
  const StepDef& s = program.plan->steps[step];
  std::vector<View> in, out;
  std::vector<Buffer> dense_copies;
  for (int32_t v : s.inputs) {
    in.push_back(v < 0 ? View{} : value(v));
    View& view = in.back();
    if (v < 0 || view.dense()) continue;
    dense_copies.emplace_back(view.bytes());
    copy_dense(view, dense_copies.back().data());
    view.data = dense_copies.back().data();
    view.border = {};
    view.set_dense_pitches();
  }
  const auto keep = [&](size_t k, DType dtype, const Shape& shape, Buffer memory) {
    const int32_t v = s.outputs[k];
    View& view = state_->heap_views[v];
    view = View{};
    view.dtype = dtype;
    view.shape = shape;
    view.data = memory.data();
    view.set_dense_pitches();
    state_->heap[v] = std::move(memory);
  };
  const Op* op = program.ops[step].get();
  if (op == nullptr) {
    if (!session_.options_.host)
      fail(ErrorKind::unsupported, "node '%s' runs as a Python step, which this runtime has not", s.name.c_str());
    std::vector<HostTensor> results = session_.options_.host(int(s.i("callback")), in);
    if (results.size() != s.outputs.size())
      fail(ErrorKind::internal, "node '%s': the Python step gave %zu results instead of %zu", s.name.c_str(),
           results.size(), s.outputs.size());
    for (size_t k = 0; k < results.size(); k++) {
      const ValueDef& def = program.plan->values[s.outputs[k]];
      if (results[k].dtype != def.dtype)
        fail(ErrorKind::invalid_model, "node '%s': result '%s' is %s, but the graph declares %s", s.name.c_str(),
             def.name.c_str(), name_of(results[k].dtype), name_of(def.dtype));
      check_result(*program.plan, s, k, results[k].shape);
      keep(k, results[k].dtype, results[k].shape, std::move(results[k].memory));
    }
    return 1;
  }
  InferContext infer{s, in, std::vector<Shape>(s.outputs.size()), false};
  op->infer(infer);
  if (infer.need_value) fail(ErrorKind::internal, "node '%s': its shape cannot be determined", s.name.c_str());
  for (size_t k = 0; k < s.outputs.size(); k++) {
    View v;
    v.dtype = program.plan->values[s.outputs[k]].dtype;
    v.shape = infer.out[k];
    check_result(*program.plan, s, k, v.shape);
    keep(k, v.dtype, v.shape, Buffer(v.bytes()));
    out.push_back(state_->heap_views[s.outputs[k]]);
  }
  if (op->alias_of() >= 0) {
    if (out[0].bytes() > 0) std::memcpy(out[0].data, in[op->alias_of()].data, out[0].bytes());
    return 1;
  }
  Buffer scratch(op->scratch_bytes(in.data(), out.data(), program.threads));
  Region pool(program.threads);
  RunContext ctx{in.data(), out.data(), int(in.size()), int(out.size()), scratch.as<uint8_t>(), pool};
  op->run(ctx);
  return pool.spread();
}

View Call::output_view(int k) const {
  const int32_t number = session_.plan().outputs[k].value;
  View v = parts_ > 1 ? whole_->places()[number].view : value(number);
  if (output_shape(k) != nullptr) {
    v.data = state_->outputs[k];
    v.set_dense_pitches();
  }
  return v;
}

}  // namespace octavo
