// Runs a plan. A Session binds it to an ISA level once; a Call holds one arena and the pointers of one run.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "plan/batch.h"
#include "plan/instance.h"
#include "plan/plan.h"

namespace octavo {

// A tensor the host (Python) hands back from a step it runs.
struct HostTensor {
  DType dtype = DType::none;
  Shape shape;
  Buffer memory;
};
// Runs Python step number `callback` on dense inputs (absent ones have dtype none).
using HostStep = std::function<std::vector<HostTensor>(int callback, const std::vector<View>& inputs)>;
// Sees each value as soon as it is there; the view is only valid during the call.
using Observer = std::function<void(int32_t value, const View& view)>;

struct SessionOptions {
  std::string isa;  // "": OCTAVO_ISA or the best
  int threads = 0;  // 0: default_threads()
  bool profile = false;
  HostStep host;
};

void copy_dense(const View& from, void* to);  // any pitches -> dense

struct StepInfo {
  std::string name, op, kernel;
  int64_t macs = 0, nanoseconds = 0, calls = 0;
  int threads = 0;             // the most that a profiled run could share the step among
  std::vector<Shape> outputs;  // where the input shapes tell
};

class Session;

// One run in preparation or done. Obtained from Session::prepare; inputs and outputs are borrowed, never owned.
class Call {
 public:
  struct State;  // plan/call.h
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Shape of output k, or null while it depends on data (then take it from output_view() after run()).
  const Shape* output_shape(int k) const;
  void set_input(int k, const void* data);
  void set_output(int k, void* data);  // unset outputs are kept in memory of the call
  void run(const Observer* observer = nullptr, const std::vector<char>* watched = nullptr);
  View output_view(int k) const;  // after run()
  size_t arena_bytes() const;

 private:
  friend class Session;
  Call(Session& session, std::shared_ptr<const Instance> whole, BatchParts parts, std::unique_ptr<State> state);

  void run_parts();
  void run_whole(const Observer& observer, const std::vector<char>& watched);
  void point(bool output, int slot, void* data);
  void set_slot(Home home, int slot, void* data);
  void run_static(const Observer* observer, const std::vector<char>* watched, bool counts = true);
  void run_dynamic(const Observer* observer, const std::vector<char>* watched);
  int run_dynamic_step(int step);  // returns how many threads it could be shared among
  View value(int32_t v) const;

  Session& session_;
  std::shared_ptr<const Instance> whole_;     // the shapes the caller sees
  std::shared_ptr<const Instance> instance_;  // what runs: `whole_`, or one of parts_ parts of its batch
  int64_t parts_;
  bool kept_ = true;  // the session takes the state back
  std::unique_ptr<State> state_;
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Plan> plan, SessionOptions options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // An equal plan of another session may stand for the one that was given.
  std::shared_ptr<const Plan> shared_plan() const { return program_->plan; }
  const Plan& plan() const { return *program_->plan; }
  Isa isa() const { return program_->isa; }
  int threads() const { return program_->threads; }

  // Checks the shapes against the declared inputs (rank, sizes, agreement of symbols) and plans them, or takes a cached
  // plan. Thread-safe.
  std::unique_ptr<Call> prepare(const std::vector<Shape>& input_shapes);
  std::vector<StepInfo> steps(const std::vector<Shape>& input_shapes);
  size_t packed_bytes() const { return program_->packed_bytes; }

 private:
  friend class Call;

  void check_shapes(const std::vector<Shape>& shapes) const;
  std::shared_ptr<const Instance> instance_for(const std::vector<Shape>& shapes, BatchParts* parts = nullptr);
  void drop_idle();
  void give_back(std::shared_ptr<const Instance> instance, std::unique_ptr<Call::State> state);

  std::shared_ptr<const Program> program_;
  SessionOptions options_;
  void measured(int step, int64_t nanoseconds, int threads, bool counts = true);
  std::vector<std::atomic<int64_t>> nanoseconds_, calls_;
  std::vector<std::atomic<int>> threads_;

  struct Cached {
    std::vector<Shape> shapes;
    std::shared_ptr<const Instance> instance;
    BatchParts parts;
    std::vector<std::unique_ptr<Call::State>> idle;
  };
  std::mutex mutex_;
  std::list<Cached> cache_;  // most recently used first
};

}  // namespace octavo
