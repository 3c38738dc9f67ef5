// One pool per process and one pattern: parallel_for over numbered chunks, claimed from one atomic.
// The caller is worker zero; there is no nesting; a busy pool makes the caller run alone; a fork starts afresh.
#pragma once

#include <cstdint>
#include <type_traits>

namespace octavo {

// Threads worth using here: affinity mask and cgroup quota.
int default_threads();
constexpr int kMaxThreads = 256;  // a region has no more

// A parallel region spans one Session::run: its workers spin between the steps and go to sleep shortly after it.
// With threads == 1 (or when another region holds the pool) no synchronisation happens at all.
class Region {
 public:
  explicit Region(int threads);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  int threads() const { return threads_; }
  // For profiles: the most threads that a run() since the last clear_spread() had chunks for.
  int spread() const { return spread_; }
  void clear_spread() { spread_ = 1; }

  // Calls body(context, chunk, worker) once for each chunk in [0, chunks); worker is in [0, threads()).
  // Which worker takes which chunk is not determined: results must not depend on it. body must not throw.
  using Body = void (*)(void* context, int64_t chunk, int worker);
  void run(int64_t chunks, Body body, void* context);

  template <class F>
  void parallel_for(int64_t chunks, F&& f) {  // f(chunk, worker)
    using G = std::remove_reference_t<F>;
    run(
        chunks, [](void* c, int64_t i, int w) { (*static_cast<G*>(c))(i, w); },
        const_cast<void*>(static_cast<const void*>(&f)));
  }

  // How many chunks a job of `work` units (any unit) should be cut into, when chunks of about `grain` are worth
  // claiming: one for each thread, or four where a thread that is held up would keep the others waiting for long.
  int64_t chunks_for(int64_t work, int64_t grain) const {
    if (threads_ == 1 || work <= grain) return 1;
    constexpr int64_t kLong = 128;  // chunks a thread
    const int64_t chunks = work / (grain > 0 ? grain : 1);
    return chunks < threads_ * kLong ? threads_ : threads_ * int64_t(4);
  }

 private:
  int threads_, spread_ = 1;
};

}  // namespace octavo
