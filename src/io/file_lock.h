// FileLock: one process at a time, by a lock on a file. The system lets go of it when the process ends, however it
// ends.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace vramwise {

class FileLock {
 public:
  /// Waits until the lock is free. The file is made where it is missing, and stays. Errors: it cannot be made.
  static Result<FileLock> wait(const std::string& path);
  /// nullopt when somebody else holds it.
  static Result<std::optional<FileLock>> attempt(const std::string& path);

  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;  ///< -1: moved from
};

}  // namespace vramwise
