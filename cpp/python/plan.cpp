// PlanBuilder and Plan.
#include "plan/plan.h"

#include "python/bind.h"

namespace octavo::python {
namespace {

Attr attr_from(const std::string& key, const py::handle& value) {
  if (py::isinstance<py::bool_>(value)) return int64_t(value.cast<bool>());
  if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (py::isinstance<py::sequence>(value)) {
    bool integral = true;
    for (const auto& x : value.cast<py::sequence>()) integral = integral && py::isinstance<py::int_>(x);
    if (integral) return value.cast<std::vector<int64_t>>();
    return value.cast<std::vector<double>>();
  }
  // numpy scalars
  if (py::hasattr(value, "__index__")) return py::int_(py::reinterpret_borrow<py::object>(value)).cast<int64_t>();
  if (py::hasattr(value, "__float__")) return py::float_(py::reinterpret_borrow<py::object>(value)).cast<double>();
  fail(ErrorKind::invalid_argument, "attribute '%s' has a type that plans do not hold", key.c_str());
}

py::object attr_to(const Attr& a) {
  return std::visit([](const auto& v) -> py::object { return py::cast(v); }, a);
}

std::vector<Dim> dims_from(PlanBuilder& b, const py::sequence& dims) {
  std::vector<Dim> out;
  for (const auto& d : dims) {
    if (d.is_none())
      out.push_back(Dim{});
    else if (py::isinstance<py::str>(d))
      out.push_back(b.symbol(d.cast<std::string>()));
    else
      out.push_back(PlanBuilder::size(d.cast<int64_t>()));
  }
  if (out.size() > size_t(kMaxRank))
    fail(ErrorKind::unsupported, "tensors of more than %d dimensions are not supported", kMaxRank);
  return out;
}

py::list dims_to(const Plan& p, const ValueDef& v) {
  py::list out;
  for (const Dim& d : v.dims) {
    if (d.symbol >= 0)
      out.append(p.symbols[d.symbol]);
    else if (d.size >= 0)
      out.append(d.size);
    else
      out.append(py::none());
  }
  return out;
}

py::list describe_steps(const Plan& p) {
  py::list out;
  for (const StepDef& s : p.steps) {
    py::dict attrs, step;
    for (const auto& [key, a] : s.attrs) attrs[key.c_str()] = attr_to(a);
    step["op"] = s.op;
    step["name"] = s.name;
    step["inputs"] = s.inputs;
    step["outputs"] = s.outputs;
    step["attrs"] = attrs;
    out.append(step);
  }
  return out;
}

py::list describe_values(const std::shared_ptr<const Plan>& p) {
  py::list out;
  for (const ValueDef& v : p->values) {
    py::dict d;
    d["name"] = v.name;
    d["dtype"] = int(v.dtype);
    d["dims"] = v.rank < 0 ? py::object(py::none()) : py::object(dims_to(*p, v));
    d["constant"] = v.constant >= 0;
    d["bytes"] = v.constant >= 0 ? p->constants[v.constant].bytes() : 0;
    out.append(d);
  }
  return out;
}

void bind_builder(py::module_& m) {
  py::class_<PlanBuilder>(m, "PlanBuilder", "Builds a plan step by step (docs/plan.md).")
      .def(py::init<>())
      .def(
          "add_input",
          [](PlanBuilder& b, const std::string& name, int dtype, const py::sequence& dims) {
            return b.add_input(name, DType(dtype), dims_from(b, dims));
          },
          py::arg("name"), py::arg("dtype"), py::arg("dims"))
      .def(
          "add_value",
          [](PlanBuilder& b, const std::string& name, int dtype, const py::object& dims) {
            if (dims.is_none()) return b.add_value(name, DType(dtype), -1);
            const auto d = dims_from(b, dims.cast<py::sequence>());
            return b.add_value(name, DType(dtype), int(d.size()), d);
          },
          py::arg("name"), py::arg("dtype"), py::arg("dims"))
      .def(
          "add_constant",
          [](PlanBuilder& b, const std::string& name, const py::array& a) {
            const py::array dense = py::array::ensure(a, py::array::c_style);
            return b.add_constant(name, core_dtype(dense.dtype()), shape_of(a), dense.data());
          },
          py::arg("name"), py::arg("array"))
      .def(
          "add_step",
          [](PlanBuilder& b, const std::string& op, const std::string& name, std::vector<int32_t> inputs,
             std::vector<int32_t> outputs, const py::dict& attrs) {
            StepDef s{op, name, std::move(inputs), std::move(outputs), {}};
            for (const auto& [key, value] : attrs) {
              const auto k = key.cast<std::string>();
              s.attrs[k] = attr_from(k, value);
            }
            b.add_step(std::move(s));
          },
          py::arg("op"), py::arg("name"), py::arg("inputs"), py::arg("outputs"), py::arg("attrs") = py::dict())
      .def("add_output", &PlanBuilder::add_output, py::arg("name"), py::arg("value"))
      .def("set_metadata", &PlanBuilder::set_metadata, py::arg("key"), py::arg("text"))
      .def("build", [](PlanBuilder& b) { return std::const_pointer_cast<Plan>(b.build()); });
}

}  // namespace

void bind_plan(py::module_& m) {
  py::class_<Plan, std::shared_ptr<Plan>> plan(m, "Plan", "A flat list of steps over numbered values.");
  plan.def_static(
          "load", [](const std::string& path) { return std::const_pointer_cast<Plan>(Plan::load(path)); },
          py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def_static(
          "from_bytes",
          [](const py::bytes& data) {
            const std::string_view v = data;
            return std::const_pointer_cast<Plan>(Plan::from_bytes(v.data(), v.size()));
          },
          py::arg("data"))
      .def("save", &Plan::save, py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def("to_bytes", [](const Plan& p) { return py::bytes(p.to_bytes()); })
      .def_property_readonly(
          "inputs",
          [](const Plan& p) {
            py::list out;
            for (int32_t k : p.inputs)
              out.append(py::make_tuple(p.values[k].name, int(p.values[k].dtype), dims_to(p, p.values[k])));
            return out;
          })
      .def_property_readonly(
          "outputs",
          [](const Plan& p) {
            py::list out;
            for (const OutputDef& o : p.outputs) {
              const ValueDef& v = p.values[o.value];
              out.append(py::make_tuple(o.name, int(v.dtype),
                                        v.rank < 0 ? py::object(py::none()) : py::object(dims_to(p, v))));
            }
            return out;
          })
      .def_property_readonly("steps", &describe_steps)
      .def_property_readonly("values", [](const std::shared_ptr<Plan>& p) { return describe_values(p); })
      .def_property_readonly("input_values", [](const Plan& p) { return p.inputs; })
      .def_property_readonly("output_values",
                             [](const Plan& p) {
                               std::vector<int32_t> v;
                               for (const auto& o : p.outputs) v.push_back(o.value);
                               return v;
                             })
      .def_property_readonly("python_step", &Plan::python_step)
      .def_property_readonly("metadata", [](const Plan& p) { return p.metadata; })
      .def(
          "constant",
          [](py::object self, int32_t value) -> py::object {
            const auto& p = self.cast<const Plan&>();
            if (value < 0 || value >= int32_t(p.values.size()) || p.values[value].constant < 0) return py::none();
            py::array a = array_over(p.constants[p.values[value].constant], self);
            a.attr("setflags")(py::arg("write") = false);
            return std::move(a);
          },
          py::arg("value"), "The read-only array behind a constant value, or None.");
  bind_builder(m);
}

}  // namespace octavo::python
