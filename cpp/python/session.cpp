// Session and BoundRun: borrow the caller's buffers, release the GIL, run.
#include "plan/session.h"

#include <cstring>

#include "python/bind.h"

namespace octavo::python {
namespace {

HostStep host_step(std::vector<py::function> callbacks) {
  if (callbacks.empty()) return {};
  // The functions must be dropped with the GIL held.
  auto shared = std::shared_ptr<std::vector<py::function>>(new std::vector<py::function>(std::move(callbacks)),
                                                           [](std::vector<py::function>* v) {
                                                             py::gil_scoped_acquire gil;
                                                             delete v;
                                                           });
  return [shared](int callback, const std::vector<View>& inputs) {
    py::gil_scoped_acquire gil;
    if (callback < 0 || size_t(callback) >= shared->size())
      fail(ErrorKind::invalid_model, "the plan names Python step %d, but %zu were given", callback, shared->size());
    py::list args;
    for (const View& v : inputs) {
      if (v.dtype == DType::none) {
        args.append(py::none());
        continue;
      }
      py::array a = empty_array(v.dtype, v.shape);
      if (v.bytes() > 0) std::memcpy(a.mutable_data(), v.data, v.bytes());
      args.append(a);
    }
    std::vector<HostTensor> results;
    const py::object given = (*shared)[size_t(callback)](args);  // kept alive while its items are read
    for (const auto& r : given) {
      const py::array a = py::array::ensure(py::reinterpret_borrow<py::object>(r), py::array::c_style);
      if (!a) throw py::error_already_set();
      HostTensor t;
      t.dtype = core_dtype(a.dtype());
      t.shape = shape_of(py::isinstance<py::array>(r) ? py::reinterpret_borrow<py::array>(r) : a);  // or a number
      t.memory = Buffer(size_t(a.nbytes()));
      if (a.nbytes() > 0) std::memcpy(t.memory.data(), a.data(), size_t(a.nbytes()));
      results.push_back(std::move(t));
    }
    return results;
  };
}

// The arrays of one run: inputs checked for dtype and density (shapes are checked by the session).
std::vector<py::array> take_inputs(const Plan& plan, const py::sequence& feeds) {
  if (py::len(feeds) != plan.inputs.size())
    fail(ErrorKind::invalid_argument, "the model has %zu inputs, but %zu were given", plan.inputs.size(),
         size_t(py::len(feeds)));
  std::vector<py::array> arrays;
  for (size_t k = 0; k < plan.inputs.size(); k++) {
    const ValueDef& def = plan.values[plan.inputs[k]];
    const py::object feed = feeds[k];
    if (!py::isinstance<py::array>(feed))
      fail(ErrorKind::invalid_argument, "input '%s' should be a numpy array", def.name.c_str());
    const auto a = py::reinterpret_borrow<py::array>(feed);
    if (!numpy_dtype(def.dtype).equal(a.dtype()))
      fail(ErrorKind::invalid_argument,
           "input '%s' should have dtype %s, but has %s; convert it with .astype(numpy.%s)", def.name.c_str(),
           name_of(def.dtype), py::str(a.dtype()).cast<std::string>().c_str(), name_of(def.dtype));
    const int want = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    arrays.push_back((a.flags() & want) == want ? a : py::array::ensure(a.attr("copy")(), py::array::c_style));
  }
  return arrays;
}

std::vector<Shape> shapes_of(const std::vector<py::array>& arrays) {
  std::vector<Shape> shapes;
  for (const py::array& a : arrays) shapes.push_back(shape_of(a));
  return shapes;
}

// The caller's buffer for output k, checked.
py::array check_out(const Plan& plan, int k, const Shape& shape, const py::object& given) {
  const OutputDef& o = plan.outputs[k];
  const DType dtype = plan.values[o.value].dtype;
  if (!py::isinstance<py::array>(given))
    fail(ErrorKind::invalid_argument, "out= for output '%s' should be a numpy array", o.name.c_str());
  const auto a = py::reinterpret_borrow<py::array>(given);
  const int want = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!numpy_dtype(dtype).equal(a.dtype()) || shape_of(a) != shape || (a.flags() & want) != want || !a.writeable())
    fail(ErrorKind::invalid_argument,
         "out= for output '%s' should be a writable, aligned C-contiguous %s array of shape %s, but is %s of shape %s",
         o.name.c_str(), name_of(dtype), py::str(empty_array(dtype, shape).attr("shape")).cast<std::string>().c_str(),
         py::str(a.dtype()).cast<std::string>().c_str(), py::str(a.attr("shape")).cast<std::string>().c_str());
  return a;
}

std::vector<int> wanted_outputs(const Plan& plan, const py::object& outputs) {
  std::vector<int> wanted;
  if (outputs.is_none()) {
    for (size_t k = 0; k < plan.outputs.size(); k++) wanted.push_back(int(k));
    return wanted;
  }
  for (const auto& o : outputs) {
    const int k = o.cast<int>();
    if (k < 0 || k >= int(plan.outputs.size())) fail(ErrorKind::invalid_argument, "there is no output number %d", k);
    wanted.push_back(k);
  }
  return wanted;
}

// Arrays for the wanted outputs whose shape is known, set on the call; the others are null until after the run.
std::vector<py::object> set_outputs(const Plan& plan, Call& call, const std::vector<int>& wanted,
                                    const py::object& out) {
  std::vector<py::object> arrays;
  if (!out.is_none() && py::len(out) != wanted.size())
    fail(ErrorKind::invalid_argument, "out= should hold one entry an output: %zu", wanted.size());
  std::vector<char> used(plan.outputs.size(), 0);
  for (size_t i = 0; i < wanted.size(); i++) {
    const int k = wanted[i];
    const Shape* shape = call.output_shape(k);
    const py::object given = out.is_none() ? py::object(py::none()) : py::object(out[py::int_(i)]);
    if (shape == nullptr) {
      arrays.push_back(py::none());
      continue;
    }
    py::array a = given.is_none() ? empty_array(plan.values[plan.outputs[k].value].dtype, *shape)
                                  : check_out(plan, k, *shape, given);
    if (used[k]) fail(ErrorKind::invalid_argument, "output number %d is asked for twice", k);
    used[k] = 1;
    call.set_output(k, a.mutable_data());
    arrays.push_back(std::move(a));
  }
  return arrays;
}

// After the run: outputs whose shape was only known then.
void collect_late(const Plan& plan, const Call& call, const std::vector<int>& wanted, const py::object& out,
                  std::vector<py::object>& arrays) {
  for (size_t i = 0; i < wanted.size(); i++) {
    if (!arrays[i].is_none()) continue;
    const View v = call.output_view(wanted[i]);
    const py::object given = out.is_none() ? py::object(py::none()) : py::object(out[py::int_(i)]);
    py::array a = given.is_none() ? empty_array(v.dtype, v.shape) : check_out(plan, wanted[i], v.shape, given);
    if (v.bytes() > 0) std::memcpy(a.mutable_data(), v.data, v.bytes());
    arrays[i] = std::move(a);
  }
}

py::list to_list(std::vector<py::object> arrays) {
  py::list list(arrays.size());
  for (size_t i = 0; i < arrays.size(); i++) list[i] = std::move(arrays[i]);
  return list;
}

py::list run(Session& s, const py::sequence& feeds, const py::object& outputs, const py::object& out) {
  const std::vector<py::array> inputs = take_inputs(s.plan(), feeds);
  const std::vector<int> wanted = wanted_outputs(s.plan(), outputs);
  const auto call = s.prepare(shapes_of(inputs));
  for (size_t k = 0; k < inputs.size(); k++) call->set_input(int(k), inputs[k].data());
  std::vector<py::object> arrays = set_outputs(s.plan(), *call, wanted, out);
  {
    py::gil_scoped_release release;
    call->run();
  }
  collect_late(s.plan(), *call, wanted, out, arrays);
  return to_list(std::move(arrays));
}

// Buffers checked once; run() computes from the bound input arrays into output arrays that it reuses.
class BoundRun {
 public:
  BoundRun(py::object session, const py::sequence& feeds, const py::object& out)
      : owner_(std::move(session)), session_(owner_.cast<Session&>()), inputs_(take_inputs(session_.plan(), feeds)) {
    call_ = session_.prepare(shapes_of(inputs_));
    for (size_t k = 0; k < inputs_.size(); k++) call_->set_input(int(k), inputs_[k].data());
    wanted_ = wanted_outputs(session_.plan(), py::none());
    arrays_ = set_outputs(session_.plan(), *call_, wanted_, out);
    for (const auto& a : arrays_) late_ = late_ || a.is_none();
    if (!late_) list_ = to_list(arrays_);
  }
  ~BoundRun() { call_.reset(); }

