// What the bound classes share. This folder is the only place that sees pybind11.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/error.h"
#include "core/types.h"

namespace octavo::python {

namespace py = pybind11;

py::dtype numpy_dtype(DType t);
DType core_dtype(const py::dtype& t);  // Error(unsupported) for dtypes the core does not hold
Shape shape_of(const py::array& a);
py::array empty_array(DType t, const Shape& s);
// A dense array over foreign memory, kept alive by `base`.
py::array array_over(const View& v, py::handle base);
View view_of(const py::array& a);  // dense, external

void bind_plan(py::module_& m);
void bind_session(py::module_& m);

}  // namespace octavo::python
