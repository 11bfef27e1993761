// Plain write(2): callers hand over large pieces (a tensor, a JSON text), so there is nothing to buffer.
#include "io/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <span>
#include <utility>

#include "io/files.h"

namespace vramwise {

Result<OutputFile> OutputFile::create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return file_error("write", path, errno);
  return OutputFile(path, fd);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      checksum_(other.checksum_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(checksum_, other.checksum_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status OutputFile::write(const void* data, std::size_t count) {
  VRAMWISE_CHECK(fd_ >= 0);
  checksum_.add(std::as_bytes(std::span(static_cast<const char*>(data), count)));
  const auto* next = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t written = ::write(fd_, next, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error("write", path_, errno);
    next += written;
    size_ += written;
    count -= static_cast<std::size_t>(written);
  }
  return Done{};
}

Status OutputFile::finish() {
  VRAMWISE_CHECK(fd_ >= 0);
  const int fd = std::exchange(fd_, -1);
  const int not_synced = ::fsync(fd) != 0 && errno != EINVAL ? errno : 0;  // EINVAL: a pipe or device, nothing to sync
  const int not_closed = ::close(fd) != 0 ? errno : 0;
  if (not_synced != 0) return file_error("write", path_, not_synced);
  if (not_closed != 0) return file_error("write", path_, not_closed);
  return Done{};
}

}  // namespace vramwise
