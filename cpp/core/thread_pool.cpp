#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <system_error>
#include <thread>

#include "core/arith.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace octavo {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One word describes the job being shared out: generation | end | first of the unclaimed chunks. A chunk is claimed by
// a compare-and-swap of the whole word, so a worker that slept through a job can never take a chunk of a later one with
// the former's body: the caller publishes a new word only after every chunk of the old one was claimed and finished.
// The caller claims from the front and odd workers from the back, so that each finds in its own cache what it wrote in
// the step before: steps are mostly cut along the rows of the same image.
constexpr int kChunkBits = 20;
constexpr uint64_t kChunkMask = (uint64_t(1) << kChunkBits) - 1;
constexpr int64_t kMaxChunks = int64_t(kChunkMask);
constexpr uint64_t pack(uint64_t generation, uint64_t end, uint64_t first) {
  return generation << (2 * kChunkBits) | end << kChunkBits | first;
}
constexpr uint64_t end_of(uint64_t word) { return word >> kChunkBits & kChunkMask; }
constexpr uint64_t first_of(uint64_t word) { return word & kChunkMask; }

constexpr int kSpinsBeforeYield = 4000;  // tens of microseconds: longer than any gap between the steps of one run
constexpr auto kLinger = std::chrono::microseconds(100);  // workers stay awake this long after a region

class Pool {
 public:
  static Pool& get();

  bool acquire(int threads) {
    bool expected = false;
    if (!busy_.compare_exchange_strong(expected, true, std::memory_order_acquire)) return false;
    grow(threads - 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      active_.store(threads, std::memory_order_release);
    }
    cpu_of_[0].store(sched_getcpu(), std::memory_order_relaxed);
    if (asleep_.load() > 0) wake_.notify_all();
    return true;
  }

  void release() {
    active_.store(0, std::memory_order_release);
    busy_.store(false, std::memory_order_release);
  }

