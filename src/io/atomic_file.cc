// Writing through a temporary file. The order is what makes it safe: data to disk, then the rename, then the folder's
// entry to disk (fsync(2): syncing a file does not sync the folder that names it).
#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace vramwise {
namespace {

Error file_error(const char* verb, const std::string& path, int error_number) {
  const char* remedy = "";
  if (error_number == ENOSPC || error_number == EDQUOT) remedy = "Free some disk space, or choose another folder.";
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS)
    remedy = "Choose a folder that you may write to.";
  return world_error(fmt::format("{} {}: {}", verb, path, system_error_text(error_number)), remedy);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

}  // namespace

std::string system_error_text(int error_number) { return std::generic_category().message(error_number); }

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return file_error("cannot write", path, errno);
  return AtomicFile(path, std::move(temporary), descriptor);
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

AtomicFile::~AtomicFile() { discard(); }

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  path_ = std::move(other.path_);
  temporary_ = std::move(other.temporary_);
  descriptor_ = std::exchange(other.descriptor_, -1);
  return *this;
}

void AtomicFile::discard() {
  if (descriptor_ < 0) return;
  ::close(std::exchange(descriptor_, -1));
  ::unlink(temporary_.c_str());
}

Status AtomicFile::append(std::string_view text) { return append(std::as_bytes(std::span(text.data(), text.size()))); }

Status AtomicFile::append(std::span<const std::byte> bytes) {
  VRAMWISE_CHECK(descriptor_ >= 0);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error("writing", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Done{};
}

Status AtomicFile::commit() {
  VRAMWISE_CHECK(descriptor_ >= 0);
  if (::fsync(descriptor_) != 0) return file_error("writing", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return file_error("cannot write", path_, errno);
  ::close(std::exchange(descriptor_, -1));
  // Some file systems cannot sync a folder; the file itself is safe by now, so that is no error.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return Done{};
}

Status write_file_atomically(const std::string& path, std::string_view text) {
  VRAMWISE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  VRAMWISE_RETURN_IF_ERROR(file.append(text));
  return file.commit();
}

Result<std::string> read_text_file(const std::string& path, std::int64_t limit_bytes) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return file_error("cannot read", path, errno);
  std::string text;
  char block[1 << 16];
  int failure = 0;
  while (static_cast<std::int64_t>(text.size()) <= limit_bytes) {
    const ssize_t count = ::read(descriptor, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) failure = errno;
    if (count <= 0) break;
    text.append(block, static_cast<std::size_t>(count));
  }
  ::close(descriptor);
  if (failure != 0) return file_error("cannot read", path, failure);
  if (static_cast<std::int64_t>(text.size()) > limit_bytes)
    return world_error(fmt::format("{}: larger than {} bytes", path, limit_bytes), "Is it the right file?");
  return text;
}

Status make_folder(const std::string& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure) return file_error("cannot make the folder", path, failure.value());
  // create_directories is content with an existing file under that name when its last part ends in a slash.
  if (!std::filesystem::is_directory(path, failure)) return file_error("cannot make the folder", path, ENOTDIR);
  return Done{};
}

}  // namespace vramwise
