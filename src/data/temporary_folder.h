// For tests: a folder that is gone afterwards, and writing into it.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace vramwise {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vramwise-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string at(const std::string& name) const { return path_ + "/" + name; }

  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(at(name), std::ios::binary) << content;
    return at(name);
  }
  /// A token file of the width of T.
  template <typename T>
  std::string write_tokens(const std::string& name, const std::vector<T>& tokens) const {
    return write(name, std::string(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(T)));
  }
  std::string read(const std::string& name) const {
    std::ostringstream content;
    content << std::ifstream(at(name), std::ios::binary).rdbuf();
    return content.str();
  }

 private:
  std::string path_;
};

/// Root may read and write everything, so tests of permissions become nobody for as long as this lives. `works()` is
/// false where that is not possible.
class WithoutPrivileges {
 public:
  WithoutPrivileges() : root_(::geteuid() == 0), works_(!root_ || ::seteuid(65534) == 0) {}
  ~WithoutPrivileges() {
    if (root_ && ::seteuid(0) != 0) std::abort();
  }
  bool works() const { return works_; }

 private:
  bool root_;
  bool works_;
};

}  // namespace vramwise
