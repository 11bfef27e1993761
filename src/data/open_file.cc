// pread, until all is there.
#include "data/open_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "io/files.h"

namespace vramwise {

Result<std::shared_ptr<const OpenFile>> OpenFile::open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe would wait for its other end.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return file_error("read", path, errno);
  struct stat status{};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return world_error(fmt::format("cannot read {}: not a regular file", path));
  }
  return std::shared_ptr<const OpenFile>(new OpenFile(path, descriptor, status.st_size));
}

OpenFile::OpenFile(std::string path, int descriptor, std::int64_t size)
    : path_(std::move(path)), descriptor_(descriptor), size_(size) {}

OpenFile::~OpenFile() { ::close(descriptor_); }

Status OpenFile::read(std::int64_t offset, std::span<std::byte> out) const {
  VRAMWISE_CHECK(offset >= 0);
  VRAMWISE_CHECK(std::ssize(out) <= size_ - offset);
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return file_error("read", path_, errno);
    if (count == 0) {
      return world_error(fmt::format("{} was cut short while it was in use: it had {} bytes and ends at {} now", path_,
                                     grouped(size_), grouped(offset)),
                         "Bring the whole file back; do not write to the data of a run that goes on.");
    }
    offset += count;
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return Done{};
}

}  // namespace vramwise