  py::list run() {
    {
      py::gil_scoped_release release;
      call_->run();
    }
    if (!late_) return list_;
    std::vector<py::object> arrays = arrays_;
    collect_late(session_.plan(), *call_, wanted_, py::none(), arrays);
    return to_list(std::move(arrays));
  }
  std::vector<py::array> inputs() const { return inputs_; }
  size_t arena_bytes() const { return call_->arena_bytes(); }

 private:
  py::object owner_;
  Session& session_;
  std::vector<py::array> inputs_;
  std::unique_ptr<Call> call_;
  std::vector<int> wanted_;
  std::vector<py::object> arrays_;
  py::list list_;
  bool late_ = false;
};

py::list observe(Session& s, const py::sequence& feeds, const std::vector<int32_t>& values,
                 const py::function& callback) {
  const std::vector<py::array> inputs = take_inputs(s.plan(), feeds);
  std::vector<char> watched(s.plan().values.size(), 0);
  for (int32_t v : values) {
    if (v < 0 || v >= int32_t(watched.size())) fail(ErrorKind::invalid_argument, "there is no value number %d", v);
    watched[v] = 1;
  }
  const auto call = s.prepare(shapes_of(inputs));
  for (size_t k = 0; k < inputs.size(); k++) call->set_input(int(k), inputs[k].data());
  const py::object none = py::none();
  const std::vector<int> wanted = wanted_outputs(s.plan(), none);
  std::vector<py::object> arrays = set_outputs(s.plan(), *call, wanted, none);
  const Observer observer = [&](int32_t value, const View& view) {
    py::gil_scoped_acquire gil;
    py::array a = empty_array(view.dtype, view.shape);
    if (view.bytes() > 0) copy_dense(view, a.mutable_data());
    callback(value, a);
  };
  {
    py::gil_scoped_release release;
    call->run(&observer, &watched);
  }
  collect_late(s.plan(), *call, wanted, none, arrays);
  return to_list(std::move(arrays));
}

py::list step_infos(Session& s, const py::object& shapes) {
  std::vector<Shape> given;
  if (!shapes.is_none())
    for (const auto& item : shapes) {
      Shape shape;
      for (const auto& d : item) {
        if (shape.rank == kMaxRank) fail(ErrorKind::invalid_argument, "a shape has more than %d dimensions", kMaxRank);
        shape.dim[shape.rank++] = d.cast<int64_t>();
      }
      given.push_back(shape);
    }
  py::list out;
  for (const StepInfo& i : s.steps(given)) {
    py::dict d;
    d["name"] = i.name;
    d["op"] = i.op;
    d["kernel"] = i.kernel;
    d["macs"] = i.macs;
    d["ns"] = i.nanoseconds;
    d["calls"] = i.calls;
    d["threads"] = i.threads;
    py::list shapes_out;
    for (const Shape& shape : i.outputs) shapes_out.append(std::vector<int64_t>(shape.dim, shape.dim + shape.rank));
    d["shapes"] = shapes_out;
    out.append(d);
  }
  return out;
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<Session>(m, "Session", "A plan bound to an ISA level.")
      .def(py::init([](const std::shared_ptr<Plan>& plan, const std::string& isa, int threads, bool profile,
                       std::vector<py::function> callbacks) {
             SessionOptions o{isa, threads, profile, host_step(std::move(callbacks))};
             return std::make_unique<Session>(plan, std::move(o));
           }),
           py::arg("plan").none(false), py::arg("isa") = "", py::arg("threads") = 0, py::arg("profile") = false,
           py::arg("callbacks") = std::vector<py::function>())
      .def("run", &run, py::arg("feeds"), py::arg("outputs") = py::none(), py::arg("out") = py::none())
      .def(
          "bind",
          [](const py::object& self, const py::sequence& feeds, const py::object& out) {
            return std::make_unique<BoundRun>(self, feeds, out);
          },
          py::arg("feeds"), py::arg("out") = py::none())
      .def("observe", &observe, py::arg("feeds"), py::arg("values"), py::arg("callback"))
      .def("steps_info", &step_infos, py::arg("shapes") = py::none())
      .def("profile", [](Session& s) { return step_infos(s, py::none()); })
      .def_property_readonly("isa", [](const Session& s) { return name_of(s.isa()); })
      .def_property_readonly("threads", &Session::threads)
      .def_property_readonly("plan", [](const Session& s) { return std::const_pointer_cast<Plan>(s.shared_plan()); })
      .def_property_readonly("packed_bytes", &Session::packed_bytes);
  py::class_<BoundRun>(m, "BoundRun", "A run whose buffers were checked once.")
      .def("run", &BoundRun::run)
      .def_property_readonly("inputs", &BoundRun::inputs)
      .def_property_readonly("arena_bytes", &BoundRun::arena_bytes);
}

}  // namespace octavo::python
