// The `.octavo` file, version 1 (all little-endian):
//   header   64 bytes: magic "\x89OCTAVO\n", u32 version, u32 sections, u64 file size, u32 CRC-32 of the section table
//   table    64 bytes a section: u32 kind, u32 flags, u64 offset, u64 size, u32 CRC-32 of its bytes, zeros
//   sections at multiples of 64
// Kinds: 1 PLAN (symbols, values, steps, inputs, outputs, metadata), 2 WEIGHTS (raw constants, 64-byte aligned, with
// kSlack zero bytes after the last). A reader skips kinds it does not know, unless flag 1 ("required") is set: that is
// how entropy-coded and sparse sections can come later.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/crc32.h"
#include "plan/bytes.h"
#include "plan/plan.h"

namespace octavo {
namespace {

constexpr char kMagic[9] = "\x89OCTAVO\n";
constexpr uint32_t kVersion = 1;
enum Kind : uint32_t { kPlan = 1, kWeights = 2 };
constexpr uint32_t kRequired = 1;
constexpr size_t kHeader = 64, kEntry = 64;
constexpr uint32_t kMaxSections = 64;

[[noreturn]] void damaged(const char* what) { fail(ErrorKind::invalid_model, "not a readable .octavo file: %s", what); }

enum AttrTag : uint8_t { kInt, kFloat, kText, kInts, kFloats };

void write_attr(Writer& w, const Attr& a) {
  w.put(uint8_t(a.index()));
  if (const auto* i = std::get_if<int64_t>(&a)) w.put(*i);
  if (const auto* f = std::get_if<double>(&a)) w.put(*f);
  if (const auto* s = std::get_if<std::string>(&a)) w.text(*s);
  if (const auto* v = std::get_if<std::vector<int64_t>>(&a)) {
    w.put(uint32_t(v->size()));
    for (int64_t x : *v) w.put(x);
  }
  if (const auto* v = std::get_if<std::vector<double>>(&a)) {
    w.put(uint32_t(v->size()));
    for (double x : *v) w.put(x);
  }
}

static_assert(std::is_same_v<std::variant_alternative_t<kInt, Attr>, int64_t> &&
                  std::is_same_v<std::variant_alternative_t<kFloat, Attr>, double> &&
                  std::is_same_v<std::variant_alternative_t<kText, Attr>, std::string> &&
                  std::is_same_v<std::variant_alternative_t<kInts, Attr>, std::vector<int64_t>> &&
                  std::is_same_v<std::variant_alternative_t<kFloats, Attr>, std::vector<double>>,
              "the file's attribute tags are the variant's indices");

Attr read_attr(Reader& r) {
  switch (r.get<uint8_t>()) {
    case kInt:
      return r.get<int64_t>();
    case kFloat:
      return r.get<double>();
    case kText:
      return r.text();
    case kInts: {
      std::vector<int64_t> v(r.count(8));
      for (auto& x : v) x = r.get<int64_t>();
      return v;
    }
    case kFloats: {
      std::vector<double> v(r.count(8));
      for (auto& x : v) x = r.get<double>();
      return v;
    }
    default:
      damaged("unknown attribute type");
  }
}

void write_values(Writer& w, const Plan& plan) {
  w.put(uint32_t(plan.values.size()));
  for (const ValueDef& v : plan.values) {
    w.text(v.name);
    w.put(uint8_t(v.dtype));
    w.put(int8_t(v.rank));
    for (const Dim& d : v.dims) {
      w.put(d.size);
      w.put(d.symbol);
    }
    w.put(v.constant);
  }
}

void read_values(Reader& r, Plan& plan) {
  plan.values.resize(r.count(10));
  for (ValueDef& v : plan.values) {
    v.name = r.text();
    v.dtype = DType(r.get<uint8_t>());
    v.rank = r.get<int8_t>();
    if (v.rank > kMaxRank || v.rank < -1) damaged("a value's rank is out of range");
    if (v.rank > 0) v.dims.resize(size_t(v.rank));
    for (Dim& d : v.dims) {
      d.size = r.get<int64_t>();
      d.symbol = r.get<int32_t>();
    }
    v.constant = r.get<int32_t>();
  }
}

std::string encode_plan(const Plan& plan, const std::vector<uint64_t>& offsets) {
  Writer w;
  w.put(uint32_t(plan.symbols.size()));
  for (const auto& s : plan.symbols) w.text(s);
  w.put(uint32_t(plan.constants.size()));
  for (size_t k = 0; k < plan.constants.size(); k++) {
    const View& c = plan.constants[k];
    w.put(uint8_t(c.dtype));
    w.put(int8_t(c.shape.rank));
    for (int i = 0; i < c.shape.rank; i++) w.put(c.shape[i]);
    w.put(offsets[k]);
  }
  write_values(w, plan);
  w.put(uint32_t(plan.steps.size()));
  for (const StepDef& s : plan.steps) {
    w.text(s.op);
    w.text(s.name);
    w.put(uint32_t(s.inputs.size()));
    for (int32_t k : s.inputs) w.put(k);
    w.put(uint32_t(s.outputs.size()));
    for (int32_t k : s.outputs) w.put(k);
    w.put(uint32_t(s.attrs.size()));
    for (const auto& [key, attr] : s.attrs) {
      w.text(key);
      write_attr(w, attr);
    }
  }
  w.put(uint32_t(plan.inputs.size()));
  for (int32_t k : plan.inputs) w.put(k);
  w.put(uint32_t(plan.outputs.size()));
  for (const OutputDef& o : plan.outputs) {
    w.text(o.name);
    w.put(o.value);
  }
  w.put(uint32_t(plan.metadata.size()));
  for (const auto& [key, value] : plan.metadata) {
    w.text(key);
    w.text(value);
  }
  return w.bytes();
}

void read_constants(Reader& r, Plan& plan, const char* weights, uint64_t weight_bytes) {
  plan.constants.resize(r.count(10));
  for (View& c : plan.constants) {
    c.dtype = DType(r.get<uint8_t>());
    c.shape.rank = r.get<int8_t>();
    if (size_of(c.dtype) == 0) damaged("a constant has an unknown dtype");
    if (c.shape.rank < 0 || c.shape.rank > kMaxRank) damaged("a constant's rank is out of range");
    uint64_t bytes = size_of(c.dtype);
    for (int i = 0; i < c.shape.rank; i++) {
      c.shape[i] = r.get<int64_t>();
      if (c.shape[i] < 0 || __builtin_mul_overflow(bytes, uint64_t(c.shape[i]), &bytes))
        damaged("a constant's shape is out of range");
    }
    const auto offset = r.get<uint64_t>();
    if (offset % kAlign != 0 || offset > weight_bytes || bytes > weight_bytes - offset ||
        weight_bytes - offset - bytes < kSlack)
      damaged("a constant lies outside the weights section");
    if (c.shape.extent(kMaxElements) < 0) damaged("a constant's shape is out of range");
    c.data = const_cast<char*>(weights) + offset;
    c.constant = true;
    c.set_dense_pitches();
  }
}

void read_plan(Reader& r, Plan& plan, const char* weights, uint64_t weight_bytes) {
  plan.symbols.resize(r.count(4));
  for (auto& s : plan.symbols) s = r.text();
  read_constants(r, plan, weights, weight_bytes);
  read_values(r, plan);
  plan.steps.resize(r.count(20));
  for (StepDef& s : plan.steps) {
    s.op = r.text();
    s.name = r.text();
    s.inputs.resize(r.count(4));
    for (auto& k : s.inputs) k = r.get<int32_t>();
    s.outputs.resize(r.count(4));
    for (auto& k : s.outputs) k = r.get<int32_t>();
    for (uint32_t n = r.count(6); n > 0; n--) {
      std::string key = r.text();
      s.attrs[key] = read_attr(r);
    }
  }
  plan.inputs.resize(r.count(4));
  for (auto& k : plan.inputs) k = r.get<int32_t>();
  plan.outputs.resize(r.count(8));
  for (OutputDef& o : plan.outputs) {
    o.name = r.text();
    o.value = r.get<int32_t>();
  }
  for (uint32_t n = r.count(8); n > 0; n--) {
    std::string key = r.text();
    plan.metadata[key] = r.text();
  }
  if (!r.done()) damaged("bytes are left over after the plan");
}

template <class T>
T field(const char* at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

struct Section {
  const char* data = nullptr;
  uint64_t size = 0;
};

void read_sections(const char* file, uint64_t bytes, Section& plan, Section& weights) {
  if (bytes < kHeader) damaged("it is shorter than the header");
  if (std::memcmp(file, kMagic, 8) != 0) damaged("it does not begin with the .octavo magic");
  const auto version = field<uint32_t>(file + 8), count = field<uint32_t>(file + 12);
  if (version != kVersion)
    fail(ErrorKind::unsupported,
         "the .octavo file has version %u; this build reads version %u: update octavo or pack anew", version, kVersion);
  if (field<uint64_t>(file + 16) != bytes) damaged("its size is not the one it records (truncated?)");
  if (count > kMaxSections || kHeader + uint64_t(count) * kEntry > bytes) damaged("its section table is out of range");
  if (field<uint32_t>(file + 24) != crc32(file + kHeader, count * kEntry)) damaged("its section table is damaged");
  for (uint32_t k = 0; k < count; k++) {
    const char* entry = file + kHeader + k * kEntry;
    const auto kind = field<uint32_t>(entry), flags = field<uint32_t>(entry + 4);
    const auto offset = field<uint64_t>(entry + 8), size = field<uint64_t>(entry + 16);
    if (offset % kAlign != 0 || offset > bytes || size > bytes - offset) damaged("a section is out of range");
    Section* into = kind == kPlan ? &plan : kind == kWeights ? &weights : nullptr;
    if (into == nullptr) {
      if (flags & kRequired)
        fail(ErrorKind::unsupported,
             "the .octavo file has a section of kind %u that this build cannot read: update octavo", kind);
      continue;
    }
    if (into->data != nullptr) damaged("a section appears twice");
    if (field<uint32_t>(entry + 24) != crc32(file + offset, size)) damaged("a section's checksum is wrong");
    *into = {file + offset, size};
  }
  if (plan.data == nullptr || weights.data == nullptr) damaged("its plan or weights section is missing");
}

std::shared_ptr<const Plan> decode(const char* file, uint64_t bytes, std::shared_ptr<void> memory) {
  Section plan_section, weights;
  read_sections(file, bytes, plan_section, weights);
  auto plan = std::make_shared<Plan>();
  Reader r(plan_section.data, plan_section.size);
  read_plan(r, *plan, weights.data, weights.size);
  plan->storage.push_back(std::move(memory));
  plan->validate();
  return plan;
}

struct Mapping {
  void* data = MAP_FAILED;
  size_t size = 0;
  ~Mapping() {
    if (data != MAP_FAILED) munmap(data, size);
  }
};

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

void put_entry(Writer& w, uint32_t kind, uint64_t offset, const std::string& section) {
  w.put(kind);
  w.put(kRequired);
  w.put(offset);
  w.put(uint64_t(section.size()));
  w.put(crc32(section.data(), section.size()));
  for (int k = 0; k < 9; k++) w.put(uint32_t(0));
}

}  // namespace

std::string Plan::to_bytes() const {
  if (const std::string step = python_step(); !step.empty())
    fail(ErrorKind::unsupported,
         "node '%s' runs as a Python step, so the model cannot be packed into a .octavo file: replace that operator",
         step.c_str());
  std::vector<uint64_t> offsets;
  std::string weights;
  for (const View& c : constants) {
    weights.resize(align_up(weights.size()));
    offsets.push_back(weights.size());
    weights.append(static_cast<const char*>(c.data), c.bytes());
  }
  weights.append(kSlack, '\0');
  const std::string body = encode_plan(*this, offsets);
  const uint64_t plan_at = kHeader + 2 * kEntry, weights_at = align_up(plan_at + body.size());
  Writer table;
  put_entry(table, kPlan, plan_at, body);
  put_entry(table, kWeights, weights_at, weights);
  Writer file;
  for (int k = 0; k < 8; k++) file.put(kMagic[k]);
  file.put(kVersion);
  file.put(uint32_t(2));
  file.put(uint64_t(weights_at + weights.size()));
  file.put(crc32(table.bytes().data(), table.bytes().size()));
  std::string bytes = file.bytes();
  bytes.resize(kHeader, '\0');
  bytes += table.bytes() + body;
  bytes.resize(weights_at, '\0');
  return bytes + weights;
}

void Plan::save(const std::string& path) const {
  const std::string bytes = to_bytes();
  const std::string beside = path + ".tmp" + std::to_string(getpid());
  const auto give_up = [&](const char* what) {
    const std::string why = std::strerror(errno);
    unlink(beside.c_str());
    fail(ErrorKind::io, "cannot %s '%s': %s", what, path.c_str(), why.c_str());
  };
  {
    Descriptor file{open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
    if (file.fd < 0) fail(ErrorKind::io, "cannot create '%s': %s", beside.c_str(), std::strerror(errno));
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = write(file.fd, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) give_up("write");
      done += size_t(n);
    }
    if (fsync(file.fd) != 0) give_up("write");
  }
  if (rename(beside.c_str(), path.c_str()) != 0) give_up("replace");
}

std::shared_ptr<const Plan> Plan::load(const std::string& path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail(ErrorKind::io, "cannot open '%s': %s", path.c_str(), std::strerror(errno));
  struct stat info;
  if (fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode))
    fail(ErrorKind::io, "'%s' is not a regular file", path.c_str());
  if (info.st_size < int64_t(kHeader)) damaged("it is shorter than the header");
  auto map = std::make_shared<Mapping>();
  map->size = size_t(info.st_size);
  map->data = mmap(nullptr, map->size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (map->data == MAP_FAILED) fail(ErrorKind::io, "cannot map '%s': %s", path.c_str(), std::strerror(errno));
  const auto* bytes = static_cast<const char*>(map->data);
  const size_t size = map->size;
  return decode(bytes, size, std::move(map));
}

std::shared_ptr<const Plan> Plan::from_bytes(const void* data, size_t bytes) {
  auto copy = std::make_shared<Buffer>(bytes);
  std::memcpy(copy->data(), data, bytes);
  const auto* at = copy->as<char>();
  return decode(at, bytes, std::move(copy));
}

}  // namespace octavo
