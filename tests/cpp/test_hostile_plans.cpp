// Hostile plans: valid ones of every operator, damaged at random, are loaded, bound, planned and run. Each must end in
// a clean octavo::Error or in a result; never in a crash, a hang, a sanitizer's report or more memory than is allowed.
//   OCTAVO_FUZZ_ROUNDS=200000 test_hostile_plans     more rounds
//   test_hostile_plans SEED                          one round again
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>
#include <set>

#include "check.h"
#include "hostile.h"
#include "plan/session.h"
#include "tools/selftest_cases.h"

// Sanitizers offer this call; it is null without them.
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

using namespace octavo;
using Ints = std::vector<int64_t>;

constexpr size_t kMemory = size_t(64) << 20;
constexpr int64_t kWork = 50'000'000;  // multiply-accumulates a round may take; plans that want more are only planned
constexpr double kSeconds = 2;         // a round takes about a millisecond
uint64_t current_seed = 0;

void report_seed() {
  char text[64];
  const int n = std::snprintf(text, sizeof text, "hostile plan, seed %llu\n", (unsigned long long)current_seed);
  if (write(2, text, size_t(n)) < 0) _exit(3);
}

void on_signal(int number) {
  report_seed();
  signal(number, SIG_DFL);
  raise(number);
}

// The operators octavo-selftest leaves out: those that compute nothing, or nothing an ISA level could get wrong.
void add_movement(Random& r, std::vector<Case>& cases) {
  const auto index = [](const Ints& v) { return of<int64_t>(DType::s64, v); };
  const auto scalar = [](int64_t v) {
    return Operand{DType::s64, Shape{}, true, [&] {
                     std::vector<uint8_t> b(8);
                     std::memcpy(b.data(), &v, 8);
                     return b;
                   }()};
  };
  const auto x = [&](std::initializer_list<int64_t> dims) { return floats(r, make_shape(dims), -2, 2); };
  const auto add = [&](const StepSpec& spec) { cases.push_back(simple_case(spec)); };
  const DType f = DType::f32;
  add({"Transpose", {{"perm", Ints{2, 0, 1}}}, {x({2, 3, 4})}, f, 3});
  add({"Reshape", {}, {x({2, 3, 4}), index({0, -1})}, f, 2});
  add({"Flatten", {{"axis", int64_t(1)}}, {x({2, 3, 4})}, f, 2});
  add({"Squeeze", {{"axes", Ints{1}}}, {x({2, 1, 4})}, f, 2});
  add({"Unsqueeze", {}, {x({2, 4}), index({1})}, f, 3});
  add({"Identity", {}, {x({5})}, f, 1});
  add({"Expand", {}, {x({2, 1}), index({3, 2, 4})}, f, 3});
  add({"Concat", {{"axis", int64_t(-1)}}, {x({2, 3, 4}), x({2, 3, 5}), x({2, 3, 1})}, f, 3});
  add({"Concat", {{"axis", int64_t(0)}}, {x({2, 3}), x({4, 3})}, f, 2});
  Case split = simple_case({"Split", {{"axis", int64_t(1)}}, {x({2, 5}), index({2, 3})}, f, 2});
  split.out.push_back({f, 2});
  cases.push_back(split);
  add({"Slice", {}, {x({6, 7}), index({1, -1}), index({5, -9}), index({0, 1}), index({2, -2})}, f, 2});
  for (const char* mode : {"constant", "reflect", "edge", "wrap"})
    add({"Pad", {{"mode", std::string(mode)}}, {x({3, 4}), index({1, 2, 0, -1})}, f, 2});
  add({"Gather", {{"axis", int64_t(1)}}, {x({3, 4}), index({0, -1, 2})}, f, 2});
  add({"Gather", {}, {x({3, 4}), ints(r, DType::s64, make_shape({2, 2}), -3, 2)}, f, 3});
  add({"GatherElements", {{"axis", int64_t(1)}}, {x({2, 4}), ints(r, DType::s32, make_shape({2, 3}), -4, 3)}, f, 2});
  add({"Tile", {}, {x({2, 3}), index({2, 3})}, f, 2});
  add({"Tile", {}, {x({2, 3}), ints(r, DType::s64, make_shape({2}), 1, 2)}, f, 2});
  add({"Shape", {{"start", int64_t(1)}}, {x({2, 3, 4})}, DType::s64, 1});
  add({"Size", {}, {x({2, 3, 4})}, DType::s64, 0});
  add({"ConstantOfShape", {}, {index({2, 3})}, f, 2});
  add({"ConstantOfShape", {}, {ints(r, DType::s64, make_shape({2}), 1, 4), of<float>(f, {1.5f})}, f, 2});
  add({"Range", {}, {scalar(1), scalar(9), scalar(3)}, DType::s64, 1});
  add({"Range",
       {},
       {ints(r, DType::s64, Shape{}, 0, 1), ints(r, DType::s64, Shape{}, 5, 9), scalar(2)},
       DType::s64,
       1});
  add({"DepthToSpace", {{"blocksize", int64_t(2)}, {"mode", std::string("CRD")}}, {x({1, 8, 2, 3})}, f, 4});
  add({"SpaceToDepth", {{"blocksize", int64_t(2)}}, {x({1, 2, 4, 6})}, f, 4});
  for (const char* op : {"ArgMax", "ArgMin"})
    add({op, {{"axis", int64_t(1)}, {"keepdims", int64_t(0)}}, {x({2, 5, 3})}, DType::s64, 2});
  add({"Where", {}, {bytes_operand(r, DType::boolean, make_shape({3, 1})), x({3, 4}), x({4})}, f, 2});
  for (DType to : {DType::u8, DType::s64, DType::f16, DType::boolean})
    add({"Cast", {{"to", int64_t(to)}}, {odd_floats(r, make_shape({3, 5}))}, to, 2});
  Operand zp = constant(bytes_operand(r, DType::u8, make_shape({4})));
  Operand scales = constant(floats(r, make_shape({4}), 0.01f, 1));
  add({"QuantizeLinear", {{"axis", int64_t(1)}}, {x({3, 4}), scales, zp}, DType::u8, 2});
  add({"DequantizeLinear",
       {{"axis", int64_t(1)}},
       {bytes_operand(r, DType::u8, make_shape({3, 4})), scales, zp},
       f,
       2});
  add({"QuantizeLinear",
       {},
       {x({3, 4}), floats(r, Shape{}, 0.1f, 1), bytes_operand(r, DType::s8, Shape{})},
       DType::s8,
       2});
  add({"Binary",
       {{"fn", std::string("Mod")}},
       {ints(r, DType::s64, make_shape({6}), -9, 9), ints(r, DType::s64, make_shape({6}), 1, 5)},
       DType::s64,
       1});
  add({"Binary",
       {{"fn", std::string("Div")}},
       {ints(r, DType::s32, make_shape({6}), -9, 9), ints(r, DType::s32, make_shape({1}), 1, 5)},
       DType::s32,
       1});
  for (const char* fn : {"Neg", "Abs", "Sign", "Clip"})
    add({"Unary",
         {{"fn", std::string(fn)}, {"lo", -2.0}, {"hi", 3.0}},
         {ints(r, DType::s64, make_shape({6}), -9, 9)},
         DType::s64,
         1});
  add({"Reduce",
       {{"fn", std::string("Sum")}, {"keepdims", int64_t(0)}},
       {ints(r, DType::s64, make_shape({3, 4}), -9, 9), index({-1})},
       DType::s64,
       1});
  for (const char* fn : {"Sum", "Prod"})
    add({"Cumulative", {{"fn", std::string(fn)}, {"exclusive", int64_t(1)}}, {x({3, 4}), scalar(1)}, f, 2});
  Case top = simple_case({"TopK", {{"axis", int64_t(0)}}, {x({5, 3}), index({2})}, f, 2});
  top.out.push_back({DType::s64, 2});
  cases.push_back(top);
  add({"NonZero", {}, {bytes_operand(r, DType::boolean, make_shape({3, 4}))}, DType::s64, 2});
  const Operand places = ints(r, DType::s64, make_shape({2, 3}), -2, 1);
  for (const char* how : {"none", "add", "max"})
    add({"ScatterElements", {{"reduction", std::string(how)}}, {x({2, 4}), places, x({2, 3})}, f, 2});
  add({"ScatterND", {}, {x({3, 4, 2}), ints(r, DType::s64, make_shape({5, 2}), -3, 2), x({5, 2})}, f, 3});
  add({"GatherND",
       {{"batch_dims", int64_t(1)}},
       {x({3, 4, 2}), ints(r, DType::s32, make_shape({3, 2, 1}), -4, 3)},
       f,
       3});
  add({"NonMaxSuppression",
       {},
       {x({2, 6, 4}), x({2, 3, 6}), scalar(4), of<float>(f, {0.3f}), of<float>(f, {-0.5f})},
       DType::s64,
       2});
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const char* padding : {"zeros", "border", "reflection"})
      add({"GridSample",
           {{"mode", std::string(mode)}, {"padding_mode", std::string(padding)}},
           {x({1, 2, 4, 5}), floats(r, make_shape({1, 3, 3, 2}), -3, 3)},
           f,
           4});
  for (const char* fn : {"RNN", "GRU", "LSTM"}) {
    const int64_t gates = *fn == 'L' ? 4 : *fn == 'G' ? 3 : 1;
    const char* functions = *fn == 'L' ? "Sigmoid,Tanh,Tanh" : *fn == 'G' ? "Sigmoid,Tanh" : "Tanh";
    Operand weights = x({1, gates * 5, 5});
    if (r.between(0, 1)) weights = constant(weights);
    Case cell = simple_case({"Recurrent",
                             {{"fn", std::string(fn)}, {"activations", std::string(functions)}},
                             {x({3, 2, gates * 5}), weights, x({1, 2, 5}), absent(), index({2, 3})},
                             f,
                             4});
    for (int64_t k = 1; k < (gates == 4 ? 3 : 2); k++) cell.out.push_back({f, 3});
    cases.push_back(cell);
  }
  add({"Resize", {{"mode", std::string("linear")}}, {x({1, 3, 4, 2}), absent(), of<float>(f, {1, 2, 1.5f, 1})}, f, 4});
}

