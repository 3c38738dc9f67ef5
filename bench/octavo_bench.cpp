// octavo-bench: how fast are the kernels here, and how close to what the machine can do? Times one-step plans on the
// layer shapes of real networks through a Session, and whole packed models. The peak is measured in the same run.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/peak.h"
#include "core/thread_pool.h"
#include "tools/args.h"
#include "tools/one_step.h"

namespace {

using namespace octavo;

const char* const kUsage =
    "octavo-bench [options] [MODEL.octavo ...]: times kernels, or whole packed models when given\n"
    "  --threads N     0: one a usable CPU; default 1\n"
    "  --isa LEVEL     scalar, avx2, avxvnni, avx512vnni, neon, neon_dot (default: the best here)\n"
    "  --only TEXT     only groups or cases whose name holds TEXT\n"
    "  --ms N          milliseconds to spend on each case (default 100; 1000 a model)\n"
    "  --dim NAME=N    size of a symbolic dimension of the models (default 1; repeatable)\n"
    "  --steps         also prints the time of each operator of the models\n"
    "  --json          prints JSON instead of a table\n"
    "exit status: 0 done, 1 the job failed, 2 wrong usage\n";

struct Entry {
  std::string group;
  Case what;
};

struct Timing {
  double best_us = 0, median_us = 0;
  int64_t macs = 0;
  size_t bytes = 0;
  std::string kernel;
};

struct Settings {
  Isa isa = Isa::scalar;
  int threads = 1;
  double seconds = 0.1;
  bool json = false;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double>& v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// ---- the cases
// -------------------------------------------------------------------------------------------------------

class Builder {
 public:
  std::vector<Entry> entries;

  void conv(const char* group, int64_t size, int64_t in, int64_t out, int64_t kernel, int64_t stride,
            bool depthwise = false, bool real = false) {
    ConvSpec s;
    s.height = s.width = size;
    s.in = in;
    s.out = out;
    s.kernel_h = s.kernel_w = kernel;
    s.stride = stride;
    s.group = depthwise ? in : 1;
    s.same();
    if (stride == 2 && kernel == 3 && size % 2 == 0) s.pads[0] = s.pads[1] = 0;  // as these networks pad
    add(group, real ? conv_case(random_, s) : qconv_case(random_, s));
  }
  void gemm(const char* group, int64_t M, int64_t K, int64_t N) { add(group, qgemm_case(random_, spec(0, M, K, N))); }
  void add(const char* group, Case c) {
    c.inside = true;
    if (c.step.attrs.count("lo")) c.step.attrs["lo"] = int64_t(0), c.step.attrs["hi"] = int64_t(255);
    entries.push_back({group, std::move(c)});
  }
  void simple(const char* group, const std::string& name, const StepSpec& s) {
    Case c = simple_case(s);
    c.name = name + " " + c.name;
    add(group, std::move(c));
  }
  static GemmSpec spec(int64_t batch, int64_t M, int64_t K, int64_t N) {
    GemmSpec s;
    s.batch = batch;
    s.M = M;
    s.K = K;
    s.N = N;
    return s;
  }
  Random& random() { return random_; }

