// The memory planner, the file format and its refusals, shape changes, and the thread pool.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include "check.h"
#include "core/thread_pool.h"
#include "octavo/octavo.h"
#include "plan/memory.h"
#include "plan/session.h"

namespace {

using namespace octavo;

void test_blocks_never_overlap() {
  check::Random random;
  for (int round = 0; round < 200; round++) {
    std::vector<Block> blocks(size_t(random.between(1, 60)));
    size_t sum = 0, largest = 0;
    for (Block& b : blocks) {
      b.bytes = size_t(random.between(0, 5000));
      b.first = int32_t(random.between(0, 40));
      b.last = b.first + int32_t(random.between(0, 10));
      sum += align_up(b.bytes);
      largest = std::max(largest, b.bytes);
    }
    const size_t arena = place_blocks(blocks);
    CHECK(arena >= largest && arena <= sum);
    for (size_t i = 0; i < blocks.size(); i++) {
      CHECK(blocks[i].offset % kAlign == 0 && blocks[i].offset + blocks[i].bytes <= arena);
      for (size_t j = 0; j < i; j++) {
        const Block &a = blocks[i], &b = blocks[j];
        if (a.bytes == 0 || b.bytes == 0 || a.first > b.last || b.first > a.last) continue;
        CHECK(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
  }
}

// Two inputs [N, 3] -> concat on axis 1 -> transpose; N is symbolic.
std::shared_ptr<const Plan> small_plan() {
  PlanBuilder b;
  const Dim n = b.symbol("N");
  const int32_t a = b.add_input("a", DType::f32, {n, PlanBuilder::size(3)});
  const int32_t c = b.add_input("c", DType::f32, {n, PlanBuilder::size(2)});
  const float w[2] = {1.5f, -2.5f};
  Shape s;
  s.rank = 1;
  s[0] = 2;
  const int32_t k = b.add_constant("k", DType::f32, s, w);
  const int32_t joined = b.add_value("joined", DType::f32, 2), turned = b.add_value("turned", DType::f32, 2);
  const int32_t same = b.add_value("same", DType::f32, 1);
  b.add_step({"Concat", "join", {a, c}, {joined}, {{"axis", int64_t(1)}}});
  b.add_step({"Transpose", "turn", {joined}, {turned}, {{"perm", std::vector<int64_t>{1, 0}}}});
  b.add_step({"Identity", "keep", {k}, {same}, {}});
  b.add_output("y", turned);
  b.add_output("constant", same);
  b.set_metadata("made_by", "test");
  return b.build();
}

void check_run(Session& s, int64_t n) {
  Shape a, c;
  a.rank = c.rank = 2;
  a[0] = c[0] = n, a[1] = 3, c[1] = 2;
  std::vector<float> av(size_t(n * 3)), cv(size_t(n * 2));
  for (size_t i = 0; i < av.size(); i++) av[i] = float(i);
  for (size_t i = 0; i < cv.size(); i++) cv[i] = 100.0f + float(i);
  const auto call = s.prepare({a, c});
  call->set_input(0, av.data());
  call->set_input(1, cv.data());
  CHECK(call->output_shape(0) != nullptr && (*call->output_shape(0))[0] == 5 && (*call->output_shape(0))[1] == n);
  call->run();
  const auto* y = call->output_view(0).as<float>();
  bool ok = true;
  for (int64_t i = 0; i < n; i++)
    for (int j = 0; j < 5; j++) ok = ok && y[j * n + i] == (j < 3 ? av[size_t(i * 3 + j)] : cv[size_t(i * 2 + j - 3)]);
  CHECK(ok);
  CHECK(call->output_view(1).as<float>()[1] == -2.5f);
}

void test_symbolic_dimensions() {
  Session s(small_plan());
  for (int64_t n : {1, 7, 0, 64, 7, 1}) check_run(s, n);
  for (int64_t n = 1; n < 40; n++) check_run(s, n);  // more shapes than are cached
  Shape a, c;
  a.rank = c.rank = 2;
  a[0] = 2, a[1] = 3, c[0] = 3, c[1] = 2;
  bool refused = false;
  try {
    s.prepare({a, c});
  } catch (const Error& e) {
    refused = std::strstr(e.what(), "'N'") != nullptr;
  }
  CHECK(refused);
}

void test_file() {
  const auto plan = small_plan();
  const std::string bytes = plan->to_bytes();
  const auto back = Plan::from_bytes(bytes.data(), bytes.size());
  CHECK(back->to_bytes() == bytes);
  CHECK(back->metadata.at("made_by") == "test");
  Session s(back);
  check_run(s, 5);
  const std::string path = "/tmp/octavo_test_plan_" + std::to_string(getpid()) + ".octavo";
  plan->save(path);
  Model model(path);
  CHECK(model.inputs()[0].name == "a" && model.inputs()[0].dims[0] == "N");
  Tensor a = Tensor::of<float>({1, 3}), c = Tensor::of<float>({1, 2});
  std::memset(a.raw(), 0, a.bytes());
  c.data<float>()[0] = c.data<float>()[1] = 4.0f;
  const auto out = model.run({a, c});
  CHECK(out[0].shape() == std::vector<int64_t>({5, 1}) && out[0].data<float>()[4] == 4.0f);
  bool refused = false;
  try {
    plan->save("/nonexistent-folder/x.octavo");
  } catch (const Error&) {
    refused = true;
  }
  CHECK(refused);
  unlink(path.c_str());
}

void test_damaged_files() {
  const std::string bytes = small_plan()->to_bytes();
  const auto refuses = [](const std::string& b) {
    try {
      Plan::from_bytes(b.data(), b.size());
    } catch (const Error&) {
      return true;
    }
    return false;
  };
  for (size_t n = 0; n < bytes.size(); n++) CHECK(refuses(bytes.substr(0, n)));
  // Every byte that is not padding is covered by the magic, a field check or a checksum.
  int accepted = 0;
  for (size_t i = 0; i < bytes.size(); i++) {
    std::string b = bytes;
    b[i] = char(b[i] ^ 0x5A);
    accepted += !refuses(b);
  }
  CHECK(accepted <= 64 + 64);  // header padding and the gap between the sections
}

void test_pool() {
  for (int threads : {1, 2, 3, 8}) {
    Region region(threads);
    for (int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(size_t(chunks) + 1);
      std::atomic<bool> worker_ok{true};
      region.parallel_for(chunks, [&](int64_t i, int worker) {
        seen[size_t(i)]++;
        if (worker < 0 || worker >= region.threads()) worker_ok = false;
      });
      bool ok = worker_ok;
      for (int64_t i = 0; i < chunks; i++) ok = ok && seen[size_t(i)] == 1;
      CHECK(ok);
    }
    // Many short jobs in one region: a late worker must never run a finished job's body.
    int64_t total = 0;
    for (int job = 0; job < 20000; job++) {
      std::atomic<int64_t> sum{0};
      region.parallel_for(4, [&](int64_t i, int) { sum += i + job; });
      total += sum;
    }
    CHECK(total == 20000 * 6 + int64_t(4) * (19999LL * 20000 / 2));
  }
}

// A worker of a wide region that arrives late must not take part in the narrow one that follows.
void test_pool_widths() {
  std::atomic<int> wrong{0};
  for (int k = 0; k < 3000; k++) {
    Region region(k % 2 ? 2 : 8);
    region.parallel_for(16, [&](int64_t, int worker) { wrong += worker >= region.threads(); });
  }
  CHECK(wrong == 0);
}

void test_pool_from_many_threads() {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; t++)
    callers.emplace_back([&] {
      for (int k = 0; k < 200; k++) {
        Region region(2);
        std::atomic<int64_t> sum{0};
        region.parallel_for(50, [&](int64_t i, int) { sum += i; });
        if (sum != 1225) wrong++;
      }
    });
  for (auto& c : callers) c.join();
  CHECK(wrong == 0);
}

void test_pool_after_fork() {
  const pid_t child = fork();
  if (child == 0) {
    Region region(2);
    std::atomic<int64_t> sum{0};
    region.parallel_for(100, [&](int64_t i, int) { sum += i; });
    _exit(sum == 4950 ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

int main() {
  test_blocks_never_overlap();
  test_symbolic_dimensions();
  test_file();
  test_damaged_files();
  test_pool();
  test_pool_widths();
  test_pool_from_many_threads();
  test_pool_after_fork();
  return check::finish();
}