std::vector<std::shared_ptr<const Plan>> valid_plans() {
  Random r(1);
  std::vector<Case> cases;
  std::map<std::string, int> taken;
  for (Case& c : selftest_cases(7, 1)) {
    size_t bytes = 0;
    for (const Operand& o : c.in) bytes += o.bytes.size();
    const int most =
        c.step.op == "Unary" || c.step.op == "Binary" || c.step.op == "QConv" || c.step.op == "Reduce" ? 24 : 10;
    if (bytes > 24000 || taken[c.step.op]++ >= most) continue;
    c.inside = r.between(0, 1);
    cases.push_back(std::move(c));
  }
  add_movement(r, cases);
  std::set<std::string> ops;
  std::vector<std::shared_ptr<const Plan>> plans;
  for (const Case& c : cases) {
    ops.insert(c.step.op);
    plans.push_back(plan_of(c));
  }
  for (const std::string& op : op_names())
    if (!CHECK(ops.count(op) == 1)) std::printf("no plan here uses %s\n", op.c_str());
  return plans;
}

// Shapes for the inputs: mostly as declared, now and then absurd.
std::vector<Shape> input_shapes(Random& r, const Plan& plan) {
  std::vector<Shape> shapes;
  for (int32_t v : plan.inputs) {
    Shape s;
    s.rank = plan.values[v].rank;
    for (int i = 0; i < s.rank; i++) {
      const Dim& d = plan.values[v].dims[size_t(i)];
      s[i] = d.size >= 0 ? d.size : r.between(0, 3) ? r.between(0, 9) : hostile::any_int(r);
    }
    if (r.between(0, 39) == 0 && s.rank > 0) s[int(r.between(0, s.rank - 1))] = hostile::any_int(r);
    shapes.push_back(s);
  }
  return shapes;
}

