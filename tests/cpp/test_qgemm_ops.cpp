// QConv, QGemm, QMatMul, MatMulInteger and QGemmDynamic as operators, against plain loops: geometry, padding by border
// and by copy, strided and external views, groups, zero points, broadcasting, refusals.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "core/arith.h"
#include "core/buffer.h"
#include "ops/op.h"

namespace octavo {
std::unique_ptr<Op> make_QConv(const BindContext&);
std::unique_ptr<Op> make_QGemm(const BindContext&);
std::unique_ptr<Op> make_QMatMul(const BindContext&);
std::unique_ptr<Op> make_MatMulInteger(const BindContext&);
std::unique_ptr<Op> make_QGemmDynamic(const BindContext&);
}  // namespace octavo

namespace {

using namespace octavo;
using check::Random;

Shape shape(std::initializer_list<int64_t> d) {
  Shape s;
  for (int64_t x : d) s.dim[s.rank++] = x;
  return s;
}

// A tensor in memory that ends with it (external) or has slack (inside), dense or with pitches and a border.
struct Tensor {
  View v;
  std::vector<uint8_t> bytes;

  Tensor() = default;
  Tensor(DType t, const Shape& s, bool external, bool constant = false) {
    v.dtype = t, v.shape = s, v.external = external, v.constant = constant;
    v.set_dense_pitches();
    bytes.assign(v.bytes() + (external ? 0 : kSlack), 0);
    v.data = bytes.data();
  }
  // [N, H, W, C] with `gap` elements after each pixel and a border filled with `fill`.
  void make_strided(int64_t gap, Border b, uint8_t fill) {
    const size_t e = size_of(v.dtype);
    const Shape s = v.shape;
    const bool one_d = s.rank == 3;
    const int64_t n = s[0], h = one_d ? 1 : s[1], w = s[-2];
    if (one_d) b.top = b.bottom = 0;
    v.pixel_pitch = s[-1] + gap;
    v.row_pitch = (w + b.left + b.right) * v.pixel_pitch;
    v.image_pitch = one_d ? 0 : (h + b.top + b.bottom) * v.row_pitch;
    v.border = b;
    const int64_t image = one_d ? v.row_pitch : v.image_pitch;
    bytes.assign(size_t(n * image) * e + kSlack, fill);
    v.data = bytes.data() + size_t(b.top * v.row_pitch + b.left * v.pixel_pitch) * e;
  }
  int64_t offset(int64_t n, int64_t h, int64_t w, int64_t c) const {
    const bool one_d = v.shape.rank == 3;
    return n * (one_d ? v.row_pitch : v.image_pitch) + (one_d ? 0 : h * v.row_pitch) + w * v.pixel_pitch + c;
  }
  void randomise(Random& r, int64_t lo, int64_t hi) {
    const Shape s = v.shape;
    const int64_t c = s.rank ? s[-1] : 1, w = s.rank >= 2 ? s[-2] : 1;
    const bool image = s.rank >= 3;
    const int64_t h = s.rank == 4 ? s[1] : 1, n = image ? s[0] : 1;
    for (int64_t i = 0; i < n; i++)
      for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
          for (int64_t k = 0; k < c; k++) {
            const int64_t at = image ? offset(i, y, x, k) : x * c + k;
            const int64_t value = r.between(lo, hi);
            switch (v.dtype) {
              case DType::u8:
                v.as<uint8_t>()[at] = uint8_t(value);
                break;
              case DType::s8:
                v.as<int8_t>()[at] = int8_t(value);
                break;
              case DType::s16:
                v.as<int16_t>()[at] = int16_t(value);
                break;
              case DType::s32:
                v.as<int32_t>()[at] = int32_t(value);
                break;
              default:
                v.as<float>()[at] = float(value) / 50000.0f;
                break;
            }
          }
  }
};

struct Runner {
  StepDef step;
  std::vector<Tensor*> in;
  Tensor out;
  std::unique_ptr<Op> op;

