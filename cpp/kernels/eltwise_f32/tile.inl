// Row loops over the vocabulary. Included inside octavo::<isa>::{anonymous}, after core/unary_f32.inl.

template <class F>
OCTAVO_INLINE void map_row(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(y + i, f(vload(x + i)));
  if (i < n) vstore_n(y + i, f(vload_n(x + i, int(n - i))), int(n - i));
}

template <class F>
OCTAVO_INLINE void zip_row(int shape, const float* a, const float* b, float* y, int64_t n, F f) {
  if (shape == 1) {
    const vf s = vset(*a);
    map_row(b, y, n, [&](vf v) __attribute__((always_inline)) { return f(s, v); });
  } else if (shape == 2) {
    const vf s = vset(*b);
    map_row(a, y, n, [&](vf v) __attribute__((always_inline)) { return f(v, s); });
  } else {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) vstore(y + i, f(vload(a + i), vload(b + i)));
    const int left = int(n - i);
    if (left) vstore_n(y + i, f(vload_n(a + i, left), vload_n(b + i, left)), left);
  }
}

#define OCTAVO_MAP(fn, expression)                                                     \
  case UnaryFn::fn:                                                                    \
    map_row(x, y, n, [&](vf v) __attribute__((always_inline)) { return expression; }); \
    return true

bool unary(int fn, const float* x, float* y, int64_t n, float alpha, float beta) {
  const vf va = vset(alpha), vb = vset(beta);
  switch (UnaryFn(fn)) {
    OCTAVO_MAP(Relu, f_relu(v));
    OCTAVO_MAP(Clip, f_clip(v, va, vb));
    OCTAVO_MAP(LeakyRelu, f_leaky_relu(v, va));
    OCTAVO_MAP(Elu, f_elu(v, va));
    OCTAVO_MAP(Sigmoid, f_sigmoid(v));
    OCTAVO_MAP(Silu, vmul(v, f_sigmoid(v)));
    OCTAVO_MAP(HardSigmoid, f_hard_sigmoid(v, va, vb));
    OCTAVO_MAP(HardSwish, vmul(v, f_hard_sigmoid(v, va, vb)));
    OCTAVO_MAP(Tanh, f_tanh(v));
    OCTAVO_MAP(Erf, f_erf(v));
    OCTAVO_MAP(Gelu, f_gelu(v));
    OCTAVO_MAP(GeluTanh, f_gelu_tanh(v));
    OCTAVO_MAP(Exp, f_exp(v));
    OCTAVO_MAP(Sqrt, vsqrt(v));
    OCTAVO_MAP(Reciprocal, vdiv(vset(1.0f), v));
    OCTAVO_MAP(Neg, vneg(v));
    OCTAVO_MAP(Abs, vabs(v));
    OCTAVO_MAP(Floor, vfloor(v));
    OCTAVO_MAP(Ceil, vceil(v));
    OCTAVO_MAP(Round, vround(v));
    OCTAVO_MAP(Sign, f_sign(v));
    OCTAVO_MAP(Softsign, f_softsign(v));
    OCTAVO_MAP(Selu, f_selu(v, va, vb));
    OCTAVO_MAP(Celu, f_celu(v, va));
    OCTAVO_MAP(ThresholdedRelu, f_thresholded_relu(v, va));
    OCTAVO_MAP(Shrink, f_shrink(v, va, vb));
    OCTAVO_MAP(Mish, f_mish(v));
    default:
      return false;
  }
}
#undef OCTAVO_MAP

#define OCTAVO_ZIP(fn, expression)                                                                    \
  case BinaryFn::fn:                                                                                  \
    zip_row(shape, a, b, y, n, [](vf u, vf v) __attribute__((always_inline)) { return expression; }); \
    return true

bool binary(int fn, int shape, const float* a, const float* b, float* y, int64_t n) {
  switch (BinaryFn(fn)) {
    OCTAVO_ZIP(Add, vadd(u, v));
    OCTAVO_ZIP(Sub, vsub(u, v));
    OCTAVO_ZIP(Mul, vmul(u, v));
    OCTAVO_ZIP(Div, vdiv(u, v));
    OCTAVO_ZIP(Min, vselect(vnan(u), u, vmin(u, v)));
    OCTAVO_ZIP(Max, vselect(vnan(u), u, vmax(u, v)));
    OCTAVO_ZIP(PRelu, vselect(vlt(u, vset(0.0f)), vmul(v, u), u));
    default:
      return false;
  }
}
#undef OCTAVO_ZIP
