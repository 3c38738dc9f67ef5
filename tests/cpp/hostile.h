// Damages plans: valid ones in, plans no honest compiler would write out. Everything follows from one random sequence.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/crc32.h"
#include "ops/op.h"
#include "plan/plan.h"
#include "tools/feeds.h"
#include "tools/one_step.h"

namespace octavo {
namespace hostile {

using Ints = std::vector<int64_t>;

inline int64_t any_int(Random& r) {
  static const int64_t some[] = {0,
                                 1,
                                 2,
                                 3,
                                 7,
                                 8,
                                 16,
                                 64,
                                 127,
                                 128,
                                 255,
                                 256,
                                 -1,
                                 -2,
                                 -8,
                                 -128,
                                 4095,
                                 1000000,
                                 INT32_MAX,
                                 INT32_MIN,
                                 int64_t(1) << 31,
                                 1LL << 32,
                                 1LL << 40,
                                 1LL << 62,
                                 -(1LL << 40),
                                 INT64_MAX,
                                 INT64_MIN,
                                 INT64_MAX - 1};
  return r.between(0, 2) == 0 ? r.between(-3, 9) : some[r.between(0, int64_t(sizeof some / sizeof *some) - 1)];
}

inline double any_real(Random& r) {
  static const double some[] = {0.0,  -0.0, -1.0, 1.0, 1e-300,   1e300,     1e38, 1e-38,
                                1e39, 0.5,  -0.5, NAN, INFINITY, -INFINITY, 255};
  return some[r.between(0, int64_t(sizeof some / sizeof *some) - 1)];
}

inline std::string any_text(Random& r) {
  static const char* some[] = {"",
                               "?",
                               "Relu",
                               "Clip",
                               "LeakyRelu",
                               "Gelu",
                               "Add",
                               "Mod",
                               "Pow",
                               "Div",
                               "And",
                               "Less",
                               "PRelu",
                               "Mean",
                               "Prod",
                               "Max",
                               "cubic",
                               "linear",
                               "nearest",
                               "reflect",
                               "edge",
                               "wrap",
                               "constant",
                               "CRD",
                               "DCR",
                               "asymmetric",
                               "align_corners",
                               "tf_crop_and_resize",
                               "floor",
                               "Not",
                               "L2",
                               "HardSigmoid",
                               "half_pixel_symmetric",
                               "round_prefer_ceil",
                               "Exp"};
  return some[r.between(0, int64_t(sizeof some / sizeof *some) - 1)];
}

inline DType any_dtype(Random& r) {
  static const DType some[] = {DType::f32, DType::u8,      DType::s8,  DType::u16, DType::s16, DType::s32,
                               DType::s64, DType::boolean, DType::f16, DType::f64, DType::u32, DType::u64};
  return some[r.between(0, int64_t(sizeof some / sizeof *some) - 1)];
}

inline Attr any_attr(Random& r) {
  switch (r.between(0, 7)) {
    case 0:
      return any_real(r);
    case 1:
      return any_text(r);
    case 2:
    case 3: {
      Ints v(size_t(r.between(0, 9)));
      for (auto& x : v) x = any_int(r);
      return v;
    }
    case 4: {
      std::vector<double> v(size_t(r.between(0, 5)));
      for (auto& x : v) x = any_real(r);
      return v;
    }
    default:
      return any_int(r);
  }
}

// Attributes some operator reads, so that optional ones appear where they were left out.
inline std::string any_key(Random& r) {
  static const char* some[] = {"axis",
                               "axes",
                               "keepdims",
                               "perm",
                               "pads",
                               "strides",
                               "dilations",
                               "kernel_shape",
                               "group",
                               "lo",
                               "hi",
                               "x_zp",
                               "y_zp",
                               "zp",
                               "out_f32",
                               "act",
                               "act_lo",
                               "act_hi",
                               "act_alpha",
                               "act_beta",
                               "ceil_mode",
                               "count_include_pad",
                               "output_padding",
                               "blocksize",
                               "mode",
                               "to",
                               "start",
                               "end",
                               "split",
                               "num_outputs",
                               "allowzero",
                               "noop_with_empty_axes",
                               "trans_b",
                               "scales",
                               "fn",
                               "alpha",
                               "beta",
                               "block_size",
                               "nearest_mode",
                               "coordinate_transformation_mode",
                               "m",
                               "r",
                               "acc64",
                               "log",
                               "select_last_index",
                               "cubic_coeff_a",
                               "exclude_outside",
                               "antialias"};
  return some[r.between(0, int64_t(sizeof some / sizeof *some) - 1)];
}

template <class T>
T& pick(Random& r, std::vector<T>& of) {
  return of[size_t(r.between(0, int64_t(of.size()) - 1))];
}

inline void damage_attr(Random& r, StepDef& step) {
  if (step.attrs.empty() || r.between(0, 5) == 0) {
    step.attrs[any_key(r)] = any_attr(r);
    return;
  }
  auto it = step.attrs.begin();
  std::advance(it, r.between(0, int64_t(step.attrs.size()) - 1));
  const int64_t kind = r.between(0, 9);
  if (kind == 0) {
    step.attrs.erase(it);
  } else if (kind == 1) {
    it->second = any_attr(r);
  } else if (auto* i = std::get_if<int64_t>(&it->second)) {
    *i = any_int(r);
  } else if (auto* f = std::get_if<double>(&it->second)) {
    *f = any_real(r);
  } else if (auto* s = std::get_if<std::string>(&it->second)) {
    *s = any_text(r);
  } else if (auto* v = std::get_if<Ints>(&it->second)) {
    if (kind == 2) v->push_back(any_int(r));
    if (kind == 3 && !v->empty()) v->pop_back();
    if (kind > 3 && !v->empty()) pick(r, *v) = any_int(r);
  } else if (auto* w = std::get_if<std::vector<double>>(&it->second)) {
    if (kind == 2) w->push_back(any_real(r));
    if (kind > 2 && !w->empty()) pick(r, *w) = any_real(r);
  }
}

inline void damage_links(Random& r, Plan& plan, StepDef& step) {
  const auto any_value = [&] { return int32_t(r.between(-1, int64_t(plan.values.size()) - 1)); };
  switch (r.between(0, 7)) {
    case 0:
      if (!step.inputs.empty()) step.inputs.pop_back();
      break;
    case 1:
      step.inputs.push_back(any_value());
      break;
    case 2:
      if (step.inputs.size() > 1) std::swap(pick(r, step.inputs), pick(r, step.inputs));
      break;
    case 3:
    case 4:
      if (!step.inputs.empty()) pick(r, step.inputs) = any_value();
      break;
    case 5:
      if (step.outputs.size() > 1) std::swap(step.outputs.front(), step.outputs.back());
      break;
    case 6: {  // a result nobody asked for
      ValueDef extra;
      extra.name = "extra";
      extra.dtype = any_dtype(r);
      extra.rank = int(r.between(0, 4));
      extra.dims.resize(size_t(extra.rank));
      plan.values.push_back(extra);
      step.outputs.push_back(int32_t(plan.values.size()) - 1);
      break;
    }
    default:
      if (!step.outputs.empty()) step.outputs.pop_back();
  }
}

// Gives constant k new memory of this dtype and shape (at most a MiB), part of it as it was.
inline void replace_constant(Random& r, Plan& plan, int32_t value, DType dtype, const Shape& shape) {
  ValueDef& def = plan.values[value];
  View& c = plan.constants[def.constant];
  if (shape.extent(1 << 17) < 0) return;
  View fresh;
  fresh.dtype = dtype;
  fresh.shape = shape;
  fresh.constant = true;
  fresh.set_dense_pitches();
  auto memory = std::make_shared<Buffer>(fresh.bytes(), true);
  if (c.bytes() > 0 && fresh.bytes() > 0) std::memcpy(memory->data(), c.data, std::min(c.bytes(), fresh.bytes()));
  if (r.between(0, 1)) fill_random(r, dtype, shape.elements(), memory->data());
  fresh.data = memory->data();
  plan.storage.push_back(memory);
  c = fresh;
  def.dtype = dtype;
  def.rank = shape.rank;
  def.dims.assign(size_t(shape.rank), Dim{});
  for (int i = 0; i < shape.rank; i++) def.dims[size_t(i)].size = shape[i];
}

inline void damage_constant(Random& r, Plan& plan, int32_t value) {
  const View c = plan.constants[plan.values[value].constant];
  Shape s = c.shape;
  switch (r.between(0, 4)) {
    case 0:
      if (s.rank > 0) s.dim[r.between(0, s.rank - 1)] = r.between(0, 9);
      replace_constant(r, plan, value, c.dtype, s);
      break;
    case 1:
      s.rank = int(r.between(0, kMaxRank));
      for (int i = c.shape.rank; i < s.rank; i++) s.dim[i] = r.between(0, 3) ? 1 : 2;
      replace_constant(r, plan, value, c.dtype, s);
      break;
    case 2:
      replace_constant(r, plan, value, any_dtype(r), s);
      break;
    default: {
      replace_constant(r, plan, value, c.dtype, s);
      const View fresh = plan.constants[plan.values[value].constant];
      if (fresh.elements() == 0) break;
      for (int64_t n = r.between(1, 3); n > 0; n--) {
        char* at = fresh.as<char>() + size_t(r.between(0, fresh.elements() - 1)) * size_of(c.dtype);
        const int64_t i = any_int(r);
        const double d = any_real(r);
        const auto f = float(d);
        if (c.dtype == DType::f32)
          std::memcpy(at, &f, 4);
        else if (c.dtype == DType::f64)
          std::memcpy(at, &d, 8);
        else
          std::memcpy(at, &i, size_of(c.dtype));
      }
    }
  }
}

inline void damage_value(Random& r, Plan& plan) {
  const auto k = int32_t(r.between(0, int64_t(plan.values.size()) - 1));
  ValueDef& v = plan.values[k];
  if (v.constant >= 0) return damage_constant(r, plan, k);
  switch (r.between(0, 2)) {
    case 0:
      v.dtype = any_dtype(r);
      break;
    case 1:
      v.rank = int(r.between(0, 6));
      v.dims.resize(size_t(v.rank));
      break;
    default:
      if (!v.dims.empty()) pick(r, v.dims).size = r.between(0, 1) ? -1 : any_int(r);
  }
}

// A step after the others, of any operator, over any values: meets the planner's sharing, folding and placing.
inline void add_step(Random& r, Plan& plan, const std::vector<std::string>& ops) {
  StepDef step;
  step.op = ops[size_t(r.between(0, int64_t(ops.size()) - 1))];
  step.name = "added";
  for (int64_t n = r.between(1, 3); n > 0; n--)
    step.inputs.push_back(int32_t(r.between(0, int64_t(plan.values.size()) - 1)));
  for (int64_t n = r.between(0, 3); n > 0; n--) step.attrs[any_key(r)] = any_attr(r);
  if (r.between(0, 1)) step.attrs["axis"] = r.between(-2, 2);
  if (r.between(0, 1)) step.attrs["fn"] = any_text(r);
  const ValueDef& like = plan.values[step.inputs[0]];
  ValueDef result;
  result.name = "added";
  result.dtype = r.between(0, 3) ? like.dtype : any_dtype(r);
  result.rank = r.between(0, 3) ? like.rank : int(r.between(0, 4));
  result.dims.resize(size_t(result.rank < 0 ? 0 : result.rank));
  plan.values.push_back(result);
  const auto id = int32_t(plan.values.size()) - 1;
  step.outputs = {id};
  plan.steps.push_back(step);
  if (r.between(0, 1)) plan.outputs.push_back({"added", id});
}

inline void damage(Random& r, Plan& plan, const std::vector<std::string>& ops) {
  StepDef& step = pick(r, plan.steps);
  switch (r.between(0, 11)) {
    case 0:
    case 1:
      return damage_links(r, plan, step);
    case 2:
    case 3:
    case 4:
      return damage_value(r, plan);
    case 5:
      step.op = ops[size_t(r.between(0, int64_t(ops.size()) - 1))];
      return;
    case 6:
    case 7:
      return add_step(r, plan, ops);
    default:
      return damage_attr(r, step);
  }
}

// Wrong bytes anywhere in the file; with `mend`, only inside the sections, whose checksums are then made right.
inline void damage_bytes(Random& r, std::string& file, bool mend) {
  const auto field = [&](size_t at) {
    uint64_t v;
    std::memcpy(&v, &file[at], 8);
    return v;
  };
  const uint64_t plan_at = field(64 + 8), plan_size = field(64 + 16), weights_at = field(128 + 8),
                 weights_size = field(128 + 16);
  for (int64_t n = r.between(1, 3); n > 0; n--) {
    const size_t low = mend ? plan_at : 0, size = mend ? plan_size : file.size();
    const size_t at = low + size_t(r.between(0, int64_t(size) - 9));
    const int64_t i = any_int(r);
    const double d = any_real(r);
    switch (r.between(0, 3)) {
      case 0:
        std::memcpy(&file[at], &i, 8);
        break;
      case 1:
        std::memcpy(&file[at], &d, 8);
        break;
      case 2:
        std::memcpy(&file[at], &i, 4);
        break;
      default:
        file[at] = char(r.next());
    }
  }
  if (!mend) return;
  const auto put = [&](size_t at, uint32_t v) { std::memcpy(&file[at], &v, 4); };
  put(64 + 24, crc32(&file[plan_at], plan_size));
  put(128 + 24, crc32(&file[weights_at], weights_size));
  put(24, crc32(&file[64], 128));
}

}  // namespace hostile
}  // namespace octavo
