// OpenFile: a file that is read by position. Unlike a mapping, whose pages beyond the end kill the process (SIGBUS), a
// file that was cut short meanwhile is an error that can be told; and what is read does not count as resident memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace vramwise {

class OpenFile {
 public:
  /// Errors: missing, not a regular file, no permission.
  static Result<std::shared_ptr<const OpenFile>> open(const std::string& path);

  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }  ///< bytes, when it was opened

  /// Fills `out` with the bytes from `offset` on; the range must lie within size(). Safe from several threads. Errors
  /// (kWorld): the file became shorter, the disk fails.
  Status read(std::int64_t offset, std::span<std::byte> out) const;

 private:
  OpenFile(std::string path, int descriptor, std::int64_t size);

  std::string path_;
  int descriptor_;
  std::int64_t size_;
};

}  // namespace vramwise
