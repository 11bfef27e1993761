// A lock on the folder itself (flock) tells a run that lives from one that was killed: the kernel drops it with the
// last process that holds it, and it needs no process ids, which are used again.
#include "dryrun/sandbox/run_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "io/files.h"

namespace vramwise {
namespace {

constexpr const char* kPrefix = "vramwise-dryrun.";

bool is_writable_folder(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && access(path.c_str(), W_OK | X_OK) == 0;
}

std::string base_folder() {
  if (const char* named = std::getenv("TMPDIR"); named != nullptr && is_writable_folder(named)) return named;
  return is_writable_folder("/var/tmp") ? "/var/tmp" : "/tmp";
}

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* folder = opendir(path.c_str());
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(folder);
  return names;
}

/// The folder's descriptor with its lock, or -1: somebody has it.
int locked(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  if (descriptor >= 0) close(descriptor);
  return -1;
}

void remove_left_behind(const std::string& base, int seconds) {
  for (const std::string& name : names_in(base)) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string path = join_path(base, name);
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0 || status.st_uid != geteuid()) continue;
    if (time(nullptr) - status.st_ctime < seconds) continue;
    if (const int lock = locked(path); lock >= 0) {
      remove_tree(path);
      close(lock);
    }
  }
}

}  // namespace

void remove_tree(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) return;
  if (!S_ISDIR(status.st_mode)) {
    unlink(path.c_str());
    return;
  }
  // The work folder of an overlay has no permissions at all, and the program may have taken them from its own.
  if ((status.st_mode & 0700) != 0700) chmod(path.c_str(), 0700);
  for (const std::string& name : names_in(path)) remove_tree(join_path(path, name));
  rmdir(path.c_str());
}

Result<RunFolder> RunFolder::make(Age left_behind) {
  const std::string base = base_folder();
  remove_left_behind(base, left_behind.seconds);
  std::string path = base + "/" + kPrefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return world_error("cannot make a folder in '" + base + "': " + std::strerror(errno),
                       "Point TMPDIR to a folder that can be written to.");
  }
  RunFolder folder(path, locked(path));
  for (const std::string& part : {folder.ledgers(), folder.scratch()}) {
    if (mkdir(part.c_str(), 0700) != 0)
      return world_error("cannot make the folder '" + part + "': " + std::strerror(errno));
  }
  return folder;
}

RunFolder::~RunFolder() {
  if (!path_.empty()) remove_tree(path_);
  if (lock_ >= 0) close(lock_);
}

}  // namespace vramwise
