// octavo._core: the native module.
#include <new>
#include <stdexcept>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "core/peak.h"
#include "core/thread_pool.h"
#include "kernels/registry.h"
#include "plan/session.h"
#include "python/bind.h"

namespace octavo::python {
namespace {

const char* class_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument:
      return "InvalidArgument";
    case ErrorKind::invalid_model:
      return "InvalidModel";
    case ErrorKind::unsupported:
      return "Unsupported";
    case ErrorKind::out_of_memory:
      return "OutOfMemory";
    case ErrorKind::io:
      return "IoError";
    case ErrorKind::internal:
      return "Error";
  }
  return "Error";
}

void translate(std::exception_ptr p) {
  try {
    if (p) std::rethrow_exception(p);
  } catch (const Error& e) {
    const py::object type = py::module_::import("octavo.errors").attr(class_of(e.kind()));
    // Names from a hostile file, or a message cut inside a character, need not be UTF-8.
    const std::string what = e.what();
    py::set_error(type, py::bytes(what).attr("decode")("utf-8", "replace"));
  } catch (const std::bad_alloc&) {
    py::set_error(py::module_::import("octavo.errors").attr("OutOfMemory"), "out of memory");
  } catch (const std::length_error&) {
    py::set_error(py::module_::import("octavo.errors").attr("OutOfMemory"), "out of memory: a list would be too long");
  }
}

// Gives memory that was freed back to the system: compiling a model allocates far more than its plan keeps.
void release_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// fn over an array, through the very operator the engine runs: what lookup tables are made with.
py::array unary(const std::string& fn, const py::array& x, const py::dict& attrs) {
  PlanBuilder b;
  const View in = view_of(py::array::ensure(x, py::array::c_style));
  std::vector<Dim> dims;
  for (int i = 0; i < in.shape.rank; i++) dims.push_back(PlanBuilder::size(in.shape[i]));
  const int32_t from = b.add_input("x", in.dtype, dims), to = b.add_value("y", in.dtype, in.shape.rank, dims);
  StepDef step{"Unary", "table", {from}, {to}, {{"fn", fn}}};
  for (const auto& [key, value] : attrs) step.attrs[key.cast<std::string>()] = value.cast<double>();
  b.add_step(std::move(step));
  b.add_output("y", to);
  Session s(b.build(), {"", 1, false, {}});
  const auto call = s.prepare({in.shape});
  py::array y = empty_array(in.dtype, in.shape);
  const py::array dense = py::array::ensure(x, py::array::c_style);
  call->set_input(0, dense.data());
  call->set_output(0, y.mutable_data());
  call->run();
  return y;
}

py::list kernels() {
  py::list out;
  for (const KernelInfo& k : kernel_list()) out.append(py::make_tuple(k.family, name_of(k.isa), k.exercised));
  return out;
}

py::list isas() {
  py::list out;
  for (Isa isa : compiled_isas()) out.append(py::make_tuple(name_of(isa), supported(isa)));
  return out;
}

py::tuple measured_peak(const std::string& kind, const std::string& isa, int threads) {
  if (kind != "int8" && kind != "float")
    fail(ErrorKind::invalid_argument, "peak: kind is 'int8' or 'float', not '%s'", kind.c_str());
  const Isa level = choose_isa(isa);
  const int many = threads > 0 ? threads : default_threads();
  Peak p;
  {
    py::gil_scoped_release release;
    p = kind == "int8" ? int8_peak(level, many) : float_peak(level, many);
  }
  return py::make_tuple(p.gmacs, p.instruction);
}

}  // namespace
}  // namespace octavo::python

PYBIND11_MODULE(_core, m) {
  using namespace octavo;
  using namespace octavo::python;
  m.doc() = "The C++ core of octavo: plans, sessions and kernels. Use it through the octavo package.";
  py::register_exception_translator(&translate);
  bind_plan(m);
  bind_session(m);
  m.def("unary", &unary, py::arg("fn"), py::arg("x"), py::arg("attrs") = py::dict());
  m.def("kernels", &kernels, "[(family, ISA level, exercised in this process)]");
  m.def("isas", &isas, "[(ISA level compiled in, supported by this CPU)]");
  m.def("best_isa", [] { return name_of(best_isa()); });
  m.def("peak", &measured_peak, py::arg("kind"), py::arg("isa") = "", py::arg("threads") = 1,
        "(10^9 multiply-accumulates a second, instruction) of the best loop of a level: kind is 'int8' or 'float'. "
        "Measured anew by each call, about 0.15 s; (0, '') for a level without such an instruction.");
  m.def("op_names", &op_names, "Plan operators this build knows.");
  m.def("default_threads", &default_threads);
  m.def("bytes_held", &bytes_held, "Bytes the core holds now (packed weights, arenas, plans).");
  m.def("bytes_peak", &bytes_peak, "The most bytes the core has held.");
  m.def("release_memory", &release_memory, "Gives memory that was freed back to the system.");
  m.attr("compiler") = "gcc-compatible " __VERSION__;
}
