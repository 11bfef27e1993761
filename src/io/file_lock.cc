// flock(2) rather than fcntl(2) locks: those belong to the process and are lost when any descriptor of the file closes.
#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "io/atomic_file.h"

namespace vramwise {
namespace {

/// The descriptor, or -1 when `operation` has LOCK_NB and the lock is taken.
Result<int> open_and_lock(const std::string& path, int operation) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0)
    return world_error(fmt::format("cannot lock {}: {}", path, system_error_text(errno)),
                       "Choose a folder that you may write to.");
  while (::flock(descriptor, operation) != 0) {
    if (errno == EINTR) continue;
    const int failure = errno;
    ::close(descriptor);
    if (failure == EWOULDBLOCK) return -1;
    return world_error(fmt::format("cannot lock {}: {}", path, system_error_text(failure)));
  }
  return descriptor;
}

}  // namespace

Result<FileLock> FileLock::wait(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const int descriptor, open_and_lock(path, LOCK_EX));
  return FileLock(descriptor);
}

Result<std::optional<FileLock>> FileLock::attempt(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const int descriptor, open_and_lock(path, LOCK_EX | LOCK_NB));
  if (descriptor < 0) return std::optional<FileLock>();
  return std::optional<FileLock>(FileLock(descriptor));
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

}  // namespace vramwise