// Loads and runs; whether it got to the end.
bool attempt(Random& r, const std::string& file) {
  const auto plan = Plan::from_bytes(file.data(), file.size());
  SessionOptions options;
  const auto levels = compiled_isas();
  Isa isa = Isa::scalar;
  if (r.between(0, 1))
    if (const Isa other = levels[size_t(r.between(0, int64_t(levels.size()) - 1))]; supported(other)) isa = other;
  options.isa = name_of(isa);
  options.threads = int(r.between(1, 2));
  Session session(plan, options);
  for (int times = 0; times < 2; times++) {
    const std::vector<Shape> shapes = input_shapes(r, *plan);
    const auto call = session.prepare(shapes);
    // Exactly as large as the engine may read, so that a sanitizer sees every step too far.
    std::vector<std::vector<char>> inputs;
    size_t bytes = 0;
    for (size_t k = 0; k < shapes.size(); k++)
      bytes += size_t(shapes[k].elements()) * size_of(plan->values[plan->inputs[k]].dtype);
    if (bytes > kMemory) return true;
    for (size_t k = 0; k < shapes.size(); k++) {
      const DType dtype = plan->values[plan->inputs[k]].dtype;
      inputs.emplace_back(size_t(shapes[k].elements()) * size_of(dtype));
      if (r.between(0, 3))
        fill_random(r, dtype, shapes[k].elements(), inputs.back().data());
      else if (dtype != DType::boolean)
        for (char& c : inputs.back()) c = char(r.next());
      call->set_input(int(k), inputs.back().data());
    }
    int64_t work = 0;
    for (const StepInfo& info : session.steps(shapes)) work += std::min(info.macs, kWork);
    if (work >= kWork) return true;
    std::vector<std::vector<char>> outputs;
    for (size_t k = 0; k < plan->outputs.size(); k++) {
      const Shape* s = call->output_shape(int(k));
      if (s == nullptr || r.between(0, 1)) continue;
      outputs.emplace_back(size_t(s->elements()) * size_of(plan->values[plan->outputs[k].value].dtype));
      call->set_output(int(k), outputs.back().data());
    }
    call->run();
  }
  return true;
}

