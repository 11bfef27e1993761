// POSIX calls rather than std::filesystem where errno and fsync matter. Durable replacement is the usual sequence:
// write a temporary file, fsync it, rename it over the old one, fsync the folder that holds the name.
#include "io/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "io/output_file.h"

namespace vramwise {
namespace {

namespace fs = std::filesystem;

const char* remedy_for(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "Free some space there, or choose another output folder; then go on with --resume.";
    case EACCES:
    case EPERM:
    case EROFS:
      return "Check the permissions, or choose another folder.";
    case EIO:
      return "The disk reports a fault; look into the system log.";
    default:
      return "";
  }
}

}  // namespace

Error file_error(const std::string& action, const std::string& path, int error_number) {
  return world_error(fmt::format("cannot {} {}: {}", action, path, std::strerror(error_number)),
                     remedy_for(error_number));
}

Result<std::string> read_file(const std::string& path, std::int64_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_error("read", path, errno);
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error_number = errno;
      ::close(fd);
      return file_error("read", path, error_number);
    }
    if (got == 0) break;
    if (static_cast<std::int64_t>(content.size()) + got > limit) {
      ::close(fd);
      return world_error(fmt::format("cannot read {}: it is larger than {} bytes", path, limit));
    }
    content.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(fd);
  return content;
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  if (std::error_code ignored; fs::is_directory(path, ignored))
    return world_error(fmt::format("{} is a folder", path), "Name a file in it.");
  const std::string temporary = fmt::format("{}.tmp-{}", path, ::getpid());
  const auto write = [&]() -> Status {
    VRAMWISE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(temporary));
    VRAMWISE_RETURN_IF_ERROR(file.write(content.data(), content.size()));
    VRAMWISE_RETURN_IF_ERROR(file.finish());
    return rename_path(temporary, path);
  };
  if (const Status written = write(); !written.ok()) {
    ::unlink(temporary.c_str());
    return written.error();
  }
  return sync_folder(parent_folder(path));
}

Status make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && !fs::is_directory(path, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (error) return file_error("make folder", path, error.value());
  return Done{};
}

Status sync_folder(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return file_error("open folder", path, errno);
  const int failed = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  // Some file systems (network, FUSE) cannot sync a folder and say EINVAL: nothing more can be done there.
  if (failed != 0 && failed != EINVAL && failed != ENOTSUP) return file_error("write folder", path, failed);
  return Done{};
}

Status rename_path(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return file_error(fmt::format("rename {} to", from), to, errno);
  return Done{};
}

Status remove_path(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return file_error("remove", path, error.value());
  return Done{};
}

bool path_exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  std::error_code error;
  fs::directory_iterator entries(path, error);
  std::vector<std::string> names;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    names.push_back(entries->path().filename().string());
  }
  if (error) return file_error("read folder", path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

std::string parent_folder(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string join_path(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

}  // namespace vramwise
