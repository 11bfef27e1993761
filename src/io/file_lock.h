// FileLock: one process at a time. The system releases it when the process ends, however it ends.
#pragma once

#include <string>

#include "base/result.h"

namespace vramwise {

class FileLock {
 public:
  /// Takes the lock `path` (made if it is missing; it stays) without waiting, and writes this process's id into it.
  /// Errors: it cannot be made; another process holds it (kWorld): its id is named, and `holder_is` says what that
  /// means ("a run in out/").
  static Result<FileLock> acquire(const std::string& path, const std::string& holder_is);

  /// Takes the lock, and waits for it as long as another process has it. Errors: it cannot be made.
  static Result<FileLock> wait(const std::string& path);

  /// Hands the lock to the program that this process is about to become (exec): from now on the descriptor outlives
  /// this object and an exec. Returns it, for adopt() there. Errors: the system refuses.
  Result<int> hand_over();

  /// Takes over what hand_over() left. Errors: `descriptor` is no lock on the file `path`, or another process holds it.
  static Result<FileLock> adopt(int descriptor, const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;  ///< -1: moved from
};

}  // namespace vramwise
