// The float32 functions, written once over the vocabulary (core/lane_f32.inl names it), so that scalar and SIMD code
// perform the same operations in the same order. Included inside a namespace, after a vocabulary.
// The polynomials are minimax fits (Lawson iteration) of our own.

// e^x for any x: Cody-Waite reduction x = n ln2 + r, |r| <= ln2 / 2, then a degree-6 polynomial.
OCTAVO_INLINE vf exp_reduced(vf x, vf& n) {
  n = vround(vmul(x, vset(1.44269504f)));
  vf r = vfma(n, vset(-0x1.62e4p-1f), x);
  r = vfma(n, vset(-0x1.7f7d1cp-20f), r);
  vf p = vset(0x1.6a242ep-10f);
  p = vfma(p, r, vset(0x1.1239dep-7f));
  p = vfma(p, r, vset(0x1.5558f2p-5f));
  p = vfma(p, r, vset(0x1.555492p-3f));
  p = vfma(p, r, vset(0x1.fffffcp-2f));
  return vadd(vfma(vmul(r, r), p, r), vset(1.0f));
}

// Overflows to infinity, goes down through the denormals: 2^n is applied in two exact-enough halves.
OCTAVO_INLINE vf f_exp(vf x) {
  const vf c = vmin(vset(89.0f), vmax(vset(-104.0f), x));
  vf n;
  const vf p = exp_reduced(c, n);
  const vf half = vfloor(vmul(n, vset(0.5f)));
  return vmul(vmul(p, vexp2i(half)), vexp2i(vsub(n, half)));
}

// e^x for x <= 0: results below the normal range become 0.
OCTAVO_INLINE vf f_exp_negative(vf x) {
  const vf c = vmax(vset(-87.0f), x);
  vf n;
  const vf p = exp_reduced(c, n);
  return vselect(vlt(x, vset(-87.0f)), vset(0.0f), vscale2(p, n));
}

OCTAVO_INLINE vf f_sigmoid(vf x) {
  const vf e = f_exp_negative(vneg(vabs(x)));
  const vf one = vset(1.0f);
  return vdiv(vselect(vlt(x, vset(0.0f)), e, one), vadd(one, e));
}

OCTAVO_INLINE vf f_tanh(vf x) {
  const vf a = vabs(x), s = vmul(x, x), one = vset(1.0f);
  vf p = vset(-0.0057170577f);
  p = vfma(p, s, vset(0.020650601f));
  p = vfma(p, s, vset(-0.053743504f));
  p = vfma(p, s, vset(0.13331491f));
  p = vfma(p, s, vset(-0.33333284f));
  const vf small = vfma(vmul(p, s), x, x);
  const vf e = f_exp_negative(vmul(a, vset(-2.0f)));
  const vf large = vcopysign(vdiv(vsub(one, e), vadd(one, e)), x);
  return vselect(vlt(a, vset(0.625f)), small, large);
}

// |x| < 1: x + x P(x^2); beyond: 1 - exp(Q(|x|)), Q ~ log erfc, flat from 4.05 on (where erfc is below half an ulp of
// 1).
OCTAVO_INLINE vf f_erf(vf x) {
  const vf a = vabs(x), s = vmul(x, x);
  vf p = vset(7.853871e-05f);
  p = vfma(p, s, vset(-0.00080101955f));
  p = vfma(p, s, vset(0.0051883277f));
  p = vfma(p, s, vset(-0.026853811f));
  p = vfma(p, s, vset(0.112835854f));
  p = vfma(p, s, vset(-0.37612626f));
  p = vfma(p, s, vset(0.12837917f));
  const vf small = vfma(p, x, x);
  const vf c = vmin(vset(4.05f), a);
  vf q = vset(0.00018556706f);
  q = vfma(q, c, vset(-0.002939538f));
  q = vfma(q, c, vset(0.021805039f));
  q = vfma(q, c, vset(-0.103036776f));
  q = vfma(q, c, vset(-0.63822633f));
  q = vfma(q, c, vset(-1.1270397f));
  q = vfma(q, c, vset(-0.00035382042f));
  vf n;
  const vf e = exp_reduced(q, n);
  const vf large = vcopysign(vsub(vset(1.0f), vscale2(e, n)), x);
  // NaN fails the comparison of both branches' validity and comes out of either.
  return vselect(vge(a, vset(1.0f)), large, small);
}

