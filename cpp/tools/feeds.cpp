#include "tools/feeds.h"

#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "ops/half.h"

namespace octavo {
namespace {

template <class T, class F>
void fill(int64_t n, void* data, F&& next) {
  T* p = static_cast<T*>(data);
  for (int64_t i = 0; i < n; i++) p[i] = next();
}

}  // namespace

Shape concrete_shape(const Plan& plan, const ValueDef& v, const std::map<std::string, int64_t>& sizes) {
  Shape s;
  s.rank = v.rank;
  for (int a = 0; a < v.rank; a++) {
    const Dim& d = v.dims[size_t(a)];
    const auto it = sizes.find(d.symbol >= 0 ? plan.symbols[size_t(d.symbol)] : "?");
    s.dim[a] = d.symbol < 0 && d.size >= 0 ? d.size : it == sizes.end() ? 1 : it->second;
  }
  return s;
}

void fill_random(Random& random, DType dtype, int64_t n, void* data) {
  switch (dtype) {
    case DType::f32:
      return fill<float>(n, data, [&] { return random.real(-1, 1); });
    case DType::f64:
      return fill<double>(n, data, [&] { return double(random.real(-1, 1)); });
    case DType::f16:
      return fill<Half>(n, data, [&] { return half_of(double(random.real(-1, 1))); });
    case DType::u8:
    case DType::s8:
      return fill<uint8_t>(n, data, [&] { return uint8_t(random.next()); });
    case DType::boolean:
      return fill<uint8_t>(n, data, [&] { return uint8_t(random.next() & 1); });
    case DType::u16:
    case DType::s16:
      return fill<uint16_t>(n, data, [&] { return uint16_t(random.next() & 1); });
    case DType::u32:
    case DType::s32:
      return fill<uint32_t>(n, data, [&] { return random.next() & 1; });
    case DType::u64:
    case DType::s64:
      return fill<uint64_t>(n, data, [&] { return uint64_t(random.next() & 1); });
    default:
      fail(ErrorKind::internal, "no random elements of this type");
  }
}

std::map<std::string, int64_t> sizes_of(const std::vector<std::string>& options) {
  std::map<std::string, int64_t> sizes;
  for (const std::string& option : options) {
    const size_t equals = option.rfind('=');
    char* end = nullptr;
    const long long n = equals == std::string::npos ? -1 : std::strtoll(option.c_str() + equals + 1, &end, 10);
    if (n < 0 || n > 1LL << 40 || end == option.c_str() + equals + 1 || *end != '\0')
      fail(ErrorKind::invalid_argument, "--dim takes name=number, not '%s'", option.c_str());
    sizes[option.substr(0, equals)] = n;
  }
  return sizes;
}

std::string describe(const Shape& s) {
  std::string text = "[";
  for (int a = 0; a < s.rank; a++) text += (a > 0 ? ", " : "") + std::to_string(s.dim[a]);
  return text + "]";
}

}  // namespace octavo
