// octavo's C++ API: run a packed model (`.octavo`) without Python. Link with the static library `octavo`.
//
//   octavo::Model model("mobilenet.octavo");
//   octavo::Tensor image = octavo::Tensor::of<float>({1, 3, 224, 224});
//   std::vector<octavo::Tensor> out = model.run({image});
//   const float* logits = out[0].data<float>();
//
// Everything throws octavo::ModelError (a std::runtime_error) with a message that names what was wrong and the mend.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace octavo {

class ModelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// ONNX's TensorProto.DataType numbers.
enum class ElementType : uint8_t {
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
};

template <class T>
struct element_type;
template <>
struct element_type<float> {
  static constexpr ElementType value = ElementType::float32;
};
template <>
struct element_type<uint8_t> {
  static constexpr ElementType value = ElementType::uint8;
};
template <>
struct element_type<int8_t> {
  static constexpr ElementType value = ElementType::int8;
};
template <>
struct element_type<int32_t> {
  static constexpr ElementType value = ElementType::int32;
};
template <>
struct element_type<int64_t> {
  static constexpr ElementType value = ElementType::int64;
};
template <>
struct element_type<double> {
  static constexpr ElementType value = ElementType::float64;
};

// A dense row-major array that owns its memory (shared between copies).
class Tensor {
 public:
  Tensor() = default;
  Tensor(ElementType type, std::vector<int64_t> shape);  // uninitialised
  template <class T>
  static Tensor of(std::vector<int64_t> shape) {
    return Tensor(element_type<T>::value, std::move(shape));
  }

  ElementType type() const { return type_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t elements() const;
  size_t bytes() const;
  void* raw() const { return memory_.get(); }
  template <class T>
  T* data() const {
    if (element_type<T>::value != type_) throw ModelError("the tensor holds elements of another type");
    return static_cast<T*>(raw());
  }

 private:
  ElementType type_ = ElementType::float32;
  std::vector<int64_t> shape_;
  std::shared_ptr<void> memory_;
};

struct TensorInfo {
  std::string name;
  ElementType type = ElementType::float32;
  std::vector<std::string> dims;  // a number, a symbol's name, or "?"
};

struct ModelOptions {
  std::string isa;  // "": the environment's OCTAVO_ISA, else the best this CPU has
  int threads = 0;  // 0: one a usable CPU
};

class Model {
 public:
  explicit Model(const std::string& path, const ModelOptions& options = {});
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  std::vector<TensorInfo> inputs() const;
  std::vector<TensorInfo> outputs() const;
  std::string isa() const;
  // Inputs in the model's order; symbolic dimensions may change from call to call. May be called from many threads.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octavo
