// AtomicFile: a file that appears under its name only when it is complete and on disk.
//
// What is written goes to "<path>.<pid>.tmp" beside it; commit() flushes that to the disk and renames it, so a reader,
// or a machine that loses power, sees the old file or the new one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace vramwise {

class AtomicFile {
 public:
  /// Errors: the folder is missing or cannot be written.
  static Result<AtomicFile> create(const std::string& path);

  /// Without a commit the temporary file is removed.
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;

  /// Errors: the disk is full, or fails.
  Status append(std::string_view text);
  Status append(std::span<const std::byte> bytes);

  /// Call once, last. Errors: as append, or the rename fails.
  Status commit();

 private:
  AtomicFile(std::string path, std::string temporary, int descriptor);
  void discard();

  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;  ///< -1: committed, or moved from
};

Status write_file_atomically(const std::string& path, std::string_view text);

/// The whole file as text. Errors: missing, unreadable, a folder, larger than `limit_bytes`.
Result<std::string> read_text_file(const std::string& path, std::int64_t limit_bytes = std::int64_t{1} << 28);

/// Makes the folder, and those above it, where they are missing. Errors: a file stands in the way, no permission.
Status make_folder(const std::string& path);

/// "No such file or directory": what the system calls this errno, in any thread.
std::string system_error_text(int error_number);

}  // namespace vramwise