  void run(int64_t chunks, Region::Body body, void* context) {
    body_.store(body, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    word_.store(pack(++generation_, uint64_t(chunks), 0), std::memory_order_release);
    while (claim_one(0)) {
    }
    int spins = 0;
    while (finished_.load(std::memory_order_acquire) != chunks) {
      pause_cpu();
      if (++spins > kSpinsBeforeYield) sched_yield();
    }
  }

 private:
  Pool() = default;

  bool claim_one(int worker) {
    uint64_t word = word_.load(std::memory_order_acquire);
    while (first_of(word) < end_of(word)) {
      // A worker that was on its way in when a wider region closed has no number in this one.
      if (worker > 0 && worker >= active_.load(std::memory_order_relaxed)) return false;
      const Region::Body body = body_.load(std::memory_order_relaxed);
      void* const context = context_.load(std::memory_order_relaxed);
      const bool back = worker % 2 != 0;
      const uint64_t rest = back ? word - (uint64_t(1) << kChunkBits) : word + 1;
      if (word_.compare_exchange_weak(word, rest, std::memory_order_acq_rel, std::memory_order_acquire)) {
        body(context, int64_t(back ? end_of(word) - 1 : first_of(word)), worker);
        finished_.fetch_add(1, std::memory_order_release);
        return true;
      }
    }
    return false;
  }

  void grow(int workers) {
    try {
      for (; workers_ < std::min(workers, kMaxThreads - 1); workers_++)
        std::thread([this, id = workers_ + 1] { work(id); }).detach();
    } catch (const std::system_error&) {  // no more threads to be had: those there are share the chunks
    }
  }

  // A scheduler may leave a worker on the CPU of the caller (or of another worker) for many milliseconds, where two
  // spinning threads only take turns. A worker that finds itself there moves to a free CPU of its mask.
  void keep_apart(int id) {
    const int here = sched_getcpu(), threads = active_.load(std::memory_order_relaxed);
    bool shared = false;
    for (int k = 0; k < id; k++) shared = shared || cpu_of_[k].load(std::memory_order_relaxed) == here;
    cpu_of_[id].store(here, std::memory_order_relaxed);
    if (!shared) return;
    cpu_set_t mask, free;
    if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
    free = mask;
    for (int k = 0; k < threads; k++)
      if (const int cpu = cpu_of_[k].load(std::memory_order_relaxed); cpu >= 0 && cpu < CPU_SETSIZE)
        CPU_CLR(cpu, &free);
    if (CPU_COUNT(&free) == 0) return;  // more threads than CPUs
    if (sched_setaffinity(0, sizeof free, &free) == 0) sched_setaffinity(0, sizeof mask, &mask);
    cpu_of_[id].store(sched_getcpu(), std::memory_order_relaxed);
  }

  void work(int id) {
    const FpScope rounding;
    bool was_mine = false;
    for (;;) {
      int spins = 0;
      auto idle_since = std::chrono::steady_clock::now();
      for (;;) {
        const bool mine = id < active_.load(std::memory_order_acquire);
        if (mine && !was_mine) keep_apart(id);
        was_mine = mine;
        if (mine && claim_one(id)) {
          spins = 0;
          continue;
        }
        pause_cpu();
        if (++spins < kSpinsBeforeYield) {
          if (mine) idle_since = {};
          if (mine || spins % 64 != 0) continue;
        } else if (mine) {
          if (spins % 64 == 0) keep_apart(id);
          sched_yield();
          continue;
        }
        const auto now = std::chrono::steady_clock::now();
        if (idle_since == std::chrono::steady_clock::time_point{}) idle_since = now;
        if (now - idle_since > kLinger) break;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      asleep_++;
      wake_.wait(lock, [&] { return id < active_.load(std::memory_order_acquire); });
      asleep_--;
    }
  }

  alignas(128) std::atomic<uint64_t> word_{0};
  alignas(128) std::atomic<int64_t> finished_{0};
  alignas(128) std::atomic<int> active_{0};  // threads of the open region, the caller included; 0: none
  std::atomic<Region::Body> body_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<bool> busy_{false};
  std::atomic<int> asleep_{0};
  std::atomic<int> cpu_of_[kMaxThreads] = {};  // where each thread of the region was seen last
  uint64_t generation_ = 0;
  int workers_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
};

std::atomic<Pool*> the_pool{nullptr};

// Never destroyed: its threads may outlive static destructors. After a fork the child has none of the threads, so it
// starts with a pool of its own and the old one (whose locks may be held) is abandoned.
Pool& Pool::get() {
  Pool* pool = the_pool.load(std::memory_order_acquire);
  if (pool != nullptr) return *pool;
  static std::mutex creating;
  std::lock_guard<std::mutex> lock(creating);
  pool = the_pool.load();
  if (pool == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
    (void)registered;
    pool = new Pool;
    the_pool.store(pool, std::memory_order_release);
  }
  return *pool;
}

// CPUs that the cgroup's quota pays for, or a large number.
int cgroup_limit() {
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long long quota = 0, period = 0;
    const int n = std::fscanf(f, "%lld %lld", &quota, &period);
    std::fclose(f);
    if (n == 2 && quota > 0 && period > 0) return int(std::max(1LL, (quota + period - 1) / period));
  }
  return kMaxThreads;
}

}  // namespace

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : int(std::thread::hardware_concurrency());
  return std::clamp(std::min(cpus, cgroup_limit()), 1, kMaxThreads);
}

Region::Region(int threads) : threads_(std::clamp(threads, 1, kMaxThreads)) {
  if (threads_ > 1 && !Pool::get().acquire(threads_)) threads_ = 1;
}

Region::~Region() {
  if (threads_ > 1) Pool::get().release();
}

void Region::run(int64_t chunks, Body body, void* context) {
  if (threads_ == 1 || chunks <= 1) {
    for (int64_t i = 0; i < chunks; i++) body(context, i, 0);
    return;
  }
  spread_ = std::max(spread_, int(std::min<int64_t>(chunks, threads_)));
  for (int64_t base = 0; base < chunks; base += kMaxChunks) {
    struct Shifted {
      Body body;
      void* context;
      int64_t base;
    } part{body, context, base};
    const int64_t count = std::min(kMaxChunks, chunks - base);
    if (base == 0 && count == chunks) {
      Pool::get().run(count, body, context);
      return;
    }
    Pool::get().run(
        count,
        [](void* c, int64_t i, int w) {
          const Shifted& s = *static_cast<Shifted*>(c);
          s.body(s.context, s.base + i, w);
        },
        &part);
  }
}

}  // namespace octavo