std::string hostile_file(Random& r, const std::vector<std::shared_ptr<const Plan>>& plans,
                         const std::vector<std::string>& ops) {
  const Plan& valid = *plans[size_t(r.between(0, int64_t(plans.size()) - 1))];
  const int64_t kind = r.between(0, 9);
  if (kind == 0) {
    std::string file = valid.to_bytes();
    hostile::damage_bytes(r, file, r.between(0, 9) > 0);
    return file;
  }
  Plan broken = valid;
  for (int64_t n = kind < 7 ? 1 : r.between(2, 5); n > 0; n--) hostile::damage(r, broken, ops);
  std::string file = broken.to_bytes();
  if (kind == 9) hostile::damage_bytes(r, file, true);
  return file;
}

bool round_of(uint64_t seed, const std::vector<std::shared_ptr<const Plan>>& plans, const std::vector<std::string>& ops,
              bool verbose) {
  current_seed = seed;
  Random r(seed);
  const std::clock_t start = std::clock();  // of this process: others may have the machine
  bool ran = false;
  alarm(20);
  try {
    const std::string file = hostile_file(r, plans, ops);
    ran = attempt(r, file);
  } catch (const Error& e) {
    if (verbose) std::printf("refused: %s\n", e.what());
    if (!CHECK(e.what()[0] != '\0')) report_seed();
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    CHECK(!"only octavo::Error may be raised");
    report_seed();
  }
  const double took = double(std::clock() - start) / CLOCKS_PER_SEC;
  if (!CHECK(took < (__sanitizer_set_death_callback ? 10 : 1) * kSeconds)) report_seed();
  return ran;
}

}  // namespace

int main(int argc, char** argv) {
  if (__sanitizer_set_death_callback)
    __sanitizer_set_death_callback(report_seed);
  else
    for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(s, on_signal);
  for (int s : {SIGABRT, SIGALRM}) signal(s, on_signal);
  const char* wanted = std::getenv("OCTAVO_FUZZ_ROUNDS");
  const uint64_t rounds = wanted ? std::strtoull(wanted, nullptr, 10) : 12000;
  const auto plans = valid_plans();
  const auto ops = op_names();
  set_memory_limit(kMemory);
  if (argc > 1 && argc < 3) {
    const bool ran = round_of(std::strtoull(argv[1], nullptr, 10), plans, ops, true);
    std::printf("%s\n", ran ? "ran" : "refused");
    return check::finish();
  }
  uint64_t ran = 0;
  const uint64_t first = argc > 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  for (uint64_t seed = first; seed < first + rounds; seed++) ran += round_of(seed, plans, ops, false);
  set_memory_limit(0);
  std::printf("%llu plans of %llu ran, the others were refused\n", (unsigned long long)ran, (unsigned long long)rounds);
  // Most damage must be noticed and some be harmless: else this tests nothing.
  if (rounds > 1000) CHECK(ran > rounds / 20 && ran < rounds * 3 / 4);
  return check::finish();
}
