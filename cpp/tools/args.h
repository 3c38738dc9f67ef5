// Command lines of the tools: "--name value", "--name=value", flags and plain words.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace octavo {

class Args {
 public:
  // `spec`: the options known; those ending in '=' take a value. Prints `usage` and exits with 0 for --help, with 2 for
  // a mistake.
  Args(int argc, char** argv, const std::vector<std::string>& spec, const char* usage) : usage_(usage) {
    for (int i = 1; i < argc; i++) {
      const std::string word = argv[i];
      if (word == "--help" || word == "-h") {
        std::fputs(usage, stdout);
        std::exit(0);
      }
      if (word.size() < 2 || word[0] != '-') {
        words.push_back(word);
        continue;
      }
      const size_t equals = word.find('=');
      const std::string name = word.substr(0, equals);
      bool flag = false, valued = false;
      for (const std::string& s : spec) {
        flag = flag || s == name;
        valued = valued || s == name + "=";
      }
      if (flag && equals == std::string::npos) {
        values_[name].push_back("");
      } else if (valued && equals != std::string::npos) {
        values_[name].push_back(word.substr(equals + 1));
      } else if (valued && i + 1 < argc) {
        values_[name].push_back(argv[++i]);
      } else if (valued) {
        wrong(name + " needs a value");
      } else if (flag) {
        wrong(name + " takes no value");
      } else {
        wrong("unknown option " + name);
      }
    }
  }

  bool has(const std::string& name) const { return values_.count(name) != 0; }
  // All values given for a repeatable option.
  std::vector<std::string> all(const std::string& name) const {
    const auto it = values_.find(name);
    return it == values_.end() ? std::vector<std::string>() : it->second;
  }
  std::string text(const std::string& name, const std::string& otherwise) const {
    return has(name) ? all(name).back() : otherwise;
  }
  long long number(const std::string& name, long long otherwise, long long least, long long most) const {
    return has(name) ? number_in(all(name).back(), name, least, most) : otherwise;
  }
  long long number_in(const std::string& text, const std::string& what, long long least, long long most) const {
    char* end = nullptr;
    const long long v = std::strtoll(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || v < least || v > most)
      wrong(what + " must be a number from " + std::to_string(least) + " to " + std::to_string(most) + ", not '" +
            text + "'");
    return v;
  }
  [[noreturn]] void wrong(const std::string& message) const {
    std::fprintf(stderr, "%s\n\n%s", message.c_str(), usage_);
    std::exit(2);
  }

  std::vector<std::string> words;

 private:
  const char* usage_;
  std::map<std::string, std::vector<std::string>> values_;
};

}  // namespace octavo