 private:
  Random random_{1};
};

void add_convolutions(Builder& b) {
  const struct {
    int64_t size, in, out;
  } pointwise[] = {{112, 32, 64},   {56, 64, 128},   {56, 128, 128}, {28, 128, 128}, {28, 256, 256}, {14, 512, 512},
                   {7, 1024, 1024}, {112, 32, 16},   {112, 16, 96},  {56, 96, 24},   {56, 24, 144},  {28, 144, 32},
                   {28, 32, 192},   {56, 144, 24},   {28, 144, 40},  {28, 240, 40},  {14, 384, 64},  {14, 64, 384},
                   {14, 576, 96},   {7, 960, 160},   {7, 160, 960},  {7, 320, 1280}, {56, 64, 64},   {56, 64, 256},
                   {28, 512, 128},  {14, 256, 1024}, {7, 2048, 512}};
  for (const auto& p : pointwise) b.conv("conv 1x1 (MobileNet, ResNet)", p.size, p.in, p.out, 1, 1);
  const struct {
    int64_t size, in, out, stride;
  } square[] = {{56, 64, 64, 1},   {56, 128, 128, 2}, {28, 128, 128, 1}, {28, 256, 256, 2},
                {14, 256, 256, 1}, {14, 512, 512, 2}, {7, 512, 512, 1}};
  for (const auto& p : square) b.conv("conv 3x3 (ResNet-50)", p.size, p.in, p.out, 3, p.stride);
  b.conv("stems", 224, 3, 32, 3, 2);
  b.conv("stems", 224, 3, 64, 7, 2);
  const struct {
    int64_t size, channels, stride;
  } depthwise[] = {{48, 8, 1},   {24, 16, 1},  {112, 32, 1}, {112, 64, 1}, {112, 64, 2},
                   {56, 128, 1}, {56, 128, 2}, {28, 256, 1}, {28, 256, 2}, {14, 512, 1},
                   {14, 512, 2}, {7, 1024, 1}, {56, 144, 1}, {14, 576, 1}, {7, 960, 1}};
  for (const auto& p : depthwise) b.conv("depthwise 3x3", p.size, p.channels, p.channels, 3, p.stride, true);
  b.conv("depthwise 5x5", 28, 120, 120, 5, 1, true);
  b.conv("depthwise 5x5", 14, 480, 480, 5, 1, true);
  b.conv("float conv", 56, 64, 64, 1, 1, false, true);
  b.conv("float conv", 28, 128, 128, 3, 1, false, true);
  b.conv("float conv", 56, 128, 128, 3, 1, true, true);
}

void add_products(Builder& b) {
  const char* const group = "matrix products";
  for (const auto& [M, K, N] : {std::array<int64_t, 3>{128, 384, 384},
                                {128, 384, 1152},
                                {128, 384, 1536},
                                {128, 1536, 384},
                                {1, 1280, 1000},
                                {1, 2048, 1000},
                                {512, 512, 512},
                                {2048, 2048, 2048}})
    b.gemm(group, M, K, N);
  Random& r = b.random();
  b.add("attention products", qmatmul_case(r, Builder::spec(12, 128, 32, 128)));
  b.add("attention products", qmatmul_case(r, Builder::spec(12, 128, 128, 32)));
  b.add("dynamic products", qgemm_dynamic_case(r, Builder::spec(0, 128, 384, 384), ""));
  b.add("dynamic products", qgemm_dynamic_case(r, Builder::spec(0, 128, 384, 1536), "Gelu"));
  b.add("dynamic products", qgemm_dynamic_case(r, Builder::spec(0, 128, 1536, 384), ""));
  b.add("float products", matmul_case(r, Builder::spec(0, 128, 384, 384), ""));
  b.add("float products", matmul_case(r, Builder::spec(0, 128, 384, 1536), "Gelu"));
}

void add_rest(Builder& b) {
  Random& r = b.random();
  using Ints = std::vector<int64_t>;
  const Shape image = make_shape({1, 56, 56, 256}), rows = make_shape({128, 384}), wide = make_shape({128, 1536});
  const Shape heads = make_shape({12, 128, 128});
  const char* const bytes = "8-bit elementwise and pools";
  const Attr zero = int64_t(0), middle = int64_t(128), top = int64_t(255);
  b.simple(bytes, "QAdd",
           {"QAdd",
            {{"za", middle},
             {"zb", middle},
             {"sa", 0.07},
             {"sb", 0.06},
             {"sy", 0.1},
             {"zp", middle},
             {"lo", zero},
             {"hi", top}},
            {bytes_operand(r, DType::u8, image), bytes_operand(r, DType::u8, image)},
            DType::u8,
            4});
  b.simple(bytes, "QMul",
           {"QMul",
            {{"za", middle}, {"zb", middle}, {"m", 0.01}, {"zp", middle}, {"lo", zero}, {"hi", top}},
            {bytes_operand(r, DType::u8, image), bytes_operand(r, DType::u8, image)},
            DType::u8,
            4});
  b.simple(bytes, "Lut",
           {"Lut",
            {},
            {bytes_operand(r, DType::u8, wide), constant(bytes_operand(r, DType::u8, make_shape({256})))},
            DType::u8,
            2});
  b.simple(bytes, "MaxPool 3x3 s2",
           {"MaxPool",
            {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
            {bytes_operand(r, DType::u8, make_shape({1, 112, 112, 64}))},
            DType::u8,
            4});
  b.simple(bytes, "QReduceMean",
           {"QReduceMean",
            {{"axes", Ints{1, 2}},
             {"keepdims", int64_t(1)},
             {"x_zp", middle},
             {"x_scale", 0.02},
             {"y_scale", 0.02},
             {"y_zp", middle},
             {"lo", zero},
             {"hi", top}},
            {bytes_operand(r, DType::u8, make_shape({1, 7, 7, 1280}))},
            DType::u8,
            4});
  const char* const borders = "quantize and dequantize";
  const std::map<std::string, Attr> quantize = {{"y_scale", 0.02}, {"y_zp", middle}, {"lo", zero}, {"hi", top}};
  std::map<std::string, Attr> turned = quantize;
  turned["perm"] = Ints{0, 2, 3, 1};
  b.simple(borders, "Quantize NCHW -> NHWC",
           {"Quantize", turned, {floats(r, make_shape({1, 3, 224, 224}), -2, 2)}, DType::u8, 4});
  b.simple(borders, "Quantize", {"Quantize", quantize, {floats(r, rows, -2, 2)}, DType::u8, 2});
  b.simple(borders, "Dequantize",
           {"Dequantize", {{"x_scale", 0.02}, {"x_zp", middle}}, {bytes_operand(r, DType::u8, rows)}, DType::f32, 2});
  Case dynamic = simple_case({"DynamicQuantizeLinear", {}, {floats(r, wide, -2, 2)}, DType::u8, 2});
  dynamic.out.push_back({DType::f32, 0});
  dynamic.out.push_back({DType::u8, 0});
  dynamic.name = "DynamicQuantizeLinear " + dynamic.name;
  b.add(borders, dynamic);
  const char* const real = "float elementwise and rows";
  b.simple(real, "Softmax", {"Softmax", {{"axis", int64_t(-1)}}, {floats(r, heads, -5, 5)}, DType::f32, 3});
  b.simple(real, "LayerNormalization",
           {"LayerNormalization",
            {{"axis", int64_t(-1)}, {"epsilon", 1e-5}},
            {floats(r, rows, -2, 2), constant(floats(r, make_shape({384}), 0.5f, 2)),
             constant(floats(r, make_shape({384}), -1, 1))},
            DType::f32,
            2});
  for (const char* fn : {"Gelu", "Sigmoid", "Tanh", "Exp", "Relu"})
    b.simple(real, "", {"Unary", {{"fn", std::string(fn)}}, {floats(r, wide, -4, 4)}, DType::f32, 2});
  b.simple(real, "",
           {"Binary", {{"fn", std::string("Add")}}, {floats(r, wide, -4, 4), floats(r, wide, -4, 4)}, DType::f32, 2});
  b.simple(real, "Reduce",
           {"Reduce",
            {{"fn", std::string("Mean")}, {"axes", Ints{1}}, {"keepdims", int64_t(1)}},
            {floats(r, rows, -2, 2)},
            DType::f32,
            2});
  const char* const moves = "data movement";
  b.simple(moves, "Transpose u8 NHWC -> NCHW",
           {"Transpose", {{"perm", Ints{0, 3, 1, 2}}}, {bytes_operand(r, DType::u8, image)}, DType::u8, 4});
  b.simple(moves, "Transpose f32 NHWC -> NCHW",
           {"Transpose", {{"perm", Ints{0, 3, 1, 2}}}, {floats(r, image, -1, 1)}, DType::f32, 4});
  b.simple(moves, "Transpose f32 heads",
           {"Transpose", {{"perm", Ints{1, 0, 2}}}, {floats(r, make_shape({128, 12, 32}), -1, 1)}, DType::f32, 3});
}

// ---- timing
// ----------------------------------------------------------------------------------------------------------

// The step's own time, as a Session's profile sees it: in batches, so that reading the clock does not count.
Timing time_case(const Case& c, const Settings& settings) {
  Prepared p(c, settings.isa, settings.threads, true);
  p.run();
  int64_t seen_ns = p.info().nanoseconds, seen_calls = p.info().calls;
  const double one = std::max(1e-7, double(seen_ns) * 1e-9);
  const int batch = int(std::clamp(settings.seconds / 20 / one, 1.0, 200.0));
  std::vector<double> us;
  const double start = now();
  while (now() - start < settings.seconds || us.size() < 5) {
    for (int k = 0; k < batch; k++) p.run();
    const StepInfo info = p.info();
    us.push_back(double(info.nanoseconds - seen_ns) * 1e-3 / double(info.calls - seen_calls));
    seen_ns = info.nanoseconds;
    seen_calls = info.calls;
  }
  const StepInfo info = p.info();
  Timing t;
  t.best_us = *std::min_element(us.begin(), us.end());
  t.median_us = median(us);
  t.macs = info.macs;
  t.bytes = p.bytes();
  t.kernel = info.kernel;
  return t;
}

bool is_float(const std::string& op) { return op == "Conv" || op == "MatMul" || op == "ConvTranspose"; }

std::string json_text(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (uint8_t(c) >= 32) out += c;
  }
  return out + "\"";
}

// Returns how many cases could not be run.
int bench_kernels(const Settings& settings, const std::string& only) {
  Builder b;
  add_convolutions(b);
  add_products(b);
  add_rest(b);
  const Peak bytes = int8_peak(settings.isa, settings.threads), real = float_peak(settings.isa, settings.threads);
  if (settings.json) {
    std::printf(
        "{\"isa\": \"%s\", \"threads\": %d, \"int8_peak_gmacs\": %.2f, \"float_peak_gmacs\": %.2f, \"cases\": [",
        name_of(settings.isa), settings.threads, bytes.gmacs, real.gmacs);
  } else {
    std::printf("%s, %d thread(s)\n", name_of(settings.isa), settings.threads);
    if (bytes.gmacs > 0) std::printf("peak int8  %8.1f GMAC/s (%s)\n", bytes.gmacs, bytes.instruction);
    if (real.gmacs > 0) std::printf("peak float %8.1f GMAC/s (%s)\n", real.gmacs, real.instruction);
  }
  std::string group;
  bool first = true;
  int failures = 0;
  for (const Entry& e : b.entries) {
    if (!only.empty() && e.group.find(only) == std::string::npos && e.what.name.find(only) == std::string::npos)
      continue;
    if (find_op(e.what.step.op) == nullptr)
      fail(ErrorKind::internal, "there is no operator '%s'", e.what.step.op.c_str());
    const Timing t = time_case(e.what, settings);
    const double rate = double(t.macs) / t.best_us * 1e-3, peak = is_float(e.what.step.op) ? real.gmacs : bytes.gmacs;
    const double gigabytes = double(t.bytes) / t.best_us * 1e-3;
    if (settings.json) {
      std::printf(
          "%s\n  {\"group\": %s, \"name\": %s, \"op\": \"%s\", \"kernel\": %s, \"min_us\": %.3f, \"median_us\": %.3f, "
          "\"macs\": %lld, "
          "\"gmacs\": %.3f, \"gbytes\": %.3f}",
          first ? "" : ",", json_text(e.group).c_str(), json_text(e.what.name).c_str(), e.what.step.op.c_str(),
          json_text(t.kernel).c_str(), t.best_us, t.median_us, (long long)t.macs, rate, gigabytes);
    } else {
      if (e.group != group)
        std::printf("\n%-44s %10s %10s %8s %6s %7s\n", e.group.c_str(), "min us", "median", "GMAC/s", "peak", "GB/s");
      std::printf("  %-42s %10.2f %10.2f", e.what.name.c_str(), t.best_us, t.median_us);
      if (t.macs > 0 && peak > 0)
        std::printf(" %8.1f %5.1f%%", rate, 100 * rate / peak);
      else if (t.macs > 0)
        std::printf(" %8.1f %6s", rate, "");
      else
        std::printf(" %8s %6s", "", "");
      std::printf(" %7.1f\n", gigabytes);
    }
    std::fflush(stdout);
    group = e.group;
    first = false;
  }
  if (settings.json) std::printf("\n]}\n");
  return failures;
}

// ---- whole models
// ----------------------------------------------------------------------------------------------------

void print_operators(Session& session, const std::vector<Shape>& shapes) {
  std::map<std::string, std::pair<int64_t, int64_t>> by_op;  // nanoseconds, multiply-accumulates
  int64_t total = 0, calls = 1;
  for (const StepInfo& s : session.steps(shapes)) {
    by_op[s.op].first += s.nanoseconds;
    by_op[s.op].second += s.macs;
    total += s.nanoseconds;
    calls = std::max(calls, s.calls);
  }
  std::vector<std::pair<int64_t, std::string>> order;
  for (const auto& [op, sums] : by_op) order.push_back({sums.first, op});
  std::sort(order.rbegin(), order.rend());
  for (const auto& [ns, op] : order) {
    const double us = double(ns) * 1e-3 / double(calls);
    std::printf("  %-24s %10.1f us %5.1f%%", op.c_str(), us, total > 0 ? 100.0 * double(ns) / double(total) : 0);
    if (by_op[op].second > 0 && us > 0) std::printf(" %8.1f GMAC/s", double(by_op[op].second) / us * 1e-3);
    std::printf("\n");
  }
}

void bench_model(const std::string& path, const Settings& settings, const Args& args, bool first) {
  const std::shared_ptr<const Plan> plan = Plan::load(path);
  if (const std::string step = plan->python_step(); !step.empty())
    fail(ErrorKind::unsupported, "'%s': step '%s' needs Python", path.c_str(), step.c_str());
  SessionOptions options;
  options.isa = name_of(settings.isa);
  options.threads = settings.threads;
  Session session(plan, options);
  const auto sizes = sizes_of(args.all("--dim"));
  Random random(1);
  std::vector<Shape> shapes;
  std::vector<Buffer> inputs;
  for (int32_t v : plan->inputs) {
    const ValueDef& def = plan->values[size_t(v)];
    shapes.push_back(concrete_shape(*plan, def, sizes));
    inputs.emplace_back(size_t(shapes.back().elements()) * size_of(def.dtype));
    fill_random(random, def.dtype, shapes.back().elements(), inputs.back().data());
  }
  const std::unique_ptr<Call> call = session.prepare(shapes);
  for (size_t k = 0; k < inputs.size(); k++) call->set_input(int(k), inputs[k].data());
  call->run();
  std::vector<double> ms;
  const double start = now();
  while (now() - start < settings.seconds || ms.size() < 5) {
    const double begin = now();
    call->run();
    ms.push_back((now() - begin) * 1e3);
  }
  int64_t macs = 0;
  for (const StepInfo& s : session.steps(shapes)) macs += s.macs;
  const double best = *std::min_element(ms.begin(), ms.end()), middle = median(ms);
  if (settings.json) {
    std::printf(
        "%s\n  {\"model\": %s, \"min_ms\": %.4f, \"median_ms\": %.4f, \"runs\": %zu, \"macs\": %lld, \"gmacs\": %.3f, "
        "\"arena_bytes\": %zu, "
        "\"packed_bytes\": %zu}",
        first ? "" : ",", json_text(path).c_str(), best, middle, ms.size(), (long long)macs, double(macs) / best * 1e-6,
        call->arena_bytes(), session.packed_bytes());
    return;
  }
  std::printf(
      "%s: min %.3f ms, median %.3f ms, %zu runs, %.1f MMAC, %.1f GMAC/s, arena %.2f MB, packed weights %.2f MB\n",
      path.c_str(), best, middle, ms.size(), double(macs) * 1e-6, double(macs) / best * 1e-6,
      double(call->arena_bytes()) * 1e-6, double(session.packed_bytes()) * 1e-6);
  if (!args.has("--steps")) return;
  options.profile = true;
  Session profiled(plan, options);
  const std::unique_ptr<Call> again = profiled.prepare(shapes);
  for (size_t k = 0; k < inputs.size(); k++) again->set_input(int(k), inputs[k].data());
  for (size_t k = 0; k < std::max<size_t>(5, ms.size() / 4); k++) again->run();
  print_operators(profiled, shapes);
}

int run(const Args& args) {
  Settings settings;
  settings.isa = choose_isa(args.text("--isa", ""));
  settings.threads = int(args.number("--threads", 1, 0, 1024));
  if (settings.threads == 0) settings.threads = default_threads();
  settings.seconds = double(args.number("--ms", args.words.empty() ? 100 : 1000, 1, 1000000)) * 1e-3;
  settings.json = args.has("--json");
  if (args.words.empty()) {
    return bench_kernels(settings, args.text("--only", "")) > 0 ? 1 : 0;
  }
  if (settings.json) {
    std::printf("{\"isa\": \"%s\", \"threads\": %d, \"models\": [", name_of(settings.isa), settings.threads);
  } else {
    std::printf("%s, %d thread(s)\n", name_of(settings.isa), settings.threads);
  }
  for (size_t k = 0; k < args.words.size(); k++) bench_model(args.words[k], settings, args, k == 0);
  if (settings.json) std::printf("\n]}\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Args args(argc, argv, {"--threads=", "--isa=", "--only=", "--ms=", "--dim=", "--steps", "--json"}, kUsage);
  try {
    return run(args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "octavo-bench: %s\n", e.what());
    return 1;
  }
}
