// octavo-selftest: does this machine compute what every other one does? Needs no files and no Python. Each operator
// runs on random and extreme operands at every ISA level this CPU has, on one thread and on several, and must give the
// bytes of the scalar level.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/registry.h"
#include "tools/args.h"
#include "tools/selftest_cases.h"
#include "tools/sha256.h"

namespace {

using namespace octavo;

const char* const kUsage =
    "octavo-selftest [options]: compares every kernel on this CPU with the scalar one\n"
    "  --isa LEVEL   only this level (default: every one this CPU has)\n"
    "  --op NAME     only this operator (kernels it does not use are then not missed)\n"
    "  --seed N      other random operands\n"
    "  --scale N     N times as many random cases\n"
    "  --verbose     prints every case\n"
    "exit status: 0 all agree, 1 some do not (or a kernel was never reached), 2 wrong usage\n";

// The outputs of one run. All NaNs count as one: their payload and sign are the only thing CPUs may differ in.
std::vector<uint8_t> result_of(const Case& c, Isa isa, int threads) {
  Prepared p(c, isa, threads);
  p.run();
  std::vector<uint8_t> bytes;
  for (const View& v : p.outputs()) {
    const size_t start = bytes.size();
    bytes.resize(start + v.bytes());
    copy_dense(v, bytes.data() + start);
    for (size_t i = start; v.dtype == DType::f32 && i < bytes.size(); i += 4) {
      float f;
      std::memcpy(&f, &bytes[i], 4);
      const uint32_t nan = 0x7fc00000;
      if (f != f) std::memcpy(&bytes[i], &nan, 4);
    }
  }
  return bytes;
}

// "" when the level agrees with the scalar bytes.
std::string difference(const Case& c, Isa isa, int threads, const std::vector<uint8_t>& expected) {
  std::vector<uint8_t> got;
  try {
    got = result_of(c, isa, threads);
  } catch (const std::exception& e) {
    return e.what();
  }
  if (got.size() != expected.size()) return "another output size";
  for (size_t i = 0; i < got.size(); i++)
    if (got[i] != expected[i])
      return "byte " + std::to_string(i) + " of " + std::to_string(got.size()) + " is " + std::to_string(got[i]) +
             ", scalar gives " + std::to_string(expected[i]);
  return "";
}

struct Tally {
  int cases = 0, failures = 0;
  size_t bytes = 0;
};

// Runs the cases of one operator; prints one line a level.
int test_operator(const std::vector<const Case*>& cases, const std::vector<Isa>& levels, bool verbose, Sha256& all) {
  std::vector<Tally> tallies(levels.size());
  const std::string& op = cases[0]->step.op;
  int failures = 0;  // cases that did not even run at the scalar level
  for (const Case* c : cases) {
    std::vector<uint8_t> expected;
    try {
      expected = result_of(*c, Isa::scalar, 1);
    } catch (const std::exception& e) {
      if (failures++ < 3) std::printf("  %s %s, scalar: %s\n", op.c_str(), c->name.c_str(), e.what());
      continue;
    }
    all.add(expected.data(), expected.size());
    for (size_t l = 0; l < levels.size(); l++) {
      Tally& t = tallies[l];
      t.cases++;
      t.bytes += expected.size();
      for (int threads : {1, 3}) {
        const std::string what = difference(*c, levels[l], threads, expected);
        if (what.empty()) continue;
        if (t.failures++ < 3)
          std::printf("  %s %s, %s, %d thread(s): %s\n", op.c_str(), c->name.c_str(), name_of(levels[l]), threads,
                      what.c_str());
      }
      if (verbose) std::printf("  %-24s %-12s %s\n", op.c_str(), name_of(levels[l]), c->name.c_str());
    }
  }
  const int broken = failures;
  for (size_t l = 0; l < levels.size(); l++) {
    const Tally& t = tallies[l];
    std::printf("%-24s %-12s %-6s %4d cases, %zu bytes\n", op.c_str(), name_of(levels[l]),
                t.failures || broken ? "FAILED" : "ok", t.cases, t.bytes);
    failures += t.failures;
  }
  return failures;
}

int run(const Args& args) {
  std::vector<Isa> levels;
  const std::string wanted = args.text("--isa", "");
  if (!wanted.empty())
    levels.push_back(choose_isa(wanted));
  else
    for (Isa isa : compiled_isas())
      if (supported(isa)) levels.push_back(isa);
  const std::string only = args.text("--op", "");
  const std::vector<Case> cases =
      selftest_cases(uint64_t(args.number("--seed", 1, 0, 1LL << 40)), int(args.number("--scale", 1, 1, 1000)));
  Sha256 all;
  int failures = 0, groups = 0;
  for (size_t from = 0; from < cases.size();) {
    std::vector<const Case*> group;
    for (size_t k = from; k < cases.size() && cases[k].step.op == cases[from].step.op; k++) group.push_back(&cases[k]);
    from += group.size();
    if (!only.empty() && only != group[0]->step.op) continue;
    failures += test_operator(group, levels, args.has("--verbose"), all);
    groups++;
  }
  if (groups == 0) args.wrong("no operator '" + only + "' is tested");
  int missed = 0;
  if (only.empty()) {
    for (const KernelInfo& k : kernel_list()) {
      const bool due = std::find(levels.begin(), levels.end(), k.isa) != levels.end();
      if (!due) {
        if (!supported(k.isa)) std::printf("kernel %-17s %-12s this CPU cannot run it\n", k.family, name_of(k.isa));
        continue;
      }
      std::printf("kernel %-17s %-12s %s\n", k.family, name_of(k.isa), k.exercised ? "ok" : "NEVER REACHED");
      missed += !k.exercised;
    }
  }
  std::printf("digest of all results: %s\n", all.hex().c_str());
  if (failures || missed) {
    std::printf("FAILED: %d difference(s), %d kernel(s) never reached\n", failures, missed);
    return 1;
  }
  std::printf("all levels agree, bit for bit\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Args args(argc, argv, {"--isa=", "--op=", "--seed=", "--scale=", "--verbose"}, kUsage);
  if (!args.words.empty()) args.wrong("octavo-selftest takes no files");
  try {
    return run(args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "octavo-selftest: %s\n", e.what());
    return 1;
  }
}
