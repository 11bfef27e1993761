// FileLock: one process at a time. The system releases it when the process ends, however it ends.
#pragma once

#include <string>

#include "base/result.h"

namespace vramwise {

class FileLock {
 public:
  /// Takes the lock `path` (made if it is missing; it stays) without waiting, and writes this process's id into it.
  /// Errors: it cannot be made; another process holds it (kUsage): its id is named, and `holder_is` says what that
  /// means ("a run in out/").
  static Result<FileLock> acquire(const std::string& path, const std::string& holder_is);

  /// Takes the lock, and waits for it as long as another process has it. Errors: it cannot be made.
  static Result<FileLock> wait(const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;  ///< -1: moved from
};

}  // namespace vramwise
