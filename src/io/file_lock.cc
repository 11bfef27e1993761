// flock(2) rather than fcntl(2) locks: those belong to the process and are lost when any descriptor of the file closes.
// The file stays: removing it on release would let two processes lock two files of one name.
#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "io/files.h"

namespace vramwise {

Result<FileLock> FileLock::acquire(const std::string& path, const std::string& holder_is) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return file_error("lock", path, errno);
  FileLock lock(descriptor);
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return file_error("lock", path, errno);
    const Result<std::string> holder = read_file(path, 64);
    const std::string id = holder.ok() ? std::string(trim(*holder)) : std::string();
    return world_error(fmt::format("{} is still going on{}", holder_is, id.empty() ? "" : " (process " + id + ")"),
                       "Wait for it or stop it, or choose another output folder.");
  }
  // The id is only for the message above, so a full disk is no reason to fail.
  const std::string id = fmt::format("{}\n", ::getpid());
  if (::ftruncate(descriptor, 0) == 0) {
    [[maybe_unused]] const ssize_t ignored = ::write(descriptor, id.data(), id.size());
  }
  return lock;
}

Result<FileLock> FileLock::wait(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return file_error("lock", path, errno);
  FileLock lock(descriptor);
  while (::flock(descriptor, LOCK_EX) != 0) {
    if (errno != EINTR) return file_error("lock", path, errno);
  }
  return lock;
}

Result<int> FileLock::hand_over() {
  const int flags = ::fcntl(descriptor_, F_GETFD);
  if (flags < 0 || ::fcntl(descriptor_, F_SETFD, flags & ~FD_CLOEXEC) != 0) {
    return world_error(fmt::format("a lock cannot be handed over: {}", std::strerror(errno)));
  }
  return std::exchange(descriptor_, -1);
}

Result<FileLock> FileLock::adopt(int descriptor, const std::string& path) {
  struct stat held{};
  struct stat named{};
  const bool same = ::fstat(descriptor, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
                    held.st_dev == named.st_dev && held.st_ino == named.st_ino;
  if (!same) return world_error(fmt::format("descriptor {} is no lock of {}", descriptor, path));
  FileLock lock(descriptor);
  // A lock belongs to the open file, not to the process, so this is at once true for the one that was handed over.
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 || ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
    return file_error("lock", path, errno);
  }
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace vramwise
