// statfs(2), and for the kinds of file systems its manual page, which lists their magic numbers.
#include "io/folder_space.h"

#include <sys/vfs.h>

#include <cerrno>

#include "io/files.h"

namespace vramwise {
namespace {

constexpr long kTmpfs = 0x01021994;
constexpr long kRamfs = 0x858458f6;

}  // namespace

Result<FolderSpace> folder_space(const std::string& path) {
  std::string folder = path.empty() ? "." : path;
  struct statfs answer{};
  while (::statfs(folder.c_str(), &answer) != 0) {
    const std::string above = parent_folder(folder);
    if (errno != ENOENT || above == folder) return file_error("look at", path, errno);
    folder = above;
  }
  const auto kind = static_cast<long>(answer.f_type);
  return FolderSpace{
      .free = Bytes(static_cast<std::int64_t>(answer.f_bavail) * static_cast<std::int64_t>(answer.f_bsize)),
      .is_in_memory = kind == kTmpfs || kind == kRamfs};
}

}  // namespace vramwise
