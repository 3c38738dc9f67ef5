// numpy arrays <-> views.
#include "python/bind.h"

namespace octavo::python {

py::dtype numpy_dtype(DType t) {
  if (size_of(t) == 0) fail(ErrorKind::unsupported, "dtype %d is not one this engine holds", int(t));
  if (t > DType::u64) return py::dtype::from_args(py::module_::import("ml_dtypes").attr(name_of(t)));
  return py::dtype(name_of(t));
}

namespace {

// numpy knows the narrow types of ml_dtypes by name only.
DType narrow_dtype(const py::dtype& t) {
  const auto name = t.attr("name").cast<std::string>();
  for (int k = int(DType::u64) + 1; k < kDTypes; k++)
    if (size_of(DType(k)) != 0 && name == name_of(DType(k))) return DType(k);
  return DType::none;
}

}  // namespace

DType core_dtype(const py::dtype& t) {
  const char kind = t.kind();
  const auto size = t.itemsize();
  const auto pick = [&](DType one, DType two, DType four, DType eight) {
    return size == 1 ? one : size == 2 ? two : size == 4 ? four : size == 8 ? eight : DType::none;
  };
  DType found = DType::none;
  if (kind == 'f') found = pick(DType::none, DType::f16, DType::f32, DType::f64);
  if (kind == 'u') found = pick(DType::u8, DType::u16, DType::u32, DType::u64);
  if (kind == 'i') found = pick(DType::s8, DType::s16, DType::s32, DType::s64);
  if (kind == 'b' && size == 1) found = DType::boolean;
  if (found == DType::none) found = narrow_dtype(t);
  if (!t.attr("isnative").cast<bool>()) found = DType::none;  // bytes are taken as they lie
  if (found == DType::none)
    fail(ErrorKind::unsupported, "arrays of dtype %s are not supported", py::str(t).cast<std::string>().c_str());
  return found;
}

Shape shape_of(const py::array& a) {
  if (a.ndim() > kMaxRank)
    fail(ErrorKind::unsupported, "arrays of more than %d dimensions are not supported", kMaxRank);
  Shape s;
  s.rank = int(a.ndim());
  for (int i = 0; i < s.rank; i++) s[i] = a.shape(i);
  return s;
}

py::array empty_array(DType t, const Shape& s) {
  return py::array(numpy_dtype(t), std::vector<py::ssize_t>(s.dim, s.dim + s.rank));
}

py::array array_over(const View& v, py::handle base) {
  return py::array(numpy_dtype(v.dtype), std::vector<py::ssize_t>(v.shape.dim, v.shape.dim + v.shape.rank), v.data,
                   base);
}

View view_of(const py::array& a) {
  View v;
  v.dtype = core_dtype(a.dtype());
  v.shape = shape_of(a);
  v.data = const_cast<void*>(a.data());
  v.external = true;
  v.set_dense_pitches();
  return v;
}

}  // namespace octavo::python
