#include "kernels/simd/lanes16.inl"

struct TakeSum {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vadd(a, x); }
};
struct TakeSquare {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vadd(a, vmul(x, x)); }
};
struct TakeAbs {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vadd(a, vabs(x)); }
};
struct TakeProduct {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vmul(a, x); }
};
struct TakeMax {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vselect(vnan(a), a, vmax(a, x)); }
};
struct TakeMin {
  static OCTAVO_INLINE vf go(vf a, vf x) { return vselect(vnan(a), a, vmin(a, x)); }
};

template <class F>
void run_with(float* lane, const float* x, int64_t n) {
  accumulate16(lane, x, n, [](vf a, vf b) __attribute__((always_inline)) { return F::go(a, b); });
}

template <class F>
void step_with(float* acc, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(acc + i, F::go(vload(acc + i), vload(x + i)));
  const int left = int(n - i);
  if (left) vstore_n(acc + i, F::go(vload_n(acc + i, left), vload_n(x + i, left)), left);
}

void reduce_run(int fn, float* acc, const float* x, int64_t n) {
  switch (ReduceFn(fn)) {
    case ReduceFn::Max:
      return run_with<TakeMax>(acc, x, n);
    case ReduceFn::Min:
      return run_with<TakeMin>(acc, x, n);
    case ReduceFn::Prod:
      return run_with<TakeProduct>(acc, x, n);
    case ReduceFn::SumSquare:
    case ReduceFn::L2:
      return run_with<TakeSquare>(acc, x, n);
    case ReduceFn::L1:
      return run_with<TakeAbs>(acc, x, n);
    default:
      return run_with<TakeSum>(acc, x, n);
  }
}

void reduce_step(int fn, float* acc, const float* x, int64_t n) {
  switch (ReduceFn(fn)) {
    case ReduceFn::Max:
      return step_with<TakeMax>(acc, x, n);
    case ReduceFn::Min:
      return step_with<TakeMin>(acc, x, n);
    case ReduceFn::Prod:
      return step_with<TakeProduct>(acc, x, n);
    case ReduceFn::SumSquare:
    case ReduceFn::L2:
      return step_with<TakeSquare>(acc, x, n);
    case ReduceFn::L1:
      return step_with<TakeAbs>(acc, x, n);
    default:
      return step_with<TakeSum>(acc, x, n);
  }
}

void reduce_join(int fn, float* acc, const float* x, int64_t n) {
  switch (ReduceFn(fn)) {
    case ReduceFn::Max:
      return step_with<TakeMax>(acc, x, n);
    case ReduceFn::Min:
      return step_with<TakeMin>(acc, x, n);
    case ReduceFn::Prod:
      return step_with<TakeProduct>(acc, x, n);
    default:
      return step_with<TakeSum>(acc, x, n);
  }
}