OCTAVO_INLINE vf f_relu(vf x) { return vmax(vset(0.0f), x); }
OCTAVO_INLINE vf f_clip(vf x, vf lo, vf hi) { return vmin(hi, vmax(lo, x)); }
OCTAVO_INLINE vf f_hard_sigmoid(vf x, vf alpha, vf beta) {
  return vmax(vset(0.0f), vmin(vset(1.0f), vadd(vmul(alpha, x), beta)));
}
// x Phi(x) = max(0, x) - |x| Phi(-|x|), where Phi(-a) is 2^Q(a); from a = 5.75 on the product does not count.
OCTAVO_INLINE vf f_gelu(vf x) {
  const vf a = vneg(vabs(x)), above = vmax(vset(0.0f), x);
  vf q = vset(-0x1.b203fap-18f);
  q = vfma(q, a, vset(-0x1.2f8836p-15f));
  q = vfma(q, a, vset(0x1.f6c1b8p-12f));
  q = vfma(q, a, vset(0x1.ea0c6ep-8f));
  q = vfma(q, a, vset(0x1.b026eep-5f));
  q = vfma(q, a, vset(-0x1.d627dp-2f));
  q = vfma(q, a, vset(0x1.26af42p+0f));
  q = vfma(q, a, vset(-1.0f));
  const vf n = vround(q), r = vsub(q, n);
  vf p = vset(0.001326472731307149f);
  p = vfma(p, r, vset(0.009671512991189957f));
  p = vfma(p, r, vset(0.05550733581185341f));
  p = vfma(p, r, vset(0.24022242426872253f));
  p = vfma(p, r, vset(0.6931470036506653f));
  p = vfma(p, r, vset(1.0f));
  return vselect(vgt(a, vset(-5.75f)), vfma(a, vscale2(p, n), above), above);
}
OCTAVO_INLINE vf f_gelu_tanh(vf x) {
  const vf inner = vadd(x, vmul(vset(0.044715f), vmul(vmul(x, x), x)));
  return vmul(vmul(vset(0.5f), x), vadd(vset(1.0f), f_tanh(vmul(vset(0.797884583f), inner))));
}
OCTAVO_INLINE vf f_sign(vf x) {
  const vf zero = vset(0.0f), one = vset(1.0f);
  return vselect(vgt(x, zero), one, vselect(vlt(x, zero), vset(-1.0f), vselect(vnan(x), x, zero)));
}
OCTAVO_INLINE vf f_elu(vf x, vf alpha) {
  return vselect(vlt(x, vset(0.0f)), vmul(alpha, vsub(f_exp(x), vset(1.0f))), x);
}
OCTAVO_INLINE vf f_leaky_relu(vf x, vf alpha) { return vselect(vlt(x, vset(0.0f)), vmul(alpha, x), x); }
OCTAVO_INLINE vf f_softsign(vf x) { return vdiv(x, vadd(vset(1.0f), vabs(x))); }
OCTAVO_INLINE vf f_selu(vf x, vf alpha, vf gamma) { return vmul(gamma, f_elu(x, alpha)); }
OCTAVO_INLINE vf f_celu(vf x, vf alpha) { return vselect(vlt(x, vset(0.0f)), f_elu(vdiv(x, alpha), alpha), x); }
OCTAVO_INLINE vf f_thresholded_relu(vf x, vf alpha) { return vselect(vgt(x, alpha), x, vset(0.0f)); }
OCTAVO_INLINE vf f_shrink(vf x, vf lambd, vf bias) {
  return vselect(vlt(x, vneg(lambd)), vadd(x, bias), vselect(vgt(x, lambd), vsub(x, bias), vset(0.0f)));
}
OCTAVO_INLINE vf f_mish(vf x) {
  const vf two = vset(2.0f), e = f_exp(vmin(vset(20.0f), x)), w = vmul(e, vadd(e, two));
  return vmul(x, vdiv(w, vadd(w, two)));
}
