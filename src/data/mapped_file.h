// MappedFile: a file as read-only memory. Pages come in when they are touched and may leave again at any time, so a
// file larger than the machine's memory is fine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace vramwise {

class MappedFile {
 public:
  /// Errors: missing, not a regular file, no permission, the system refuses. An empty file is an empty span.
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  std::int64_t size() const { return static_cast<std::int64_t>(size_); }

  /// Takes the pages of `part`, which lies within bytes(), out of this process's resident memory. They stay in the
  /// system's cache, and come back when touched.
  void release_pages(std::span<const std::byte> part) const;

 private:
  MappedFile(std::string path, const std::byte* data, std::size_t size);

  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace vramwise
