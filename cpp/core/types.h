// Element types, shapes and tensor views: the nouns every layer above shares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

// Values are ONNX's TensorProto.DataType, so that Python, the plan file and C++ share one numbering.
enum class DType : uint8_t {
  none = 0,
  f32 = 1,
  u8 = 2,
  s8 = 3,
  u16 = 4,
  s16 = 5,
  s32 = 6,
  s64 = 7,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  s4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,
  s2 = 26,
  f6e2m3 = 27,
  f6e3m2 = 28,
};
constexpr int kDTypes = 29;  // numbers are below this

// Bytes of one element; 0 for a type the core does not hold. An element of less than 8 bits takes the low bits of a
// byte of its own, the others zero, as in numpy's arrays of ml_dtypes (weights of restored operators are packed: see
// ops/restore.h).
constexpr size_t size_of(DType t) {
  switch (t) {
    case DType::u8:
    case DType::s8:
    case DType::boolean:
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0:
    case DType::f6e2m3:
    case DType::f6e3m2:
    case DType::f4e2m1:
    case DType::u4:
    case DType::s4:
    case DType::u2:
    case DType::s2:
      return 1;
    case DType::u16:
    case DType::s16:
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::f32:
    case DType::s32:
    case DType::u32:
      return 4;
    case DType::s64:
    case DType::u64:
    case DType::f64:
      return 8;
    default:
      return 0;
  }
}

const char* name_of(DType t);  // numpy's (or ml_dtypes') spelling: "float32", "uint8", ...

constexpr int kMaxRank = 8;

// No tensor has more elements than this, so that byte counts and offsets stay far from overflow.
constexpr int64_t kMaxElements = int64_t(1) << 40;

struct Shape {
  int rank = 0;
  int64_t dim[kMaxRank] = {};

  int64_t operator[](int axis) const { return dim[axis < 0 ? axis + rank : axis]; }
  int64_t& operator[](int axis) { return dim[axis < 0 ? axis + rank : axis]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    return n;
  }
  // Product of the dimensions in [from, to).
  int64_t span(int from, int to) const {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= dim[i];
    return n;
  }
  // The product of the dimensions, zeros counted as ones, or -1 where one is negative or the product exceeds `most`:
  // products of any of the dimensions of an accepted shape cannot overflow.
  int64_t extent(int64_t most) const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
      if (dim[i] < 0 || __builtin_mul_overflow(n, dim[i] > 0 ? dim[i] : 1, &n) || n > most) return -1;
    return n;
  }
  bool operator==(const Shape& o) const {
    if (rank != o.rank) return false;
    for (int i = 0; i < rank; i++)
      if (dim[i] != o.dim[i]) return false;
    return true;
  }
  bool operator!=(const Shape& o) const { return !(*this == o); }
};

// Rows and columns of already written border around an image (see View::border).
struct Border {
  int32_t top = 0, left = 0, bottom = 0, right = 0;
  bool empty() const { return !(top | left | bottom | right); }
};

// A tensor somebody else owns. Dense and row-major, unless the operator asked for pitches (Op::strided_in,
// Op::strided_out); then, counted in elements and meaning the last three axes [.., H, W, C]:
//   address(n, h, w, c) = data + n * image_pitch + h * row_pitch + w * pixel_pitch + c
// Pitches are always filled in, for dense tensors too (rank 2: pixel_pitch is the row stride; rank < 4 has one image).
struct View {
  void* data = nullptr;
  DType dtype = DType::none;
  Shape shape;
  int64_t pixel_pitch = 0, row_pitch = 0, image_pitch = 0;
  Border border;          // pixels around each image that hold Op::border_fill already
  bool external = false;  // the caller's memory: never read past its last element
  bool constant = false;  // the plan's memory

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t elements() const { return shape.elements(); }
  size_t bytes() const { return size_t(elements()) * size_of(dtype); }
  void set_dense_pitches();
  bool dense() const;
};

}  // namespace octavo
