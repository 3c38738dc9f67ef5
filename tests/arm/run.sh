#!/usr/bin/env bash
# Cross-builds the C++ side for aarch64 and runs its kernel tests under emulation, once a CPU level.
# usage: tests/arm/run.sh [BUILD_DIR]      needs g++-aarch64-linux-gnu, qemu-user-static, cmake
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/arm}
for tool in aarch64-linux-gnu-g++ qemu-aarch64-static cmake; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (apt-get install g++-aarch64-linux-gnu qemu-user-static cmake)"; exit 3; }
done
cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/tests/arm/toolchain.cmake" -DOCTAVO_WERROR=ON >/dev/null
cmake --build "$build" -j "$(nproc)" --target octavo-selftest test_gemm_s8 | tail -n 1
# The emulated CPU decides what is detected: a53 has no dot product, a76 has it.
for level in cortex-a53:neon cortex-a76:neon_dot; do
  cpu=${level%:*} isa=${level##*:}
  echo "== $cpu, expecting $isa"
  run=(qemu-aarch64-static -cpu "$cpu" -L /usr/aarch64-linux-gnu)
  "${run[@]}" "$build/octavo-selftest" | tee "$build/selftest_$isa.txt" | tail -n 3
  grep -q "$isa" "$build/selftest_$isa.txt" || { echo "no kernel of level $isa was exercised"; exit 1; }
  "${run[@]}" "$build/test_gemm_s8"
done
