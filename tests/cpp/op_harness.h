// Runs one operator by hand and compares it with naive index loops.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "check.h"
#include "ops/op.h"

namespace octavo {
namespace test {

struct Tensor {
  DType dtype = DType::none;
  Shape shape;
  std::vector<uint8_t> bytes;

  View view() {
    View v;
    v.data = bytes.data();
    v.dtype = dtype;
    v.shape = shape;
    v.set_dense_pitches();
    return v;
  }
};

inline check::Random rng;

inline Shape shape_of(std::initializer_list<int64_t> dims) {
  Shape s;
  for (int64_t d : dims) s.dim[s.rank++] = d;
  return s;
}

inline Tensor blank(DType t, const Shape& s) {
  Tensor r{t, s, std::vector<uint8_t>(size_t(s.elements()) * size_of(t) + 64)};
  return r;
}

inline Tensor random_tensor(DType t, const Shape& s) {
  Tensor r = blank(t, s);
  for (uint8_t& b : r.bytes) b = uint8_t(rng.next());
  if (t == DType::boolean)
    for (uint8_t& b : r.bytes) b &= 1;
  return r;
}

template <class T>
inline Tensor list(DType t, const std::vector<T>& values, bool scalar = false) {
  Shape s = scalar ? Shape{} : shape_of({int64_t(values.size())});
  Tensor r = blank(t, s);
  if (!values.empty()) std::memcpy(r.bytes.data(), values.data(), values.size() * sizeof(T));
  return r;
}
inline Tensor s64(const std::vector<int64_t>& v) { return list(DType::s64, v); }
inline Tensor s32(const std::vector<int32_t>& v) { return list(DType::s32, v); }

using Attrs = std::map<std::string, Attr>;
using Ints = std::vector<int64_t>;
inline int threads = 1;

// Binds, infers (values known) and runs one operator. Outputs get the dtypes given; views carry 64 guard bytes.
inline std::vector<Tensor> run(const char* op, const Attrs& attrs, std::vector<Tensor> in,
                               const std::vector<DType>& out) {
  StepDef step{op, "tested", {}, {}, attrs};
  for (size_t k = 0; k < in.size(); k++) step.inputs.push_back(in[k].dtype == DType::none ? -1 : int(k));
  for (size_t k = 0; k < out.size(); k++) step.outputs.push_back(int(in.size() + k));
  BindContext bind{step, Isa::scalar, {}, {}};
  std::vector<View> views;
  for (Tensor& t : in) views.push_back(t.dtype == DType::none ? View{} : t.view());
  for (size_t k = 0; k < in.size(); k++)
    bind.inputs.push_back({in[k].dtype, in[k].shape.rank, &views[k], in[k].dtype != DType::none});
  for (DType t : out) bind.outputs.push_back({t, 0, nullptr, true});
  const std::unique_ptr<Op> made = find_op(op)(bind);
  InferContext infer{step, views, std::vector<Shape>(out.size())};
  made->infer(infer);
  if (infer.need_value) fail(ErrorKind::internal, "known values were asked for");
  std::vector<Tensor> result;
  std::vector<View> targets;
  for (size_t k = 0; k < out.size(); k++) {
    result.push_back(blank(out[k], infer.out[k]));
    std::memset(result[k].bytes.data(), 0xA5, result[k].bytes.size());
  }
  for (Tensor& t : result) targets.push_back(t.view());
  std::vector<uint8_t> scratch(made->scratch_bytes(views.data(), targets.data(), threads) + 64);
  Region pool(threads);
  RunContext ctx{views.data(), targets.data(), int(views.size()), int(targets.size()), scratch.data(), pool};
  made->run(ctx);
  for (Tensor& t : result)
    for (size_t i = t.bytes.size() - 64; i < t.bytes.size(); i++)
      if (!CHECK(t.bytes[i] == 0xA5)) break;
  return result;
}

inline Tensor run1(const char* op, const Attrs& attrs, const std::vector<Tensor>& in, DType out) {
  return run(op, attrs, in, {out})[0];
}

// The message of the Error this raises; "" when it raises none.
inline std::string refusal(const char* op, const Attrs& attrs, const std::vector<Tensor>& in, DType out) {
  try {
    run(op, attrs, in, {out});
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
inline bool refused(const char* op, const Attrs& attrs, const std::vector<Tensor>& in, DType out) {
  return refusal(op, attrs, in, out).find("tested") != std::string::npos;
}

// Does y[index] hold x[map(index)] everywhere? map returns false where y must hold `fill` instead.
using Map = std::function<bool(const int64_t* index, int64_t* from)>;
inline bool mapped(const Tensor& y, const Tensor& x, const Map& map,
                   const std::vector<uint8_t>& fill = std::vector<uint8_t>(8)) {
  const size_t e = size_of(x.dtype);
  int64_t index[kMaxRank] = {}, from[kMaxRank] = {};
  for (int64_t i = 0; i < y.shape.elements(); i++) {
    int64_t rest = i;
    for (int a = y.shape.rank - 1; a >= 0; a--) index[a] = rest % y.shape.dim[a], rest /= y.shape.dim[a];
    const uint8_t* expected = fill.data();
    if (map(index, from)) {
      int64_t at = 0;
      for (int a = 0; a < x.shape.rank; a++) {
        if (from[a] < 0 || from[a] >= x.shape.dim[a]) return false;
        at = at * x.shape.dim[a] + from[a];
      }
      expected = x.bytes.data() + size_t(at) * e;
    }
    if (std::memcmp(y.bytes.data() + size_t(i) * e, expected, e) != 0) return false;
  }
  return true;
}

template <class T>
std::vector<T> values(const Tensor& t) {
  std::vector<T> r(size_t(t.shape.elements()));
  if (!r.empty()) std::memcpy(r.data(), t.bytes.data(), r.size() * sizeof(T));
  return r;
}

const DType kSizes[] = {DType::u8, DType::f16, DType::f32, DType::s64};
inline DType any_dtype() { return kSizes[rng.between(0, 3)]; }
inline Shape random_shape(int rank, int64_t most) {
  Shape s;
  s.rank = rank;
  for (int a = 0; a < rank; a++) s.dim[a] = rng.between(rng.between(0, 9) == 0 ? 0 : 1, most);
  return s;
}

}  // namespace test
}  // namespace octavo
