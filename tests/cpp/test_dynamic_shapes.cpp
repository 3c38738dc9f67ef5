// The typeless operators inside plans: shape arithmetic folded while planning, shapes that depend on data, reuse of one
// session under changing values, and errors raised in the middle of a run.
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "plan/session.h"

namespace {

using namespace octavo;
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;

Shape shape_of(std::initializer_list<int64_t> dims) {
  Shape s;
  for (int64_t d : dims) s.dim[s.rank++] = d;
  return s;
}

int32_t constant(PlanBuilder& b, const Ints& v) {
  return b.add_constant("c", DType::s64, shape_of({int64_t(v.size())}), v.data());
}

struct Run {
  Shape shape;
  Floats values;
};

// Runs a plan of one float input "x" and s64 vector inputs; its first output is float.
Run run(Session& session, const Shape& x_shape, const std::vector<Ints>& vectors) {
  Floats x(size_t(x_shape.elements()));
  std::iota(x.begin(), x.end(), 0.0f);
  std::vector<Shape> shapes = {x_shape};
  for (const Ints& v : vectors) shapes.push_back(shape_of({int64_t(v.size())}));
  const auto call = session.prepare(shapes);
  call->set_input(0, x.data());
  for (size_t k = 0; k < vectors.size(); k++) call->set_input(int(k) + 1, vectors[k].data());
  call->run();
  const View y = call->output_view(0);
  Run r{y.shape, Floats(size_t(y.elements()))};
  if (!r.values.empty()) std::memcpy(r.values.data(), y.data, y.bytes());
  return r;
}

std::unique_ptr<Session> session_of(PlanBuilder& b, int threads = 1) {
  SessionOptions options;
  options.threads = threads;
  return std::make_unique<Session>(b.build(), options);
}

// x [N, C, H] -> Reshape to [N, C * H] by Shape, Gather, Unsqueeze and Concat, as exporters write it.
void test_folded_shape_arithmetic() {
  PlanBuilder b;
  const int32_t x = b.add_input("x", DType::f32, {b.symbol("N"), b.symbol("C"), b.symbol("H")});
  const int64_t zero = 0, minus_one = -1;
  const int32_t first = b.add_constant("zero", DType::s64, Shape{}, &zero), axes = constant(b, {0});
  const int32_t rest = b.add_constant("rest", DType::s64, shape_of({1}), &minus_one);
  const int32_t shape = b.add_value("shape", DType::s64, 1), n = b.add_value("n", DType::s64, 0);
  const int32_t n1 = b.add_value("n1", DType::s64, 1), target = b.add_value("target", DType::s64, 1);
  const int32_t y = b.add_value("y", DType::f32, 2), z = b.add_value("z", DType::f32, 2);
  b.add_step({"Shape", "shape", {x}, {shape}, {}});
  b.add_step({"Gather", "gather", {shape, first}, {n}, {{"axis", int64_t(0)}}});
  b.add_step({"Unsqueeze", "unsqueeze", {n, axes}, {n1}, {}});
  b.add_step({"Concat", "concat", {n1, rest}, {target}, {{"axis", int64_t(0)}}});
  b.add_step({"Reshape", "reshape", {x, target}, {y}, {}});
  b.add_step({"Transpose", "transpose", {y}, {z}, {{"perm", Ints{1, 0}}}});
  b.add_output("z", z);
  const auto session = session_of(b);
  for (const Shape& s : {shape_of({2, 3, 4}), shape_of({1, 1, 1}), shape_of({5, 2, 9}), shape_of({2, 3, 4})}) {
    const Run r = run(*session, s, {});
    const int64_t cols = s[1] * s[2];
    CHECK(r.shape == shape_of({cols, s[0]}));
    bool ok = true;
    for (int64_t i = 0; i < cols; i++)
      for (int64_t k = 0; k < s[0]; k++) ok = ok && r.values[size_t(i * s[0] + k)] == float(k * cols + i);
    CHECK(ok);
  }
  bool failed = false;
  try {
    run(*session, shape_of({0, 3, 4}), {});  // 0 copies axis 0, so -1 cannot be determined
  } catch (const Error& e) {
    failed = std::string(e.what()).find("reshape") != std::string::npos;
  }
  CHECK(failed);
}

// x -> Reshape (run-time shape) -> Slice (run-time bounds) -> Concat with itself -> Pad (run-time pads).
void test_values_at_run_time(int threads) {
  PlanBuilder b;
  const int32_t x = b.add_input("x", DType::f32, {b.symbol("N")});
  const int32_t target = b.add_input("target", DType::s64, {PlanBuilder::size(2)});
  const int32_t starts = b.add_input("starts", DType::s64, {PlanBuilder::size(2)});
  const int32_t ends = b.add_input("ends", DType::s64, {PlanBuilder::size(2)});
  const int32_t pads = b.add_input("pads", DType::s64, {PlanBuilder::size(4)});
  int32_t v[4];
  for (int32_t& k : v) k = b.add_value("v", DType::f32, 2);
  b.add_step({"Reshape", "reshape", {x, target}, {v[0]}, {}});
  b.add_step({"Slice", "slice", {v[0], starts, ends}, {v[1]}, {}});
  b.add_step({"Concat", "concat", {v[1], v[1]}, {v[2]}, {{"axis", int64_t(1)}}});
  b.add_step({"Pad", "pad", {v[2], pads}, {v[3]}, {}});
  b.add_output("y", v[3]);
  const auto session = session_of(b, threads);
  check::Random rng;
  for (int round = 0; round < 60; round++) {
    const int64_t rows = rng.between(1, 9), cols = rng.between(1, 60);
    const int64_t r0 = rng.between(0, rows - 1), r1 = rng.between(r0, rows), c0 = rng.between(0, cols - 1),
                  c1 = rng.between(c0, cols);
    const Ints p = {rng.between(0, 2), rng.between(0, 3), rng.between(0, 2), rng.between(0, 3)};
    const Run r = run(*session, shape_of({rows * cols}), {{rows, -1}, {r0, c0 - cols}, {r1, c1}, p});
    const int64_t h = r1 - r0, w = c1 - c0;
    if (!CHECK(r.shape == shape_of({h + p[0] + p[2], 2 * w + p[1] + p[3]}))) continue;
    bool ok = true;
    for (int64_t i = 0; i < r.shape[0]; i++)
      for (int64_t j = 0; j < r.shape[1]; j++) {
        const int64_t y = i - p[0], z = j - p[1];
        const bool inside = y >= 0 && y < h && z >= 0 && z < 2 * w;
        const float expected = inside ? float((r0 + y) * cols + c0 + z % w) : 0.0f;
        ok = ok && r.values[size_t(i * r.shape[1] + j)] == expected;
      }
    CHECK(ok);
  }
  // An error in the middle of a run leaves the session usable.
  bool failed = false;
  try {
    run(*session, shape_of({12}), {{5, -1}, {0, 0}, {1, 1}, {0, 0, 0, 0}});
  } catch (const Error&) {
    failed = true;
  }
  CHECK(failed);
  CHECK(run(*session, shape_of({12}), {{3, 4}, {0, 0}, {3, 4}, {0, 0, 0, 0}}).shape == shape_of({3, 8}));
}

// Gather with indices from outside: an index out of range names the node and the value.
void test_gather_at_run_time() {
  PlanBuilder b;
  const int32_t x = b.add_input("x", DType::f32, {b.symbol("N"), PlanBuilder::size(3)});
  const int32_t index = b.add_input("index", DType::s64, {b.symbol("K")});
  const int32_t y = b.add_value("y", DType::f32, 2);
  b.add_step({"Gather", "look_up", {x, index}, {y}, {}});
  b.add_output("y", y);
  const auto session = session_of(b);
  const Run r = run(*session, shape_of({4, 3}), {{3, -4, 1}});
  CHECK(r.shape == shape_of({3, 3}) && r.values == (Floats{9, 10, 11, 0, 1, 2, 3, 4, 5}));
  CHECK(run(*session, shape_of({4, 3}), {{}}).shape == shape_of({0, 3}));
  for (int64_t bad : {int64_t(4), int64_t(-5), INT64_MIN}) {
    std::string message;
    try {
      run(*session, shape_of({4, 3}), {{bad}});
    } catch (const Error& e) {
      message = e.what();
    }
    CHECK(message.find("look_up") != std::string::npos && message.find(std::to_string(bad)) != std::string::npos);
  }
}

// Range, Expand, Tile and ConstantOfShape whose sizes are only known at run time, hostile ones included.
void test_sizes_at_run_time() {
  PlanBuilder b;
  const int32_t x = b.add_input("x", DType::f32, {PlanBuilder::size(2), PlanBuilder::size(1)});
  const int32_t size = b.add_input("size", DType::s64, {PlanBuilder::size(2)});
  const int32_t repeats = b.add_input("repeats", DType::s64, {PlanBuilder::size(2)});
  const int32_t wide = b.add_value("wide", DType::f32, 2), y = b.add_value("y", DType::f32, 2);
  b.add_step({"Expand", "widen", {x, size}, {wide}, {}});
  b.add_step({"Tile", "repeat", {wide, repeats}, {y}, {}});
  b.add_output("y", y);
  const auto session = session_of(b);
  const Run r = run(*session, shape_of({2, 1}), {{2, 2}, {2, 1}});
  CHECK(r.shape == shape_of({4, 2}) && r.values == (Floats{0, 0, 1, 1, 0, 0, 1, 1}));
  for (const std::vector<Ints>& bad : std::vector<std::vector<Ints>>{{{2, -2}, {1, 1}},
                                                                     {{2, 1LL << 50}, {1, 1}},
                                                                     {{2, 2}, {INT64_MAX, INT64_MAX}},
                                                                     {{2, 2}, {-1, 1}},
                                                                     {{3, 2}, {1, 1}}}) {
    bool failed = false;
    try {
      run(*session, shape_of({2, 1}), bad);
    } catch (const Error&) {
      failed = true;
    }
    CHECK(failed);
  }
  CHECK(run(*session, shape_of({2, 1}), {{2, 2}, {0, 5}}).shape == shape_of({0, 10}));
}

}  // namespace

int main() {
  test_folded_shape_arithmetic();
  test_values_at_run_time(1);
  test_values_at_run_time(3);
  test_gather_at_run_time();
  test_sizes_at_run_time();
  return check::finish();
}
