#include "plan/session.h"

#include <algorithm>
#include <new>

#include "core/error.h"
#include "core/thread_pool.h"
#include "plan/call.h"

namespace octavo {
namespace {

constexpr size_t kCachedShapes = 16;

std::string describe(const Shape& s) {
  std::string text = "[";
  for (int i = 0; i < s.rank; i++) text += (i > 0 ? ", " : "") + std::to_string(s[i]);
  return text + "]";
}

}  // namespace

Session::Session(std::shared_ptr<const Plan> plan, SessionOptions options)
    : options_(std::move(options)),
      nanoseconds_(plan->steps.size()),
      calls_(plan->steps.size()),
      threads_(plan->steps.size()) {
  if (options_.threads < 0) fail(ErrorKind::invalid_argument, "threads must be 0 (automatic) or more");
  program_ = shared_program(std::move(plan), choose_isa(options_.isa),
                            options_.threads == 0 ? default_threads() : std::min(options_.threads, kMaxThreads));
}

Session::~Session() = default;

void Session::check_shapes(const std::vector<Shape>& shapes) const {
  const Plan& p = plan();
  if (shapes.size() != p.inputs.size())
    fail(ErrorKind::invalid_argument, "the model has %zu inputs, but %zu were given", p.inputs.size(), shapes.size());
  std::vector<int64_t> bound(p.symbols.size(), -1);
  std::vector<const char*> bound_by(p.symbols.size(), "");
  for (size_t k = 0; k < shapes.size(); k++) {
    const ValueDef& def = p.values[p.inputs[k]];
    const std::string expected = p.describe_dims(def), got = describe(shapes[k]);
    if (shapes[k].rank != def.rank)
      fail(ErrorKind::invalid_argument, "input '%s' should have %d dimensions %s, but has shape %s", def.name.c_str(),
           def.rank, expected.c_str(), got.c_str());
    for (int i = 0; i < def.rank; i++) {
      const Dim& d = def.dims[i];
      const int64_t n = shapes[k][i];
      if (n < 0)
        fail(ErrorKind::invalid_argument, "input '%s' has a negative dimension: %s", def.name.c_str(), got.c_str());
      if (d.symbol < 0) {
        if (d.size >= 0 && d.size != n)
          fail(ErrorKind::invalid_argument, "input '%s' should have shape %s, but has %s (dimension %d)",
               def.name.c_str(), expected.c_str(), got.c_str(), i);
        continue;
      }
      if (bound[d.symbol] >= 0 && bound[d.symbol] != n)
        fail(ErrorKind::invalid_argument,
             "dimension '%s' is %lld in input '%s' but %lld in input '%s'; they must agree",
             p.symbols[d.symbol].c_str(), (long long)bound[d.symbol], bound_by[d.symbol], (long long)n,
             def.name.c_str());
      bound[d.symbol] = n;
      bound_by[d.symbol] = def.name.c_str();
    }
    if (shapes[k].extent(kMaxElements) < 0)
      fail(ErrorKind::invalid_argument, "input '%s' is larger than this engine allows: %s", def.name.c_str(),
           got.c_str());
  }
}

std::shared_ptr<const Instance> Session::instance_for(const std::vector<Shape>& shapes, BatchParts* parts) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = cache_.begin(); it != cache_.end(); ++it) {
      if (it->shapes != shapes) continue;
      if (it != cache_.begin()) cache_.splice(cache_.begin(), cache_, it);
      if (parts) *parts = cache_.front().parts;
      return cache_.front().instance;
    }
  }
  check_shapes(shapes);
  auto made = std::make_shared<const Instance>(*program_, shapes);
  const BatchParts cut = split_batch(*program_, *made, shapes);
  if (parts) *parts = cut;
  std::lock_guard<std::mutex> lock(mutex_);
  cache_.push_front(Cached{shapes, made, cut, {}});
  while (cache_.size() > kCachedShapes) cache_.pop_back();
  return made;
}

std::unique_ptr<Call> Session::prepare(const std::vector<Shape>& input_shapes) {
  BatchParts parts;
  std::shared_ptr<const Instance> instance = instance_for(input_shapes, &parts);
  std::unique_ptr<Call::State> state;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!cache_.empty() && cache_.front().instance == instance && !cache_.front().idle.empty()) {
      state = std::move(cache_.front().idle.back());
      cache_.front().idle.pop_back();
    }
  }
  if (state == nullptr) {
    const Instance& runs = parts.instance ? *parts.instance : *instance;
    try {
      state = make_state(*program_, runs);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::out_of_memory) throw;
      drop_idle();  // arenas kept for other shapes may be what is in the way
      state = make_state(*program_, runs);
    }
  }
  return std::unique_ptr<Call>(new Call(*this, std::move(instance), std::move(parts), std::move(state)));
}

void Session::give_back(std::shared_ptr<const Instance> instance, std::unique_ptr<Call::State> state) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Cached& c : cache_) {
    if (c.instance != instance) continue;
    try {
      c.idle.push_back(std::move(state));
    } catch (const std::bad_alloc&) {  // called by a destructor: the next run makes a state anew
      return;
    }
  }
}

void Session::drop_idle() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Cached& c : cache_) c.idle.clear();
}

void Session::measured(int step, int64_t nanoseconds, int threads, bool counts) {
  nanoseconds_[step].fetch_add(nanoseconds, std::memory_order_relaxed);
  if (counts) calls_[step].fetch_add(1, std::memory_order_relaxed);
  if (threads > threads_[step].load(std::memory_order_relaxed))
    threads_[step].store(threads, std::memory_order_relaxed);
}

std::vector<StepInfo> Session::steps(const std::vector<Shape>& input_shapes) {
  const auto instance = input_shapes.empty() && !plan().inputs.empty() ? nullptr : instance_for(input_shapes);
  std::vector<StepInfo> list;
  for (size_t k = 0; k < plan().steps.size(); k++) {
    const StepDef& s = plan().steps[k];
    StepInfo info;
    info.name = s.name;
    info.op = s.op;
    info.nanoseconds = nanoseconds_[k].load(std::memory_order_relaxed);
    info.calls = calls_[k].load(std::memory_order_relaxed);
    info.threads = threads_[k].load(std::memory_order_relaxed);
    const bool known = instance != nullptr && int(k) < instance->dynamic_from();
    if (known)
      for (int32_t v : s.outputs) info.outputs.push_back(instance->places()[v].view.shape);
    if (const Op* op = program_->ops[k].get()) {
      info.kernel = op->kernel();
      if (known) {
        std::vector<View> in, out;
        for (int32_t v : s.inputs) in.push_back(v < 0 ? View{} : instance->places()[v].view);
        for (int32_t v : s.outputs) out.push_back(instance->places()[v].view);
        info.macs = op->macs(in.data(), out.data());
      }
    } else {
      info.kernel = "python";
    }
    list.push_back(std::move(info));
  }
  return list;
}

}  // namespace octavo
