#include "tools/npy.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace octavo {
namespace {

struct Closer {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Closer>;

[[noreturn]] void bad(const std::string& path, const char* what) {
  fail(ErrorKind::invalid_argument, "'%s' is not a .npy file octavo can read: %s", path.c_str(), what);
}

File open_file(const std::string& path, const char* mode) {
  File f(std::fopen(path.c_str(), mode));
  if (!f) fail(ErrorKind::io, "'%s' cannot be opened: %s", path.c_str(), std::strerror(errno));
  return f;
}

int64_t size_of_file(std::FILE* f, const std::string& path) {
  if (std::fseek(f, 0, SEEK_END) != 0) fail(ErrorKind::io, "'%s' is not a regular file", path.c_str());
  const long size = std::ftell(f);
  if (size < 0 || std::fseek(f, 0, SEEK_SET) != 0) fail(ErrorKind::io, "'%s' is not a regular file", path.c_str());
  return size;
}

void read_exactly(std::FILE* f, void* to, size_t bytes, const std::string& path) {
  if (bytes > 0 && std::fread(to, 1, bytes, f) != bytes) fail(ErrorKind::io, "'%s' ends too early", path.c_str());
}

// numpy's type strings, little-endian.
struct TypeName {
  DType dtype;
  const char* text;
};
constexpr TypeName kTypes[] = {
    {DType::f32, "<f4"}, {DType::f64, "<f8"}, {DType::f16, "<f2"}, {DType::u8, "|u1"},
    {DType::s8, "|i1"},  {DType::u16, "<u2"}, {DType::s16, "<i2"}, {DType::u32, "<u4"},
    {DType::s32, "<i4"}, {DType::u64, "<u8"}, {DType::s64, "<i8"}, {DType::boolean, "|b1"},
};

// Reads the header's dictionary: exactly the keys descr, fortran_order and shape, in any order.
class Header {
 public:
  Header(const std::string& text, const std::string& path) : text_(text), path_(path) {}

  void parse(Array& a) {
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        descr = true;
        a.dtype = type();
      } else if (key == "fortran_order" && !order) {
        order = true;
        if (word() != "False") bad(path_, "it is in Fortran order; save numpy.ascontiguousarray(x) instead");
      } else if (key == "shape" && !shape) {
        shape = true;
        tuple(a.shape);
      } else {
        bad(path_, "its header has an unexpected key");
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip();
    if (at_ != text_.size() || !descr || !order || !shape) bad(path_, "its header is malformed");
  }

 private:
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) at_++;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    at_++;
    return true;
  }
  void expect(char c) {
    if (!take(c)) bad(path_, "its header is malformed");
  }
  std::string quoted() {
    expect('\'');
    const size_t end = text_.find('\'', at_);
    if (end == std::string::npos) bad(path_, "its header is malformed");
    const std::string s = text_.substr(at_, end - at_);
    at_ = end + 1;
    return s;
  }
  std::string word() {
    skip();
    const size_t from = at_;
    while (at_ < text_.size() && ((text_[at_] >= 'a' && text_[at_] <= 'z') || (text_[at_] >= 'A' && text_[at_] <= 'Z')))
      at_++;
    return text_.substr(from, at_ - from);
  }
  DType type() {
    const std::string s = quoted();
    for (const TypeName& t : kTypes)
      if (s == t.text || (t.text[0] == '|' && s.size() == 3 && s.substr(1) == t.text + 1)) return t.dtype;
    if (!s.empty() && s[0] == '>') bad(path_, "it is big-endian; save x.astype(x.dtype.newbyteorder('<'))");
    bad(path_, "its element type is not supported");
  }
  void tuple(Shape& s) {
    expect('(');
    while (!take(')')) {
      if (s.rank == kMaxRank) bad(path_, "it has more than 8 dimensions");
      skip();
      int64_t n = 0;
      const size_t from = at_;
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; at_++) {
        n = n * 10 + (text_[at_] - '0');
        if (n > int64_t(1) << 40) bad(path_, "a dimension is absurdly large");
      }
      if (at_ == from) bad(path_, "its header is malformed");
      s.dim[s.rank++] = n;
      if (!take(',')) {
        expect(')');
        break;
      }
    }
  }

  const std::string& text_;
  const std::string& path_;
  size_t at_ = 0;
};

