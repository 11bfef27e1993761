// OutputFile: a new file written from front to back, in pieces, with every failure reported and a checksum kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "io/checksum.h"

namespace vramwise {

/// Closes the file when it goes; what was not finish()ed is then not known to be on the disk.
class OutputFile {
 public:
  /// Makes the file, or empties the one that is there. Errors: no permission, no such folder.
  static Result<OutputFile> create(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  /// Errors: the disk is full, a fault.
  Status write(const void* data, std::size_t count);

  /// Waits until everything is on the disk, and closes.
  Status finish();

  std::int64_t size() const { return size_; }
  std::uint64_t checksum() const { return checksum_.value(); }
  const std::string& path() const { return path_; }

 private:
  OutputFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::string path_;
  int fd_ = -1;
  std::int64_t size_ = 0;
  Checksum checksum_;
};

}  // namespace vramwise
