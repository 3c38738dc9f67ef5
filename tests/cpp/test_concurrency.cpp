// One Session called from many threads at once, with one and with several worker threads, under changing shapes: the
// bytes must be those of a lone call. Run it under ThreadSanitizer to look for races.
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "plan/session.h"
#include "tools/one_step.h"

namespace {

using namespace octavo;

constexpr int kCallers = 4, kShapes = 20;  // more shapes than a session caches

// A quantized product, a second one on it, a residual sum and a run-time reshape, which makes the last part dynamic.
std::shared_ptr<const Plan> network() {
  Random r(3);
  PlanBuilder b;
  const Dim n = b.symbol("N");
  const int32_t x = b.add_input("x", DType::u8, {n, PlanBuilder::size(40)});
  const int32_t target = b.add_input("target", DType::s64, {PlanBuilder::size(2)});
  const auto constant = [&](const Operand& o) { return b.add_constant("c", o.dtype, o.shape, o.bytes.data()); };
  int32_t from = x, values[2];
  for (int32_t& v : values) {
    const int32_t w = constant(bytes_operand(r, DType::s8, make_shape({40, 40})));
    const int32_t bias = constant(ints(r, DType::s32, make_shape({40}), -2000, 2000));
    const int32_t m = constant(floats(r, make_shape({1}), 0.001f, 0.002f));
    v = b.add_value("v", DType::u8, 2);
    b.add_step({"QGemm", "product", {from, w, bias, m}, {v}, {{"x_zp", int64_t(3)}, {"y_zp", int64_t(128)}}});
    from = v;
  }
  const int32_t sum = b.add_value("sum", DType::f32, 2), z = b.add_value("z", DType::f32, 2);
  const int32_t y = b.add_value("y", DType::f32, 2);
  b.add_step({"Dequantize", "leave", {values[1]}, {sum}, {{"x_scale", 0.25}, {"x_zp", int64_t(128)}}});
  b.add_step({"Softmax", "softmax", {sum}, {z}, {{"axis", int64_t(-1)}}});
  b.add_step({"Reshape", "reshape", {z, target}, {y}, {}});
  b.add_output("z", z);
  b.add_output("y", y);
  return b.build();
}

std::vector<std::vector<char>> run(Session& session, int64_t n) {
  std::vector<uint8_t> x(size_t(n * 40));
  Random r(uint64_t(n) + 100);
  fill_random(r, DType::u8, n * 40, x.data());
  const int64_t target[2] = {40, -1};
  const auto call = session.prepare({make_shape({n, 40}), make_shape({2})});
  call->set_input(0, x.data());
  call->set_input(1, target);
  call->run();
  std::vector<std::vector<char>> results;
  for (int k = 0; k < 2; k++) {
    const View v = call->output_view(k);
    results.emplace_back(v.bytes());
    copy_dense(v, results.back().data());
  }
  return results;
}

void test_many_callers(int threads) {
  SessionOptions options;
  options.threads = threads;
  options.profile = true;
  Session session(network(), options);
  options.threads = 1;
  Session lone(network(), options);
  std::vector<std::vector<std::vector<char>>> expected;
  for (int64_t n = 1; n <= kShapes; n++) expected.push_back(run(lone, n * 7));
  std::atomic<int> wrong{0}, go{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < kCallers; t++)
    callers.emplace_back([&, t] {
      go++;
      while (go < kCallers) std::this_thread::yield();
      for (int k = 0; k < 3 * kShapes; k++) {
        const int64_t n = 1 + (k * (t + 1)) % kShapes;
        try {
          if (run(session, n * 7) != expected[size_t(n - 1)]) wrong++;
        } catch (const std::exception&) {
          wrong++;
        }
        if (k % 8 == 0) session.steps({make_shape({n * 7, 40}), make_shape({2})});
      }
    });
  for (auto& c : callers) c.join();
  CHECK(wrong == 0);
  int64_t calls = 0;
  for (const StepInfo& s : session.steps({make_shape({7, 40}), make_shape({2})})) calls = std::max(calls, s.calls);
  CHECK(calls == int64_t(kCallers) * 3 * kShapes);
}

// Sessions come and go while others run: the pool and the kernels' registry are shared by all.
void test_many_sessions() {
  std::atomic<int> wrong{0};
  const auto expected = [] {
    Session s(network());
    return run(s, 30);
  }();
  std::vector<std::thread> callers;
  for (int t = 0; t < kCallers; t++)
    callers.emplace_back([&, t] {
      for (int k = 0; k < 10; k++) {
        SessionOptions options;
        options.threads = 1 + (t + k) % 3;
        Session session(network(), options);
        if (run(session, 30) != expected) wrong++;
      }
    });
  for (auto& c : callers) c.join();
  CHECK(wrong == 0);
}

}  // namespace

int main() {
  for (int threads : {1, 2, 3}) test_many_callers(threads);
  test_many_sessions();
  return check::finish();
}
