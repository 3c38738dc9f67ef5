// The tools' own parts: SHA-256 against its published vectors, .npy files there and back, and their refusals.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "check.h"
#include "core/error.h"
#include "tools/feeds.h"
#include "tools/npy.h"
#include "tools/sha256.h"

namespace {

using namespace octavo;

std::string folder;

void write_file(const std::string& path, const std::string& bytes) {
  std::FILE* f = std::fopen(path.c_str(), "wb");
  CHECK(f && std::fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size());
  if (f) std::fclose(f);
}

std::string read_file(const std::string& path) {
  std::string bytes;
  std::FILE* f = std::fopen(path.c_str(), "rb");
  for (int c; f && (c = std::fgetc(f)) != EOF;) bytes += char(c);
  if (f) std::fclose(f);
  return bytes;
}

bool refused(const std::string& bytes) {
  const std::string path = folder + "/bad.npy";
  write_file(path, bytes);
  try {
    read_npy(path);
  } catch (const Error& e) {
    return std::string(e.what()).find("bad.npy") != std::string::npos;
  }
  return false;
}

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  std::string s = std::string("\x93NUMPY") + version + '\0' + char(header.size() & 255) + char(header.size() >> 8);
  if (version == 2) s += std::string(2, '\0');
  return s + header + data;
}

void test_sha256() {
  CHECK(sha256("", 0) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const char* two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
  CHECK(sha256(two, std::strlen(two)) == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 million;
  const std::string a(997, 'a');
  for (int left = 1000000; left > 0; left -= 997) million.add(a.data(), size_t(left < 997 ? left : 997));
  CHECK(million.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

void test_npy() {
  const std::string path = folder + "/x.npy";
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::u8, DType::s8, DType::u16, DType::s16, DType::u32,
                  DType::s32, DType::u64, DType::s64, DType::boolean})
    for (int rank = 0; rank <= 8; rank++) {
      Shape s;
      s.rank = rank;
      for (int i = 0; i < rank; i++) s.dim[i] = rank == 3 && i == 1 ? 0 : i % 3 + 1;
      std::string data(size_t(s.elements()) * size_of(t), '\0');
      for (size_t i = 0; i < data.size(); i++) data[i] = char(i * 37);
      write_npy(path, t, s, data.data());
      const Array a = read_npy(path);
      CHECK(a.dtype == t && a.shape == s && a.bytes() == data.size());
      CHECK(data.empty() || std::memcmp(a.memory.data(), data.data(), data.size()) == 0);
      CHECK((read_file(path).size() - data.size()) % 64 == 0);
    }
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", eight(8, 'x');
  CHECK(!refused(npy(good, eight)) && !refused(npy(good, eight, 2)));
  CHECK(!refused(npy("{'shape': (2), 'descr': '<f4', 'fortran_order': False}", eight)));
  for (const std::string& bytes :
       {std::string(),
        std::string("\x93NUMPY"),
        std::string("not a numpy file"),
        npy(good, eight + "x"),
        npy(good, "1234567"),
        npy(good, eight, 3),
        npy(good, eight).substr(0, 30),
        npy("", eight),
        npy("{}", eight),
        npy("{'descr': '<f4'}", eight),
        npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", eight),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", eight),
        npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, }", eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", eight),
        npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776, 0, 1099511627776), }",
            eight),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }", eight),
        npy(good + "trailing", eight)})
    CHECK(refused(bytes));
  bool missing = false;
  try {
    read_npy(folder + "/absent.npy");
  } catch (const Error& e) {
    missing = e.kind() == ErrorKind::io;
  }
  CHECK(missing);
  // A write that cannot succeed leaves the old file.
  const std::string before = read_file(path);
  Shape one;
  bool failed = false;
  try {
    write_npy(folder + "/no/such/folder.npy", DType::f32, one, eight.data());
  } catch (const Error&) {
    failed = true;
  }
  CHECK(failed && read_file(path) == before);
  write_file(folder + "/x.raw", eight);
  one.rank = 1;
  one.dim[0] = 2;
  CHECK(read_raw(folder + "/x.raw", DType::f32, one).bytes() == 8);
  one.dim[0] = 3;
  failed = false;
  try {
    read_raw(folder + "/x.raw", DType::f32, one);
  } catch (const Error&) {
    failed = true;
  }
  CHECK(failed);
}

void test_feeds() {
  CHECK(sizes_of({"N=4", "a=b=7"}).at("a=b") == 7);
  for (const char* bad : {"N", "N=", "N=x", "N=-1", "N=1x"}) {
    bool failed = false;
    try {
      sizes_of({bad});
    } catch (const Error&) {
      failed = true;
    }
    CHECK(failed);
  }
  float a[64], b[64];
  Random first(7), second(7);
  fill_random(first, DType::f32, 64, a);
  fill_random(second, DType::f32, 64, b);
  CHECK(std::memcmp(a, b, sizeof a) == 0);
  for (float v : a) CHECK(v >= -1 && v < 1);
}

}  // namespace

int main() {
  char name[] = "/tmp/octavo_tools_XXXXXX";
  if (mkdtemp(name) == nullptr) return 1;
  folder = name;
  test_sha256();
  test_npy();
  test_feeds();
  for (const char* file : {"/x.npy", "/bad.npy", "/x.raw"}) std::remove((folder + file).c_str());
  rmdir(name);
  return check::finish();
}
