// The operators that move elements, against naive index loops: random shapes and element sizes, extremes, refusals.
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "op_harness.h"

namespace {

using namespace octavo;
using namespace octavo::test;

void check_transpose(DType t, const Shape& s, const Ints& perm) {
  const Tensor x = random_tensor(t, s);
  const Tensor y = run1("Transpose", {{"perm", perm}}, {x}, t);
  bool shape_ok = y.shape.rank == s.rank;
  for (int a = 0; a < s.rank; a++) shape_ok = shape_ok && y.shape.dim[a] == s.dim[perm[size_t(a)]];
  CHECK(shape_ok);
  if (!CHECK(mapped(y, x, [&](const int64_t* i, int64_t* from) {
        for (int a = 0; a < s.rank; a++) from[perm[size_t(a)]] = i[a];
        return true;
      })))
    std::printf("  transpose of rank %d, dtype %s\n", s.rank, name_of(t));
}

void test_transpose() {
  for (DType t : kSizes) {
    for (int64_t h : {1, 3, 15, 16, 17, 40, 100})
      for (int64_t w : {1, 2, 3, 4, 5, 8, 15, 16, 31, 64, 70}) {
        check_transpose(t, shape_of({h, w}), {1, 0});
        check_transpose(t, shape_of({2, w, h}), {0, 2, 1});
      }
    check_transpose(t, shape_of({2, 3, 17, 19}), {0, 2, 3, 1});
    check_transpose(t, shape_of({2, 17, 19, 3}), {0, 3, 1, 2});
    check_transpose(t, shape_of({2, 64, 7, 7}), {0, 2, 3, 1});
    check_transpose(t, shape_of({2, 9, 4, 32}), {0, 2, 1, 3});
    check_transpose(t, shape_of({2, 9, 4, 32}), {0, 2, 3, 1});
    check_transpose(t, shape_of({1, 300, 300}), {0, 2, 1});
    check_transpose(t, shape_of({40, 200, 130}), {2, 0, 1});
  }
  for (int round = 0; round < 400; round++) {
    const int rank = int(rng.between(0, 8));
    const Shape s = random_shape(rank, rank > 5 ? 3 : 7);
    Ints perm;
    for (int a = 0; a < rank; a++) perm.insert(perm.begin() + rng.between(0, a), a);
    check_transpose(any_dtype(), s, perm);
  }
  const Tensor x = random_tensor(DType::f32, shape_of({2, 3, 4}));
  CHECK(run1("Transpose", {}, {x}, DType::f32).shape == shape_of({4, 3, 2}));
  CHECK(refused("Transpose", {{"perm", Ints{0, 0, 1}}}, {x}, DType::f32));
  CHECK(refused("Transpose", {{"perm", Ints{0, 1}}}, {x}, DType::f32));
  CHECK(refused("Transpose", {{"perm", Ints{0, -1, 1}}}, {x}, DType::f32));
  CHECK(refused("Transpose", {}, {x}, DType::s32));
}

void test_reshape() {
  const Tensor x = random_tensor(DType::f32, shape_of({2, 3, 4}));
  auto reshaped = [&](const Ints& s, int64_t allowzero = 0) {
    return run1("Reshape", {{"allowzero", allowzero}}, {x, s64(s)}, DType::f32).shape;
  };
  CHECK(reshaped({4, -1}) == shape_of({4, 6}));
  CHECK(reshaped({0, -1}) == shape_of({2, 12}));
  CHECK(reshaped({-1}) == shape_of({24}));
  const Tensor y = run1("Reshape", {}, {x, s64({6, 4})}, DType::f32);
  CHECK(std::memcmp(y.bytes.data(), x.bytes.data(), 96) == 0);
  for (const Ints& bad : {Ints{5}, Ints{-1, -1}, Ints{-2, 12}, Ints{7, -1}, Ints{INT64_MAX, INT64_MAX},
                          Ints{1LL << 33, 1LL << 33, -1}, Ints{1, 1, 1, 1, 1, 1, 1, 1, 24}, Ints{2, 3, 4, 0}})
    CHECK(refused("Reshape", {}, {x, s64(bad)}, DType::f32));
  CHECK(refused("Reshape", {{"allowzero", int64_t(1)}}, {x, s64({0, 24})}, DType::f32));
  const Tensor scalar = random_tensor(DType::u8, Shape{}), empty = random_tensor(DType::u8, shape_of({0, 3}));
  CHECK(run1("Reshape", {}, {scalar, s64({})}, DType::u8).shape == Shape{});
  CHECK(run1("Reshape", {}, {scalar, s32({1, -1})}, DType::u8).shape == shape_of({1, 1}));
  CHECK(run1("Reshape", {{"allowzero", int64_t(1)}}, {empty, s64({5, 0})}, DType::u8).shape == shape_of({5, 0}));
  CHECK(run1("Flatten", {}, {x}, DType::f32).shape == shape_of({2, 12}));
  CHECK(run1("Flatten", {{"axis", int64_t(-1)}}, {x}, DType::f32).shape == shape_of({6, 4}));
  CHECK(run1("Flatten", {{"axis", int64_t(0)}}, {scalar}, DType::u8).shape == shape_of({1, 1}));
  CHECK(refused("Flatten", {{"axis", int64_t(4)}}, {x}, DType::f32));
  const Tensor ones = random_tensor(DType::f16, shape_of({1, 3, 1, 2}));
  CHECK(run1("Squeeze", {}, {ones}, DType::f16).shape == shape_of({3, 2}));
  CHECK(run1("Squeeze", {}, {ones, s64({-2})}, DType::f16).shape == shape_of({1, 3, 2}));
  CHECK(run1("Squeeze", {{"axes", Ints{0}}}, {ones}, DType::f16).shape == shape_of({3, 1, 2}));
  CHECK(refused("Squeeze", {}, {ones, s64({1})}, DType::f16));
  CHECK(!refusal("Squeeze", {}, {ones, s64({0, -4})}, DType::f16).empty());
  CHECK(run1("Unsqueeze", {}, {x, s64({0, -1})}, DType::f32).shape == shape_of({1, 2, 3, 4, 1}));
  CHECK(run1("Unsqueeze", {{"axes", Ints{0}}}, {scalar}, DType::u8).shape == shape_of({1}));
  CHECK(refused("Unsqueeze", {}, {x, s64({0, 1, 2, 3, 4, 5})}, DType::f32));
  CHECK(!refusal("Unsqueeze", {}, {x, s64({9})}, DType::f32).empty());
  CHECK(run1("Identity", {}, {x}, DType::f32).shape == x.shape);
}

void test_expand_and_tile() {
  for (int round = 0; round < 200; round++) {
    const DType t = any_dtype();
    const int rank = int(rng.between(0, 5));
    Shape s = random_shape(rank, 5);
    const Tensor x0 = random_tensor(t, s);
    Ints repeats;
    for (int a = 0; a < rank; a++) repeats.push_back(rng.between(0, 3));
    const Tensor tiled = run1("Tile", {}, {x0, s64(repeats)}, t);
    CHECK(mapped(tiled, x0, [&](const int64_t* i, int64_t* from) {
      for (int a = 0; a < rank; a++) from[a] = i[a] % s.dim[a];
      return true;
    }));
    Ints target;
    for (int a = 0; a < rank; a++)
      if (rng.next() & 1) s.dim[a] = 1;
    const Tensor x = random_tensor(t, s);
    for (int a = 0; a < rank; a++) target.push_back(s.dim[a] == 1 ? rng.between(0, 6) : rng.next() & 1 ? 1 : s.dim[a]);
    const int extra = int(rng.between(0, 2));
    for (int a = 0; a < extra; a++) target.insert(target.begin(), rng.between(1, 4));
    const Tensor y = run1("Expand", {}, {x, s64(target)}, t);
    CHECK(y.shape.rank == rank + extra);
    CHECK(mapped(y, x, [&](const int64_t* i, int64_t* from) {
      for (int a = 0; a < rank; a++) from[a] = s.dim[a] == 1 ? 0 : i[a + extra];
      return true;
    }));
  }
  const Tensor x = random_tensor(DType::f32, shape_of({2, 1}));
  for (const Ints& bad : {Ints{3, 4}, Ints{-1, 1}, Ints{1LL << 62, 2, 1LL << 62}, Ints{1, 1, 1, 1, 1, 1, 1, 1, 1}})
    CHECK(refused("Expand", {}, {x, s64(bad)}, DType::f32));
  for (const Ints& bad : {Ints{2}, Ints{-1, 1}, Ints{1LL << 40, 1LL << 40}, Ints{INT64_MAX, 4}})
    CHECK(refused("Tile", {}, {x, s64(bad)}, DType::f32));
  CHECK(run1("Tile", {}, {x, s64({0, INT64_MAX >> 24})}, DType::f32).shape.elements() == 0);
}

void test_concat_and_split() {
  for (int round = 0; round < 200; round++) {
    const DType t = any_dtype();
    const int rank = int(rng.between(1, 5)), axis = int(rng.between(0, rank - 1)), parts = int(rng.between(1, 4));
    Shape s = random_shape(rank, 6);
    std::vector<Tensor> in;
    Ints sizes;
    for (int k = 0; k < parts; k++) {
      s.dim[axis] = rng.between(0, 5);
      sizes.push_back(s.dim[axis]);
      in.push_back(random_tensor(t, s));
    }
    const Tensor joined = run1("Concat", {{"axis", int64_t(axis - (round & 1 ? rank : 0))}}, in, t);
    int64_t begin = 0;
    std::vector<Tensor> split =
        run("Split", {{"axis", int64_t(axis)}}, {joined, s64(sizes)}, std::vector<DType>(parts, t));
    for (int k = 0; k < parts; k++) {
      CHECK(split[k].shape == in[k].shape);
      CHECK(std::memcmp(split[k].bytes.data(), in[k].bytes.data(), in[k].bytes.size() - 64) == 0);
      CHECK(mapped(in[k], joined, [&](const int64_t* i, int64_t* from) {
        std::memcpy(from, i, sizeof(int64_t) * kMaxRank);
        from[axis] += begin;
        return true;
      }));
      begin += sizes[k];
    }
  }
  const Tensor a = random_tensor(DType::f32, shape_of({2, 7}));
  const std::vector<Tensor> uneven = run("Split", {{"axis", int64_t(1)}}, {a}, std::vector<DType>(3, DType::f32));
  CHECK(uneven[0].shape[1] == 3 && uneven[2].shape[1] == 1);
  CHECK(refused("Split", {{"axis", int64_t(1)}}, {a, s64({6})}, DType::f32));
  CHECK(refused("Split", {{"axis", int64_t(1)}}, {a, s64({-7})}, DType::f32));
  CHECK(refused("Split", {{"axis", int64_t(1)}, {"split", Ints{3, 4}}}, {a}, DType::f32));
  CHECK(refused("Concat", {{"axis", int64_t(2)}}, {a, a}, DType::f32));
  CHECK(refused("Concat", {{"axis", int64_t(0)}}, {a, random_tensor(DType::f32, shape_of({2, 6}))}, DType::f32));
  CHECK(refused("Concat", {{"axis", int64_t(0)}}, {a, random_tensor(DType::s32, shape_of({2, 7}))}, DType::f32));
  CHECK(refused("Concat", {{"axis", int64_t(0)}}, {random_tensor(DType::f32, Shape{})}, DType::f32));
}

// numpy's meaning by walking: the indices start, start + step, ... that lie before end.
Ints walk(int64_t start, int64_t end, int64_t step, int64_t n) {
  if (start < 0) start += n;
  if (end < 0) end += n;
  start = std::min(std::max<int64_t>(start, 0), step > 0 ? n : n - 1);
  end = std::min(std::max<int64_t>(end, step > 0 ? 0 : -1), n);
  Ints r;
  for (int64_t i = start; step > 0 ? i < end : i > end; i += step) {
    if (i >= 0 && i < n) r.push_back(i);
    if (r.size() > 100 || step > 1000 || step < -1000) break;
  }
  return r;
}

void test_slice() {
  const int64_t extremes[] = {INT64_MIN, INT64_MAX, INT64_MIN + 1, 0, -1, 1};
  for (int round = 0; round < 600; round++) {
    const DType t = any_dtype();
    const int rank = int(rng.between(1, 5));
    const Shape s = random_shape(rank, 8);
    const Tensor x = random_tensor(t, s);
    std::vector<Ints> walked(rank);
    for (int a = 0; a < rank; a++)
      for (int64_t i = 0; i < s.dim[a]; i++) walked[a].push_back(i);
    Ints starts, ends, axes, steps;
    for (int a = rank - 1; a >= 0; a--) {
      if (rng.next() & 1) continue;
      starts.push_back(rng.between(0, 4) ? rng.between(-10, 10) : extremes[rng.between(0, 5)]);
      ends.push_back(rng.between(0, 4) ? rng.between(-10, 10) : extremes[rng.between(0, 5)]);
      axes.push_back(rng.next() & 1 ? a : a - rank);
      int64_t step = rng.between(0, 4) ? rng.between(-3, 3) : extremes[rng.between(0, 5)];
      if (step == 0) step = 1;
      steps.push_back(step);
      walked[a] = walk(starts.back(), ends.back(), step, s.dim[a]);
    }
    const Tensor y = run1("Slice", {}, {x, s64(starts), s64(ends), s64(axes), s64(steps)}, t);
    bool shape_ok = true;
    for (int a = 0; a < rank; a++) shape_ok = shape_ok && y.shape.dim[a] == int64_t(walked[a].size());
    if (!CHECK(shape_ok)) continue;
    CHECK(mapped(y, x, [&](const int64_t* i, int64_t* from) {
      for (int a = 0; a < rank; a++) from[a] = walked[a][size_t(i[a])];
      return true;
    }));
  }
  const Tensor x = random_tensor(DType::u8, shape_of({4, 5}));
  CHECK(run1("Slice", {}, {x, s32({1}), s32({3})}, DType::u8).shape == shape_of({2, 5}));
  CHECK(refused("Slice", {}, {x, s64({0}), s64({1}), s64({0}), s64({0})}, DType::u8));
  CHECK(refused("Slice", {}, {x, s64({0}), s64({1}), s64({2})}, DType::u8));
  CHECK(refused("Slice", {}, {x, s64({0, 0}), s64({1, 1}), s64({1, -1})}, DType::u8));
  CHECK(refused("Slice", {}, {x, s64({0, 0}), s64({1})}, DType::u8));
  CHECK(refused("Slice", {}, {x, s64(Ints(99, 0)), s64(Ints(99, 0))}, DType::u8));
}

int64_t fold_index(const std::string& mode, int64_t i, int64_t n) {
  if (mode == "edge") return i < 0 ? 0 : i >= n ? n - 1 : i;
  if (mode == "wrap") {
    while (i < 0) i += n;
    return i % n;
  }
  while (i < 0 || i >= n) {  // reflect, as often as it takes
    if (n == 1) return 0;
    i = i < 0 ? -i : 2 * (n - 1) - i;
  }
  return i;
}

void test_pad() {
  for (const std::string mode : {"constant", "reflect", "edge", "wrap"}) {
    for (int round = 0; round < 150; round++) {
      const DType t = any_dtype();
      const int rank = int(rng.between(0, 4));
      const Shape s = random_shape(rank, 6);
      const Tensor x = random_tensor(t, s), value = random_tensor(t, Shape{});
      Ints pads(size_t(rank) * 2);
      for (int a = 0; a < rank; a++) {
        pads[a] = rng.between(std::max<int64_t>(-2, -s.dim[a]), 5);
        pads[a + rank] = rng.between(std::max<int64_t>(-2, -(s.dim[a] + std::min<int64_t>(pads[a], 0))), 5);
        const int64_t kept = s.dim[a] + std::min<int64_t>(pads[a], 0) + std::min<int64_t>(pads[a + rank], 0);
        if (kept == 0 && mode != "constant")
          pads[a] = std::min<int64_t>(pads[a], 0), pads[a + rank] = std::min<int64_t>(pads[a + rank], 0);
      }
      const bool given = round & 1;
      std::vector<Tensor> in = {x, s64(pads)};
      if (given) in.push_back(value);
      const Tensor y = run1("Pad", {{"mode", mode}}, in, t);
      CHECK(mapped(
          y, x,
          [&](const int64_t* i, int64_t* from) {
            for (int a = 0; a < rank; a++) {
              const int64_t crop = std::max<int64_t>(-pads[a], 0);
              const int64_t kept = s.dim[a] + std::min<int64_t>(pads[a], 0) + std::min<int64_t>(pads[a + rank], 0);
              const int64_t k = i[a] - std::max<int64_t>(pads[a], 0);
              if (mode == "constant" && (k < 0 || k >= kept)) return false;
              from[a] = crop + (mode == "constant" ? k : fold_index(mode, k, kept));
            }
            return true;
          },
          given ? value.bytes : std::vector<uint8_t>(8)));
    }
  }
  const Tensor x = random_tensor(DType::u8, shape_of({2, 3}));
  CHECK(run1("Pad", {}, {x, s64({1, 2}), Tensor{}, s64({-1})}, DType::u8).shape == shape_of({2, 6}));
  CHECK(refused("Pad", {}, {x, s64({1, 2})}, DType::u8));
  CHECK(refused("Pad", {}, {x, s64({0, -2, 0, -2})}, DType::u8));
  CHECK(refused("Pad", {}, {x, s64({0, INT64_MIN, 0, INT64_MAX})}, DType::u8));
  CHECK(refused("Pad", {}, {x, s64({1LL << 39, 0, 0, 0})}, DType::u8));
  CHECK(refused("Pad", {{"mode", std::string("mirror")}}, {x, s64({0, 0, 0, 0})}, DType::u8));
  CHECK(refused("Pad", {{"mode", std::string("edge")}}, {random_tensor(DType::u8, shape_of({0})), s64({1, 0})},
                DType::u8));
  CHECK(refused("Pad", {}, {x, s64({1, 2, 1, 2}), Tensor{}, s64({0, -2})}, DType::u8));
}

void test_gather() {
  for (int round = 0; round < 300; round++) {
    const DType t = any_dtype();
    const int rank = int(rng.between(1, 4)), axis = int(rng.between(0, rank - 1)), irank = int(rng.between(0, 3));
    Shape s = random_shape(rank, 7);
    if (s.dim[axis] == 0) s.dim[axis] = 1;
    const Tensor x = random_tensor(t, s);
    const bool narrow = rng.next() & 1;
    Tensor index = blank(narrow ? DType::s32 : DType::s64, random_shape(irank, 5));
    const int64_t n = s.dim[axis];
    auto fill = [&](Tensor& indices) {
      for (int64_t i = 0; i < indices.shape.elements(); i++) {
        const int64_t v = rng.between(-n, n - 1);
        if (narrow)
          reinterpret_cast<int32_t*>(indices.bytes.data())[i] = int32_t(v);
        else
          reinterpret_cast<int64_t*>(indices.bytes.data())[i] = v;
      }
    };
    auto at = [&](const Tensor& indices, const int64_t* i) {
      int64_t k = 0;
      for (int a = 0; a < indices.shape.rank; a++) k = k * indices.shape.dim[a] + i[a];
      const int64_t v = narrow ? reinterpret_cast<const int32_t*>(indices.bytes.data())[k]
                               : reinterpret_cast<const int64_t*>(indices.bytes.data())[k];
      return v < 0 ? v + n : v;
    };
    fill(index);
    const Tensor y = run1("Gather", {{"axis", int64_t(axis)}}, {x, index}, t);
    CHECK(y.shape.rank == rank - 1 + irank);
    CHECK(mapped(y, x, [&](const int64_t* i, int64_t* from) {
      for (int a = 0; a < axis; a++) from[a] = i[a];
      from[axis] = at(index, i + axis);
      for (int a = axis + 1; a < rank; a++) from[a] = i[a + irank - 1];
      return true;
    }));
    Shape few = s;
    for (int a = 0; a < rank; a++) few.dim[a] = a == axis ? rng.between(0, 9) : rng.between(0, s.dim[a]);
    Tensor elements = blank(index.dtype, few);
    fill(elements);
    const Tensor z = run1("GatherElements", {{"axis", int64_t(axis - rank)}}, {x, elements}, t);
    CHECK(z.shape == few);
    CHECK(mapped(z, x, [&](const int64_t* i, int64_t* from) {
      std::memcpy(from, i, sizeof(int64_t) * kMaxRank);
      from[axis] = at(elements, i);
      return true;
    }));
  }
  const Tensor x = random_tensor(DType::f32, shape_of({4, 5})), big = random_tensor(DType::u8, shape_of({100, 4096}));
  CHECK(refusal("Gather", {}, {x, s64({1, 4})}, DType::f32).find("index 4") != std::string::npos);
  for (int64_t bad : {int64_t(4), int64_t(-5), INT64_MAX, INT64_MIN})
    CHECK(refused("Gather", {}, {x, s64({bad})}, DType::f32));
  CHECK(refused("Gather", {}, {random_tensor(DType::f32, shape_of({0, 2})), s64({0})}, DType::f32));
  CHECK(refused("Gather", {}, {random_tensor(DType::f32, Shape{}), s64({0})}, DType::f32));
  CHECK(refused("Gather", {}, {x, list<float>(DType::f32, {1.f})}, DType::f32));
  Tensor pair = blank(DType::s64, shape_of({1, 5}));
  reinterpret_cast<int64_t*>(pair.bytes.data())[3] = 9;
  CHECK(refused("GatherElements", {}, {x, pair}, DType::f32));
  CHECK(refused("GatherElements", {}, {x, s64({1})}, DType::f32));
  const Tensor rows = run1("Gather", {}, {big, s64(Ints(200, 7))}, DType::u8);
  CHECK(mapped(rows, big, [](const int64_t* i, int64_t* from) { return from[0] = 7, from[1] = i[1], true; }));
}

void test_depth_to_space() {
  for (int64_t b : {1, 2, 3})
    for (const std::string mode : {"DCR", "CRD"}) {
      const DType t = any_dtype();
      const Tensor x = random_tensor(t, shape_of({2, 4 * b * b, 5, 3}));
      const Tensor y = run1("DepthToSpace", {{"blocksize", b}, {"mode", mode}}, {x}, t);
      CHECK(y.shape == shape_of({2, 4, 5 * b, 3 * b}));
      CHECK(mapped(y, x, [&](const int64_t* i, int64_t* from) {
        const int64_t r = i[2] % b, s = i[3] % b;
        from[0] = i[0], from[2] = i[2] / b, from[3] = i[3] / b;
        from[1] = mode == "DCR" ? (r * b + s) * 4 + i[1] : (i[1] * b + r) * b + s;
        return true;
      }));
      if (mode == "DCR") {
        const Tensor back = run1("SpaceToDepth", {{"blocksize", b}}, {y}, t);
        CHECK(back.shape == x.shape && back.bytes.size() == x.bytes.size());
        CHECK(std::memcmp(back.bytes.data(), x.bytes.data(), x.bytes.size() - 64) == 0);
      }
    }
  const Tensor x = random_tensor(DType::u8, shape_of({1, 4, 2, 2}));
  for (int64_t bad : {int64_t(0), int64_t(-2), int64_t(3), INT64_MAX}) {
    CHECK(refused("DepthToSpace", {{"blocksize", bad}}, {x}, DType::u8));
    CHECK(refused("SpaceToDepth", {{"blocksize", bad}}, {x}, DType::u8));
  }
}

void test_where() {
  for (int round = 0; round < 300; round++) {
    const DType t = any_dtype();
    const int rank = int(rng.between(0, 5));
    const Shape s = random_shape(rank, round % 50 == 0 ? 30 : 5);
    auto part = [&](DType dtype) {
      Shape p = s;
      const int drop = int(rng.between(0, 3)) == 0 && rank > 0 ? int(rng.between(0, rank)) : 0;
      for (int a = 0; a < rank; a++)
        if (rng.between(0, 3) == 0) p.dim[a] = 1;
      Shape r;
      for (int a = drop; a < rank; a++) r.dim[r.rank++] = p.dim[a];
      return random_tensor(dtype, r);
    };
    const Tensor cond = part(DType::boolean), a = part(t), b = part(t);
    const Tensor y = run1("Where", {}, {cond, a, b}, t);
    auto offset = [&](const Tensor& x, int64_t i) {
      int64_t at = 0, stride = 1;
      for (int k = 1; k <= y.shape.rank; k++) {
        const int64_t index = i % y.shape[-k];
        i /= y.shape[-k];
        if (k > x.shape.rank) continue;
        if (x.shape[-k] != 1) at += index * stride;
        stride *= x.shape[-k];
      }
      return size_t(at);
    };
    const size_t e = size_of(t);
    bool ok = true;
    for (int64_t i = 0; i < y.shape.elements() && ok; i++) {
      const uint8_t* from =
          cond.bytes[offset(cond, i)] ? a.bytes.data() + offset(a, i) * e : b.bytes.data() + offset(b, i) * e;
      ok = std::memcmp(y.bytes.data() + size_t(i) * e, from, e) == 0;
    }
    CHECK(ok);
  }
  const Tensor c = random_tensor(DType::boolean, shape_of({2})), x = random_tensor(DType::f32, shape_of({3}));
  CHECK(refused("Where", {}, {c, x, x}, DType::f32));
  CHECK(refused("Where", {}, {x, x, x}, DType::f32));
}

// Pitches: a channels-last image inside a wider one, as the planner places concat parts and bordered tensors.
void test_pitches() {
  const Shape s = shape_of({2, 3, 4, 5});
  const Tensor x = random_tensor(DType::f32, s);
  StepDef step{"Transpose", "tested", {0}, {1}, {{"perm", Ints{0, 1, 2, 3}}}};
  BindContext bind{step, Isa::scalar, {{DType::f32, 4, nullptr, true}}, {{DType::f32, 4, nullptr, true}}};
  const std::unique_ptr<Op> op = find_op("Transpose")(bind);
  CHECK(op->strided_in(0) && op->strided_out());
  std::vector<float> wide(2 * 6 * 7 * 9, -1.f);
  Tensor copy = x;
  View in = copy.view(), out = in;
  out.data = wide.data() + (1 * 7 + 2) * 9 + 3;
  out.pixel_pitch = 9;
  out.row_pitch = 7 * 9;
  out.image_pitch = 6 * 7 * 9;
  Region pool(1);
  RunContext ctx{&in, &out, 1, 1, nullptr, pool};
  op->run(ctx);
  int64_t written = 0;
  for (float v : wide) written += v != -1.f;
  CHECK(written == s.elements());
  const std::vector<uint32_t> dense = values<uint32_t>(x);
  for (int64_t i = 0; i < s.elements(); i++) {
    const int64_t c = i % 5, w = i / 5 % 4, h = i / 20 % 3, n = i / 60;
    CHECK(out.as<uint32_t>()[n * out.image_pitch + h * out.row_pitch + w * 9 + c] == dense[size_t(i)]);
  }
  Tensor back = blank(DType::f32, s);
  View target = back.view();
  RunContext again{&out, &target, 1, 1, nullptr, pool};
  op->run(again);
  CHECK(std::memcmp(back.bytes.data(), x.bytes.data(), size_t(s.elements()) * 4) == 0);
}

void test_unknown_values() {
  const StepDef step{"Reshape", "tested", {0, 1}, {2}, {}};
  BindContext bind{step,
                   Isa::scalar,
                   {{DType::f32, 1, nullptr, true}, {DType::s64, 1, nullptr, true}},
                   {{DType::f32, 1, nullptr, true}}};
  const std::unique_ptr<Op> op = find_op("Reshape")(bind);
  View x, target;
  x.dtype = DType::f32;
  x.shape = shape_of({4});
  target.dtype = DType::s64;
  target.shape = shape_of({2});
  InferContext infer{step, {x, target}, std::vector<Shape>(1)};
  op->infer(infer);
  CHECK(infer.need_value);
  CHECK(op->alias_of() == 0);
}

}  // namespace

int main() {
  for (int n : {1, 3}) {
    threads = n;
    test_transpose();
    test_reshape();
    test_expand_and_tile();
    test_concat_and_split();
    test_slice();
    test_pad();
    test_gather();
    test_depth_to_space();
    test_where();
  }
  test_pitches();
  test_unknown_values();
  return check::finish();
}
