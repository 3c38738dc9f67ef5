// octavo-run: runs a packed model without Python. Reads and writes .npy files.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "plan/session.h"
#include "tools/args.h"
#include "tools/feeds.h"
#include "tools/npy.h"
#include "tools/sha256.h"

namespace {

using namespace octavo;

const char* const kUsage =
    "octavo-run MODEL.octavo [options]: runs a packed model\n"
    "  --input NAME=FILE     an input from a .npy file, or raw bytes from any other file (repeatable)\n"
    "  --random SEED         fills the inputs not given with random elements\n"
    "  --dim NAME=N          size of a symbolic dimension, for --random and raw files (default 1; repeatable)\n"
    "  --output-dir DIR      writes each output to DIR/<name>.npy\n"
    "  --hash                prints the SHA-256 of each output's bytes\n"
    "  --repeat N            runs N times and prints the times\n"
    "  --threads N           0: one a usable CPU (default)\n"
    "  --isa LEVEL           scalar, avx2, avxvnni, avx512vnni, neon, neon_dot (default: the best here)\n"
    "  --info                prints what the model takes and gives, and does not run it\n"
    "exit status: 0 done, 1 the job failed, 2 wrong usage\n";

void print_info(const Plan& plan) {
  for (int32_t v : plan.inputs) {
    const ValueDef& def = plan.values[size_t(v)];
    std::printf("input  %s %s %s\n", def.name.c_str(), name_of(def.dtype), plan.describe_dims(def).c_str());
  }
  for (const OutputDef& o : plan.outputs) {
    const ValueDef& def = plan.values[size_t(o.value)];
    std::printf("output %s %s %s\n", o.name.c_str(), name_of(def.dtype), plan.describe_dims(def).c_str());
  }
  for (const auto& [key, text] : plan.metadata) std::printf("meta   %s: %s\n", key.c_str(), text.c_str());
  std::printf("steps  %zu\n", plan.steps.size());
}

bool ends_with(const std::string& s, const std::string& end) {
  return s.size() >= end.size() && s.compare(s.size() - end.size(), end.size(), end) == 0;
}

// One array an input, in the plan's order.
std::vector<Array> gather_inputs(const Plan& plan, const Args& args) {
  const auto sizes = sizes_of(args.all("--dim"));
  std::vector<std::string> files(plan.inputs.size());
  for (const std::string& option : args.all("--input")) {
    size_t k = 0;  // names may hold '=', so the longest name that fits is looked for
    size_t best = plan.inputs.size(), length = 0;
    for (; k < plan.inputs.size(); k++) {
      const std::string& name = plan.values[size_t(plan.inputs[k])].name;
      if (option.size() > name.size() && option.compare(0, name.size(), name) == 0 && option[name.size()] == '=' &&
          (best == plan.inputs.size() || name.size() > length))
        best = k, length = name.size();
    }
    if (best == plan.inputs.size()) {
      std::string known;
      for (int32_t v : plan.inputs) known += (known.empty() ? "" : ", ") + plan.values[size_t(v)].name;
      fail(ErrorKind::invalid_argument, "--input '%s' names no input; the model has: %s", option.c_str(),
           known.c_str());
    }
    files[best] = option.substr(length + 1);
  }
  Random random(uint64_t(args.number("--random", 0, 0, 1LL << 62)));
  std::vector<Array> arrays;
  for (size_t k = 0; k < files.size(); k++) {
    const ValueDef& def = plan.values[size_t(plan.inputs[k])];
    Array a;
    if (ends_with(files[k], ".npy")) {
      a = read_npy(files[k]);
      if (a.dtype != def.dtype)
        fail(ErrorKind::invalid_argument, "input '%s' takes %s, but '%s' holds %s", def.name.c_str(),
             name_of(def.dtype), files[k].c_str(), name_of(a.dtype));
    } else if (!files[k].empty()) {
      a = read_raw(files[k], def.dtype, concrete_shape(plan, def, sizes));
    } else if (args.has("--random")) {
      a.dtype = def.dtype;
      a.shape = concrete_shape(plan, def, sizes);
      a.memory = Buffer(a.bytes());
      fill_random(random, a.dtype, a.shape.elements(), a.memory.data());
    } else {
      fail(ErrorKind::invalid_argument, "input '%s' %s %s is not given; use --input %s=FILE or --random SEED",
           def.name.c_str(), name_of(def.dtype), plan.describe_dims(def).c_str(), def.name.c_str());
    }
    arrays.push_back(std::move(a));
  }
  return arrays;
}

// Different outputs get different files, whatever their names.
std::string file_name(const std::string& name, std::set<std::string>& taken) {
  std::string safe;
  for (char c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    safe += plain ? c : '_';
  }
  if (safe.empty() || safe[0] == '.') safe = "_" + safe;
  std::string unique = safe;
  for (int k = 2; !taken.insert(unique).second; k++) unique = safe + "_" + std::to_string(k);
  return unique + ".npy";
}

void run(const Args& args) {
  const std::shared_ptr<const Plan> plan = Plan::load(args.words[0]);
  if (args.has("--info")) return print_info(*plan);
  if (const std::string step = plan->python_step(); !step.empty())
    fail(ErrorKind::unsupported, "step '%s' needs Python; run this model with the Python package", step.c_str());
  SessionOptions options;
  options.isa = args.text("--isa", "");
  options.threads = int(args.number("--threads", 0, 0, 1024));
  Session session(plan, options);
  const std::vector<Array> inputs = gather_inputs(*plan, args);
  std::vector<Shape> shapes;
  for (const Array& a : inputs) shapes.push_back(a.shape);
  const std::unique_ptr<Call> call = session.prepare(shapes);
  for (size_t k = 0; k < inputs.size(); k++) call->set_input(int(k), inputs[k].memory.data());
  const int64_t repeat = args.number("--repeat", 1, 1, 1 << 30);
  std::vector<double> times;
  for (int64_t r = 0; r < repeat; r++) {
    const auto start = std::chrono::steady_clock::now();
    call->run();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::set<std::string> taken;
  for (size_t k = 0; k < plan->outputs.size(); k++) {
    View v = call->output_view(int(k));
    Buffer dense;
    if (!v.dense()) {
      dense = Buffer(v.bytes());
      copy_dense(v, dense.data());
      v.data = dense.data();
    }
    const std::string& name = plan->outputs[k].name;
    std::printf("%s %s %s", name.c_str(), name_of(v.dtype), describe(v.shape).c_str());
    if (args.has("--hash")) std::printf(" sha256 %s", sha256(v.data, v.bytes()).c_str());
    std::printf("\n");
    if (args.has("--output-dir"))
      write_npy(args.text("--output-dir", ".") + "/" + file_name(name, taken), v.dtype, v.shape, v.data);
  }
  if (args.has("--repeat")) {
    std::sort(times.begin(), times.end());
    std::printf("%s, %d thread(s), %zu run(s): min %.3f ms, median %.3f ms, max %.3f ms\n", name_of(session.isa()),
                session.threads(), times.size(), times.front(), times[times.size() / 2], times.back());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Args args(
      argc, argv,
      {"--input=", "--random=", "--dim=", "--output-dir=", "--hash", "--repeat=", "--threads=", "--isa=", "--info"},
      kUsage);
  if (args.words.size() != 1) args.wrong("exactly one model file is needed");
  try {
    run(args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "octavo-run: %s\n", e.what());
    return 1;
  }
  return 0;
}