  BindContext context(Isa isa) {
    BindContext b{step, isa, {}, {}};
    for (Tensor* t : in) {
      BindContext::Operand o;
      if (t)
        o.dtype = t->v.dtype, o.rank = t->v.shape.rank, o.present = true, o.constant = t->v.constant ? &t->v : nullptr;
      b.inputs.push_back(o);
    }
    b.outputs.push_back({out.v.dtype, out.v.shape.rank, nullptr, true});
    return b;
  }
  Shape infer() {
    InferContext ctx{step, {}, std::vector<Shape>(1)};
    for (Tensor* t : in) ctx.in.push_back(t ? t->v : View{});
    op->infer(ctx);
    return ctx.out[0];
  }
  void run(int threads) {
    std::vector<View> views;
    for (Tensor* t : in) views.push_back(t ? t->v : View{});
    Buffer scratch(op->scratch_bytes(views.data(), &out.v, threads));
    std::memset(scratch.data(), 0xCD, scratch.size());
    Region pool(threads);
    RunContext ctx{views.data(), &out.v, int(views.size()), 1, scratch.as<uint8_t>(), pool};
    op->run(ctx);
  }
};

int32_t weight(const View& w, int64_t i) {
  return w.dtype == DType::s8 ? int32_t(w.as<int8_t>()[i]) : int32_t(w.as<int16_t>()[i]);
}

void convolution(Isa isa, Random& r, int round) {
  const bool one_d = r.between(0, 4) == 0, wide = r.between(0, 3) == 0, f32 = r.between(0, 5) == 0;
  const int64_t group = r.between(0, 2) == 0 ? r.between(2, 70) : 1, gc = r.between(0, 3) ? r.between(1, 9) : 1,
                go = r.between(0, 3) ? r.between(2, 40) : 1;
  const int64_t kh = one_d ? 1 : r.between(1, 4), kw = r.between(1, 4), n = r.between(1, 2);
  const int64_t sh = one_d ? 1 : r.between(1, 2), sw = r.between(1, 3), dh = one_d ? 1 : r.between(1, 2),
                dw = r.between(1, 2);
  int64_t pad[4] = {one_d ? 0 : r.between(0, 2), r.between(0, 2), one_d ? 0 : r.between(0, 2), r.between(0, 2)};
  if (r.between(0, 2) == 0) pad[0] = pad[1] = pad[2] = pad[3] = 0;
  const int64_t h = one_d ? 1 : r.between((kh - 1) * dh + 1, 12), w = r.between((kw - 1) * dw + 1, 13);
  const int64_t c = group * gc, o = group * go;
  const bool has_z = !f32 && r.between(0, 2) == 0, has_table = !f32 && r.between(0, 2) == 0;
  const int32_t x_zp = int32_t(r.between(0, 255)), y_zp = int32_t(r.between(0, 255));
  const int mode = int(r.between(0, 3));  // external, dense inside, strided with border, strided without

  Tensor x(DType::u8, one_d ? shape({n, w, c}) : shape({n, h, w, c}), mode == 0);
  if (mode == 2)
    x.make_strided(r.between(0, 1) * 5, {int32_t(pad[0] + 1), int32_t(pad[1]), int32_t(pad[2]), int32_t(pad[3] + 1)},
                   uint8_t(x_zp));
  if (mode == 3) x.make_strided(r.between(0, 7), {0, 0, 0, 0}, 0x77);
  x.randomise(r, 0, 255);
  Tensor k(wide ? DType::s16 : DType::s8, one_d ? shape({o, kw, gc}) : shape({o, kh, kw, gc}), false, true);
  k.randomise(r, wide ? -255 : -128, wide ? 255 : 127);
  Tensor bias(DType::s32, shape({o}), false, true), m(DType::f32, shape({r.between(0, 1) ? o : 1}), false, true);
  bias.randomise(r, -20000, 20000), m.randomise(r, -100, 300);
  Tensor table(DType::u8, shape({256}), false, true), z;
  table.randomise(r, 0, 255);

  Runner t;
  t.step.op = "QConv", t.step.name = "conv";
  const std::vector<int64_t> pads =
      one_d ? std::vector<int64_t>{pad[1], pad[3]} : std::vector<int64_t>{pad[0], pad[1], pad[2], pad[3]};
  t.step.attrs = {{"strides", one_d ? std::vector<int64_t>{sw} : std::vector<int64_t>{sh, sw}},
                  {"dilations", one_d ? std::vector<int64_t>{dw} : std::vector<int64_t>{dh, dw}},
                  {"pads", pads},
                  {"group", group},
                  {"x_zp", int64_t(x_zp)},
                  {"y_zp", int64_t(y_zp)},
                  {"lo", int64_t(3)},
                  {"hi", int64_t(251)},
                  {"out_f32", int64_t(f32)},
                  {"add_za", int64_t(y_zp)},
                  {"add_zb", int64_t(9)},
                  {"add_sa", 0.08},
                  {"add_sb", 0.045},
                  {"add_sy", 0.1},
                  {"add_zp", int64_t(70)},
                  {"add_lo", int64_t(70)},
                  {"add_hi", int64_t(255)}};
  t.out.v.dtype = f32 ? DType::f32 : DType::u8;
  t.out.v.shape = x.v.shape;
  t.in = {&x, &k, r.between(0, 2) ? &bias : nullptr, &m};
  z.v.dtype = DType::u8, z.v.shape = x.v.shape;
  if (has_z || has_table) t.in.push_back(has_z ? &z : nullptr);
  if (has_table) t.in.push_back(&table);
  t.op = make_QConv(t.context(isa));
  if (has_z) {  // its shape is the output's
    t.in[4] = nullptr;
    Runner probe;
    probe.step = t.step;
    probe.in = {&x, &k, nullptr, &m};
    probe.out.v = t.out.v;
    probe.op = make_QConv(probe.context(isa));
    z = Tensor(DType::u8, probe.infer(), true);
    if (r.between(0, 1)) z.make_strided(3, {1, 0, 0, 1}, 1);
    z.randomise(r, 0, 255);
    t.in[4] = &z;
  }
  const Shape ys = t.infer();
  t.out = Tensor(f32 ? DType::f32 : DType::u8, ys, true);
  const bool strided_out = r.between(0, 1);
  if (strided_out) t.out.make_strided(4, {1, 1, 1, 1}, 0xEE);
  t.run(int(r.between(1, 2)));

  const AddParams add = {y_zp, 9, 70, 70, 255, 0.08f, 0.045f, 0.1f};
  const int64_t oh = one_d ? 1 : ys[1], ow = ys[-2];
  bool ok = true;
  for (int64_t i = 0; i < n; i++)
    for (int64_t y = 0; y < oh; y++)
      for (int64_t xx = 0; xx < ow; xx++)
        for (int64_t q = 0; q < o; q++) {
          int32_t acc = t.in[2] ? bias.v.as<int32_t>()[q] : 0;
          for (int64_t ky = 0; ky < kh; ky++)
            for (int64_t kx = 0; kx < kw; kx++)
              for (int64_t cc = 0; cc < gc; cc++) {
                const int64_t iy = y * sh + ky * dh - pad[0], ix = xx * sw + kx * dw - pad[1];
                const int32_t v = iy < 0 || iy >= h || ix < 0 || ix >= w
                                      ? x_zp
                                      : x.v.as<uint8_t>()[x.offset(i, iy, ix, q / go * gc + cc)];
                acc += v * weight(k.v, ((q * kh + ky) * kw + kx) * gc + cc);
              }
          const float mm = m.v.as<float>()[m.v.elements() == 1 ? 0 : q];
          const int64_t at = t.out.offset(i, y, xx, q);
          if (f32) {
            ok = ok && t.out.v.as<float>()[at] == float(acc) * mm;
            continue;
          }
          int32_t want = requantize(acc, mm, y_zp, 3, 251);
          if (has_z) want = quantized_add(want, z.v.as<uint8_t>()[z.offset(i, y, xx, q)], add);
          if (has_table) want = table.v.as<uint8_t>()[want];
          ok = ok && t.out.v.as<uint8_t>()[at] == want;
        }
  if (!CHECK(ok)) std::printf("  %s round %d: %s\n", name_of(isa), round, t.op->kernel().c_str());
  if (strided_out && !f32) {  // nothing outside the pixels was written
    size_t foreign = 0;
    for (uint8_t b : t.out.bytes) foreign += b == 0xEE;
    CHECK(foreign >= t.out.bytes.size() - size_t(n * oh * ow * o));
    for (int64_t i = 0; i < n; i++)
      for (int64_t xx = 0; xx < ow; xx++)
        for (int64_t g = 0; g < 4; g++) CHECK(t.out.v.as<uint8_t>()[t.out.offset(i, 0, xx, o + g)] == 0xEE);
  }
}

void gemm(Isa isa, Random& r, bool large) {
  // `large`: weights that do not fit the cache at once, so that the driver walks them in blocks.
  const int64_t kk = large ? 1531 : r.between(1, 70), n = large ? r.between(500, 530) : r.between(1, 200);
  const int64_t rows = large ? 3 : r.between(1, 20), lead = large ? 1 : r.between(1, 3);
  const bool has_z = large || r.between(0, 1);
  const int rank = int(r.between(1, 4));
  Shape xs = rank == 1   ? shape({kk})
             : rank == 2 ? shape({rows, kk})
             : rank == 3 ? shape({lead, rows, kk})
                         : shape({2, lead, rows, kk});
  Tensor x(DType::u8, xs, r.between(0, 1)), w(DType::s8, shape({n, kk}), false, true),
      m(DType::f32, shape({n}), false, true);
  if (rank >= 3 && r.between(0, 1)) x.make_strided(r.between(0, 6), {0, 0, 0, 0}, 0);
  x.randomise(r, 0, 255), w.randomise(r, -128, 127), m.randomise(r, -100, 300);
  Runner t;
  t.step.op = "QGemm", t.step.name = "fc";
  t.step.attrs = {{"y_zp", int64_t(17)}, {"add_za", int64_t(17)}, {"add_zb", int64_t(9)},  {"add_sa", 0.08},
                  {"add_sb", 0.045},     {"add_sy", 0.1},         {"add_zp", int64_t(70)}, {"add_lo", int64_t(3)}};
  const AddParams add = {17, 9, 70, 3, 255, 0.08f, 0.045f, 0.1f};
  Shape ys = xs;
  ys.dim[ys.rank - 1] = n;
  Tensor z(DType::u8, ys, true);
  z.randomise(r, 0, 255);
  t.in = {&x, &w, nullptr, &m};
  if (has_z) t.in.push_back(&z);
  t.out.v.dtype = DType::u8;
  t.op = make_QGemm(t.context(isa));
  t.out = Tensor(DType::u8, t.infer(), true);
  t.run(2);
  bool ok = true;
  const int64_t total = xs.elements() / kk;
  for (int64_t i = 0; i < total; i++)
    for (int64_t c = 0; c < n; c++) {
      int32_t acc = 0;
      const int64_t at = rank >= 3 ? (rank == 4 ? x.offset(i / rows / lead, i / rows % lead, i % rows, 0)
                                                : x.offset(i / rows, 0, i % rows, 0))
                                   : i * kk;
      for (int64_t q = 0; q < kk; q++) acc += x.v.as<uint8_t>()[at + q] * w.v.as<int8_t>()[c * kk + q];
      int32_t want = requantize(acc, m.v.as<float>()[c], 17, 0, 255);
      if (has_z) want = quantized_add(want, z.v.as<uint8_t>()[i * n + c], add);
      ok = ok && t.out.v.as<uint8_t>()[i * n + c] == want;
    }
  CHECK(ok);
}

void product(Isa isa, Random& r) {
  const bool quantized = r.between(0, 1), f32 = quantized && r.between(0, 2) == 0;
  const bool sa = !quantized && r.between(0, 1), sb = !quantized && r.between(0, 1);
  const int64_t mm = r.between(1, 12), kk = r.between(1, 40), n = r.between(1, 150);
  // Batch axes of a, of b and of the result.
  const Shape batches[5][3] = {{shape({}), shape({}), shape({})},
                               {shape({3}), shape({}), shape({3})},
                               {shape({2, 3}), shape({2, 3}), shape({2, 3})},
                               {shape({2, 1}), shape({3}), shape({2, 3})},
                               {shape({}), shape({4}), shape({4})}};
  const Shape* lead = batches[r.between(0, 4)];
  auto with = [](Shape s, int64_t p, int64_t q) {
    s.dim[s.rank++] = p, s.dim[s.rank++] = q;
    return s;
  };
  const bool constant = lead[1].rank == 0 && r.between(0, 1);
  Tensor a(sa ? DType::s8 : DType::u8, with(lead[0], mm, kk), r.between(0, 1)),
      b(sb ? DType::s8 : DType::u8, with(lead[1], kk, n), true, constant);
  for (auto& v : a.bytes) v = uint8_t(r.next());
  for (auto& v : b.bytes) v = uint8_t(r.next());
  Tensor az(a.v.dtype, shape({}), true), bz(b.v.dtype, r.between(0, 1) ? shape({n}) : shape({1}), true),
      m(DType::f32, shape({1}), false, true);
  for (auto& v : az.bytes) v = uint8_t(r.next());
  for (auto& v : bz.bytes) v = uint8_t(r.next());
  m.v.as<float>()[0] = 0.0007f;
  const int64_t qa = r.between(0, 255), qb = r.between(0, 3) ? r.between(0, 255) : 128;
  Runner t;
  t.step.op = quantized ? "QMatMul" : "MatMulInteger", t.step.name = "product";
  if (quantized)
    t.step.attrs = {{"a_zp", qa},       {"b_zp", qb},         {"y_zp", int64_t(99)},
                    {"lo", int64_t(1)}, {"hi", int64_t(250)}, {"out_f32", int64_t(f32)}};
  t.in = {&a, &b};
  if (quantized)
    t.in.push_back(&m);
  else
    t.in.push_back(r.between(0, 3) ? &az : nullptr), t.in.push_back(r.between(0, 3) ? &bz : nullptr);
  const DType yt = !quantized ? DType::s32 : f32 ? DType::f32 : DType::u8;
  t.out.v.dtype = yt;
  t.op = quantized ? make_QMatMul(t.context(isa)) : make_MatMulInteger(t.context(isa));
  t.out = Tensor(yt, t.infer(), true);
  CHECK(t.out.v.shape == with(lead[2], mm, n));
  t.run(int(r.between(1, 3)));
  auto value = [](const View& v, int64_t i) {
    return v.dtype == DType::s8 ? int32_t(v.as<int8_t>()[i]) : int32_t(v.as<uint8_t>()[i]);
  };
  const int64_t count = lead[2].elements(), na = lead[0].elements(), nb = lead[1].elements();
  bool ok = true;
  for (int64_t i = 0; i < count; i++) {
    const int64_t ia = na == 1 ? 0 : na == count ? i : i / 3, ib = nb == 1 ? 0 : nb == count ? i : i % 3;
    for (int64_t p = 0; p < mm; p++)
      for (int64_t c = 0; c < n; c++) {
        int32_t acc = 0;
        const int32_t za = quantized ? int32_t(qa) : t.in[2] ? value(az.v, 0) : 0;
        const int32_t zb = quantized ? int32_t(qb) : t.in[3] ? value(bz.v, bz.v.elements() == 1 ? 0 : c) : 0;
        for (int64_t q = 0; q < kk; q++)
          acc += (value(a.v, (ia * mm + p) * kk + q) - za) * (value(b.v, (ib * kk + q) * n + c) - zb);
        const int64_t at = (i * mm + p) * n + c;
        if (yt == DType::s32) ok = ok && t.out.v.as<int32_t>()[at] == acc;
        if (yt == DType::f32) ok = ok && t.out.v.as<float>()[at] == float(acc) * 0.0007f;
        if (yt == DType::u8) ok = ok && t.out.v.as<uint8_t>()[at] == requantize(acc, 0.0007f, 99, 1, 250);
      }
  }
  if (!CHECK(ok))
    std::printf("  %s %s %lldx%lldx%lld\n", name_of(isa), t.step.op.c_str(), (long long)mm, (long long)kk,
                (long long)n);
}

void dynamic(Isa isa, Random& r) {
  const int64_t rows = r.between(1, 20), kk = r.between(1, 70), n = r.between(1, 90);
  const bool wide = r.between(0, 2) == 0;
  Tensor x(DType::u8, shape({2, rows, kk}), r.between(0, 1)), zp(DType::u8, shape({}), true),
      scale(DType::f32, shape({}), true);
  Tensor w(wide ? DType::s16 : DType::s8, shape({n, kk}), false, true),
      m(DType::f32, shape({r.between(0, 1) ? n : 1}), false, true);
  Tensor bias(DType::f32, shape({n}), false, true), z(DType::f32, shape({2, rows, n}), true);
  if (r.between(0, 1)) x.make_strided(r.between(0, 6), {0, 0, 0, 0}, 0);
  x.randomise(r, 0, 255), w.randomise(r, wide ? -255 : -128, wide ? 255 : 127), m.randomise(r, -100, 300);
  bias.randomise(r, -100000, 100000), z.randomise(r, -100000, 100000);
  *zp.v.as<uint8_t>() = uint8_t(r.next());
  *scale.v.as<float>() = float(r.between(1, 1000)) / 77777.0f;
  Runner t;
  t.step.op = "QGemmDynamic", t.step.name = "dynamic";
  const bool relu = find_op("Unary") != nullptr && r.between(0, 1);
  t.step.attrs = {{"act", std::string(relu ? "Relu" : "")}};
  t.in = {&x, &zp, &w, &scale, &m, r.between(0, 1) ? &bias : nullptr, r.between(0, 1) ? &z : nullptr};
  t.out.v.dtype = DType::f32;
  t.op = make_QGemmDynamic(t.context(isa));
  t.out = Tensor(DType::f32, t.infer(), true);
  t.run(2);
  bool ok = true;
  for (int64_t i = 0; i < 2 * rows; i++)
    for (int64_t c = 0; c < n; c++) {
      int32_t acc = 0;
      for (int64_t q = 0; q < kk; q++)
        acc += (x.v.as<uint8_t>()[x.offset(i / rows, 0, i % rows, q)] - *zp.v.as<uint8_t>()) * weight(w.v, c * kk + q);
      float y = float(acc) * (*scale.v.as<float>() * m.v.as<float>()[m.v.elements() == 1 ? 0 : c]);
      if (t.in[5]) y = y + bias.v.as<float>()[c];
      if (t.in[6]) y = y + z.v.as<float>()[i * n + c];
      if (relu) y = y > 0.0f ? y : 0.0f;
      ok = ok && t.out.v.as<float>()[i * n + c] == y;
    }
  CHECK(ok);
}

// Hostile attributes and shapes are refused by name, not run.
void refusals() {
  Tensor x(DType::u8, shape({1, 5, 5, 4}), true), w(DType::s8, shape({8, 3, 3, 4}), false, true),
      m(DType::f32, shape({8}), false, true), z(DType::u8, shape({1, 3, 3, 8}), true);
  bool residual = false;
  auto refused = [&](std::map<std::string, Attr> attrs) {
    Runner t;
    t.step.op = "QConv", t.step.name = "bad";
    t.step.attrs = std::move(attrs);
    t.in = {&x, &w, nullptr, &m};
    if (residual) t.in.push_back(&z);
    t.out.v.dtype = DType::u8;
    try {
      t.op = make_QConv(t.context(Isa::scalar));
      t.infer();
    } catch (const Error& e) {
      return std::string(e.what()).find("bad") != std::string::npos;
    }
    return false;
  };
  using L = std::vector<int64_t>;
  CHECK(!refused({}));
  CHECK(refused({{"strides", L{0, 1}}}));
  CHECK(refused({{"strides", L{1}}}));
  CHECK(refused({{"dilations", L{1, int64_t(1) << 40}}}));
  CHECK(refused({{"dilations", L{3, 1}}}));
  CHECK(refused({{"pads", L{0, -1, 0, 0}}}));
  CHECK(refused({{"pads", L{0, int64_t(1) << 50, 0, 0}}}));
  CHECK(refused({{"group", int64_t(3)}}));
  CHECK(refused({{"group", int64_t(0)}}));
  CHECK(refused({{"group", int64_t(2)}}));  // then x would need eight channels
  CHECK(refused({{"x_zp", int64_t(256)}}));
  CHECK(refused({{"lo", int64_t(9)}, {"hi", int64_t(8)}}));
  CHECK(refused({{"y_zp", std::string("x")}}));
  residual = true;
  CHECK(!refused({{"add_sa", 0.5}, {"add_sb", -0.5}, {"add_sy", 1e-44}}));
  CHECK(refused({{"add_sa", 0.5}, {"add_sb", 0.5}}));
  CHECK(refused({{"add_sa", 0.5}, {"add_sb", 0.5}, {"add_sy", 0.0}}));
  CHECK(refused({{"add_sa", 0.5}, {"add_sb", 0.5}, {"add_sy", 1e-60}}));  // zero as a float32
  CHECK(refused({{"add_sa", 0.5}, {"add_sb", 0.5}, {"add_sy", -0.5}}));
  CHECK(refused({{"add_sa", 0.5}, {"add_sb", 1e39}, {"add_sy", 0.5}}));
  CHECK(refused({{"add_sa", __builtin_nan("")}, {"add_sb", 0.5}, {"add_sy", 0.5}}));
  residual = false;
  m.v.as<float>()[3] = __builtin_inff();
  CHECK(refused({}));
}

}  // namespace

int main() {
  refusals();
  for (Isa isa : compiled_isas()) {
    if (!supported(isa)) continue;
    Random r;
    for (int i = 0; i < 400; i++) convolution(isa, r, i);
    for (int i = 0; i < 100; i++) gemm(isa, r, i % 50 == 0);
    for (int i = 0; i < 300; i++) product(isa, r);
    for (int i = 0; i < 100; i++) dynamic(isa, r);
  }
  return check::finish();
}