// Bytes of an array whose dimensions are each at most 2^40; fails on overflow.
int64_t checked_bytes(const std::string& path, DType dtype, const Shape& shape) {
  int64_t n = int64_t(size_of(dtype));
  bool empty = false;
  for (int a = 0; a < shape.rank; a++) {
    empty = empty || shape.dim[a] == 0;
    if (shape.dim[a] > 0 && __builtin_mul_overflow(n, shape.dim[a], &n)) bad(path, "its shape is absurdly large");
  }
  return empty ? 0 : n;
}

}  // namespace

Array read_npy(const std::string& path) {
  const File f = open_file(path, "rb");
  const int64_t size = size_of_file(f.get(), path);
  uint8_t start[12] = {};
  if (size < 10) bad(path, "it is too short");
  read_exactly(f.get(), start, 10, path);
  if (std::memcmp(start, "\x93NUMPY", 6) != 0) bad(path, "it does not begin with numpy's magic bytes");
  int64_t length = start[8] | start[9] << 8, begin = 10;
  if (start[6] == 2) {
    if (size < 12) bad(path, "it is too short");
    read_exactly(f.get(), start + 10, 2, path);
    length |= int64_t(start[10]) << 16 | int64_t(start[11]) << 24;
    begin = 12;
  } else if (start[6] != 1) {
    bad(path, "only format versions 1.0 and 2.0 are known");
  }
  if (length > 1 << 16 || length > size - begin) bad(path, "its header is longer than the file or than 64 KiB");
  std::string text(size_t(length), ' ');
  read_exactly(f.get(), text.data(), text.size(), path);
  Array a;
  Header(text, path).parse(a);
  const int64_t bytes = checked_bytes(path, a.dtype, a.shape);
  if (bytes != size - begin - length)
    fail(ErrorKind::invalid_argument, "'%s' should hold %lld bytes of elements, but holds %lld", path.c_str(),
         (long long)bytes, (long long)(size - begin - length));
  a.memory = Buffer(size_t(bytes));
  read_exactly(f.get(), a.memory.data(), size_t(bytes), path);
  return a;
}

Array read_raw(const std::string& path, DType dtype, const Shape& shape) {
  const File f = open_file(path, "rb");
  const int64_t size = size_of_file(f.get(), path), bytes = checked_bytes(path, dtype, shape);
  if (size != bytes)
    fail(ErrorKind::invalid_argument, "'%s' has %lld bytes, but this input takes %lld", path.c_str(), (long long)size,
         (long long)bytes);
  Array a;
  a.dtype = dtype;
  a.shape = shape;
  a.memory = Buffer(size_t(bytes));
  read_exactly(f.get(), a.memory.data(), size_t(bytes), path);
  return a;
}

void write_npy(const std::string& path, DType dtype, const Shape& shape, const void* data) {
  const char* type = nullptr;
  for (const TypeName& t : kTypes)
    if (t.dtype == dtype) type = t.text;
  if (type == nullptr) fail(ErrorKind::internal, "'%s': the element type cannot be written", path.c_str());
  std::string header = std::string("{'descr': '") + type + "', 'fortran_order': False, 'shape': (";
  for (int a = 0; a < shape.rank; a++) header += (a > 0 ? ", " : "") + std::to_string(shape.dim[a]);
  header += shape.rank == 1 ? ",), }" : "), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const size_t length = header.size(), bytes = size_t(shape.elements()) * size_of(dtype);
  const char start[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(length & 255), char(length >> 8)};
  const std::string beside = path + ".part";
  {
    File f = open_file(beside, "wb");
    bool ok = std::fwrite(start, 1, sizeof start, f.get()) == sizeof start;
    ok = ok && std::fwrite(header.data(), 1, length, f.get()) == length;
    ok = ok && (bytes == 0 || std::fwrite(data, 1, bytes, f.get()) == bytes);
    ok = ok && std::fflush(f.get()) == 0;
    if (!ok) {
      std::remove(beside.c_str());
      fail(ErrorKind::io, "'%s' cannot be written: %s", path.c_str(), std::strerror(errno));
    }
  }
  if (std::rename(beside.c_str(), path.c_str()) != 0) {
    const int why = errno;
    std::remove(beside.c_str());
    fail(ErrorKind::io, "'%s' cannot be written: %s", path.c_str(), std::strerror(why));
  }
}

}  // namespace octavo
