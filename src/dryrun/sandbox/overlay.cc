// With privileges: one overlay over "/", and one over each file system mounted below, put together as a new root. In a
// user namespace the kernel refuses to look below mounts that it locked together (overlayfs: "failed to clone
// lowerpath"), so there each folder without mounts below gets its overlay in place, and the folders on the way to
// mounts become read-only themselves.
//
// Layers are named by descriptors (/proc/self/fd/N): names with commas or colons need no escapes, and what lies under
// an overlay can still be named.
#include "dryrun/sandbox/overlay.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "dryrun/sandbox/mounts.h"

namespace vramwise {
namespace {

constexpr const char* kRemedy =
    "The program really runs: point its output to a folder that may be thrown away, and say so with --allow-writes.";

Error refused(const std::string& step, int error_number) {
  return usage_error(
      fmt::format("what the program writes can't be kept apart on this machine: {} ({})", step, strerror(error_number)),
      kRemedy);
}

std::string text_of(const char* path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool write_text(const char* path, const std::string& text) {
  const int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool written = write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(descriptor);
  return written;
}

std::string by_descriptor(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

/// A name for a place, which stays what it is when something is mounted over it. Closed by exec.
int hold(const std::string& path) { return open(path.c_str(), O_PATH | O_CLOEXEC); }

/// Makes a mount, and those below it, read-only; sockets in it can still be connected to.
bool make_read_only(const std::string& point) {
  struct {
    std::uint64_t set, clear, propagation, user_namespace;
  } attributes = {MS_RDONLY, 0, 0, 0};  // MOUNT_ATTR_RDONLY
  constexpr long kMountSetattr = 442;   // Linux 5.12
  constexpr unsigned kRecursive = 0x8000;
  if (syscall(kMountSetattr, AT_FDCWD, point.c_str(), kRecursive, &attributes, sizeof attributes) == 0) return true;
  struct statvfs status = {};
  if (statvfs(point.c_str(), &status) != 0) return false;
  const unsigned long kept = status.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
  return mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, nullptr) == 0;
}

bool bind(const std::string& from, const std::string& to) {
  return mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0;
}

class Builder {
 public:
  explicit Builder(const OverlayOptions& options) : options_(options) {}

  Status build() {
    std::vector<char> folder(1 << 16);
    if (getcwd(folder.data(), folder.size()) == nullptr) return refused("the current folder is gone", errno);
    VRAMWISE_RETURN_IF_ERROR(enter_namespaces());
    for (const std::string& real : options_.real_folders) real_folders_.push_back(hold(real));
    VRAMWISE_RETURN_IF_ERROR(choose_scratch());
    mounts_ = visible_mounts(text_of("/proc/self/mountinfo"));
    const std::string root = options_.scratch + "/tree";
    mkdir(root.c_str(), 0755);
    if (!in_user_namespace_ && overlay("/", root)) {
      VRAMWISE_RETURN_IF_ERROR(build_root(root));
    } else {
      VRAMWISE_RETURN_IF_ERROR(cover("/"));
      VRAMWISE_RETURN_IF_ERROR(bring_in_real_folders(""));
    }
    if (chdir(folder.data()) != 0) return refused("the current folder can't be entered again", errno);
    return Done{};
  }

 private:
  Status enter_namespaces() {
    const uid_t user = geteuid();
    const gid_t group = getegid();
    if (user != 0 || unshare(CLONE_NEWNS) != 0) {
      if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return refused("no user namespace can be made", errno);
      in_user_namespace_ = true;
      write_text("/proc/self/setgroups", "deny");
      if (!write_text("/proc/self/uid_map", fmt::format("{0} {0} 1", user)) ||
          !write_text("/proc/self/gid_map", fmt::format("{0} {0} 1", group)))
        return refused("the user can't be mapped into a namespace", errno);
    }
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return refused("mounts can't be made private", errno);
    return Done{};
  }

  /// The scratch folder itself, or a file system in memory on top of it where overlays can't write to it (as in a
  /// container, whose files are an overlay already).
  Status choose_scratch() {
    scratch_ = hold(options_.scratch);
    if (scratch_works()) return Done{};
    const int first_error = errno;
    struct sysinfo machine = {};
    sysinfo(&machine);
    const auto half = static_cast<unsigned long long>(machine.totalram) * machine.mem_unit / 2;
    const std::string size = fmt::format("size={},mode=0700", half);
    if (mount("tmpfs", options_.scratch.c_str(), "tmpfs", 0, size.c_str()) == 0) {
      scratch_ = hold(options_.scratch);
      if (scratch_works()) return Done{};
    }
    return refused("no overlay can be mounted", first_error);
  }

  bool scratch_works() {
    const std::string below = options_.scratch + "/probe-below", above = options_.scratch + "/probe";
    mkdir(below.c_str(), 0700);
    mkdir(above.c_str(), 0700);
    if (!overlay(below, above)) return false;
    umount2(above.c_str(), MNT_DETACH);
    return true;
  }

  /// Mounts an overlay that shows `folder` at `point`.
  bool overlay(const std::string& folder, const std::string& point) {
    const int below = hold(folder);
    struct stat status = {};
    if (below < 0 || fstat(below, &status) != 0) return false;
    const std::string layer = fmt::format("{}/{}", by_descriptor(scratch_), layers_++);
    mkdir(layer.c_str(), 0700);
    make_upper(layer + "/upper", status);
    mkdir((layer + "/working").c_str(), 0700);
    const std::string layers =
        fmt::format("lowerdir={},upperdir={}/upper,workdir={}/working", by_descriptor(below), layer, layer);
    const std::string kind = in_user_namespace_ ? ",userxattr" : ",redirect_dir=on";
    bool mounted = false;
    // "volatile" (Linux 5.10) spares syncing what is thrown away.
    for (const std::string& wish : {kind + ",volatile", kind, std::string()}) {
      mounted = mount("overlay", point.c_str(), "overlay", 0, (layers + wish).c_str()) == 0;
      if (mounted || errno == EPERM) break;
    }
    const int error_number = errno;
    close(below);
    errno = error_number;
    return mounted;
  }

  /// The root of an overlay has the owner and permissions of its upper layer.
  void make_upper(const std::string& path, const struct stat& like) const {
    mkdir(path.c_str(), 0700);
    if (chown(path.c_str(), like.st_uid, like.st_gid) != 0 && access_denied(like)) {
      chmod(path.c_str(), like.st_mode & 07555);
      return;
    }
    chmod(path.c_str(), like.st_mode & 07777);
  }
  static bool access_denied(const struct stat& of) {
    return (of.st_mode & S_IWOTH) == 0 && (of.st_gid != getegid() || (of.st_mode & S_IWGRP) == 0);
  }

  // ---- with privileges: a new root

  Status build_root(const std::string& root) {
    std::vector<std::string> finished;  // with all that is mounted below
    for (const Mount& mount : mounts_) {
      if (mount.point == "/") continue;
      const auto covers = [&](const std::string& folder) { return is_below(mount.point, folder); };
      if (role_of(mount) != MountRole::kSharedMemory && std::any_of(finished.begin(), finished.end(), covers)) continue;
      if (place(mount, root)) finished.push_back(mount.point);
    }
    VRAMWISE_RETURN_IF_ERROR(bring_in_real_folders(root));
    if (chdir(root.c_str()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0)
      return refused("the root can't be exchanged", errno);
    return Done{};
  }

  /// Puts one file system into the new root. True: with all that is mounted below it.
  bool place(const Mount& mounted, const std::string& root) {
    const std::string target = root + mounted.point;
    switch (role_of(mounted)) {
      case MountRole::kSharedMemory:
        share_memory(target);
        return true;
      case MountRole::kSystem:
        bind(mounted.point, target);
        return true;
      case MountRole::kRuntime:
        if (bind(mounted.point, target)) make_read_only(target);
        return true;
      case MountRole::kFiles:
        break;
    }
    if (is_folder(mounted.point) && overlay(mounted.point, target)) return false;
    if (bind(mounted.point, target)) make_read_only(target);
    return true;
  }

  // ---- in a user namespace: in place

  Status cover(const std::string& folder) {
    if (!has_mounts_below(folder)) {
      if (!overlay(folder, folder) && !keep_read_only(folder))
        return refused("'" + folder + "' can't be covered", errno);
      return Done{};
    }
    if (folder != "/" && access(folder.c_str(), W_OK) == 0 && !keep_read_only(folder))
      return refused("'" + folder + "' can't be covered", errno);
    if (folder == "/" && access("/", W_OK) == 0) make_read_only_alone("/");
    for (const std::string& below : folders_in(folder)) VRAMWISE_RETURN_IF_ERROR(cover_child(below));
    return Done{};
  }

  Status cover_child(const std::string& path) {
    const auto found = std::find_if(mounts_.begin(), mounts_.end(), [&](const Mount& m) { return m.point == path; });
    switch (found == mounts_.end() ? role_of({path, ""}) : role_of(*found)) {
      case MountRole::kSystem:
        if (path == "/dev") share_memory("/dev/shm");
        return Done{};
      case MountRole::kSharedMemory:
        share_memory(path);
        return Done{};
      case MountRole::kRuntime:
        keep_read_only(path);
        return Done{};
      case MountRole::kFiles:
        return access(path.c_str(), X_OK) == 0 ? cover(path) : Status(Done{});
    }
    return Done{};
  }

  static bool keep_read_only(const std::string& path) { return bind(path, path) && make_read_only(path); }

  static void make_read_only_alone(const std::string& point) {
    mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr);
  }

  bool has_mounts_below(const std::string& folder) const {
    return std::any_of(mounts_.begin(), mounts_.end(), [&](const Mount& m) { return is_below(m.point, folder); });
  }

  static std::vector<std::string> folders_in(const std::string& path) {
    std::vector<std::string> folders;
    DIR* folder = opendir(path.c_str());
    if (folder == nullptr) return folders;
    while (const dirent* entry = readdir(folder)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      const std::string below = (path == "/" ? "" : path) + "/" + name;
      struct stat status = {};
      if (lstat(below.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) folders.push_back(below);
    }
    closedir(folder);
    return folders;
  }

  // ---- both

  static bool is_folder(const std::string& path) {
    struct stat status = {};
    return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  }

  /// Data loaders' workers hand batches over in /dev/shm; what a killed one leaves there goes with the namespace.
  static void share_memory(const std::string& point) {
    struct statvfs status = {};
    const std::string size = statvfs(point.c_str(), &status) == 0
                                 ? fmt::format("mode=1777,size={}", status.f_blocks * status.f_frsize)
                                 : std::string("mode=1777");
    mount("tmpfs", point.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, size.c_str());
  }

  Status bring_in_real_folders(const std::string& root) {
    for (std::size_t i = 0; i < real_folders_.size(); ++i) {
      if (!bind(by_descriptor(real_folders_[i]), root + options_.real_folders[i]))
        return refused("'" + options_.real_folders[i] + "' can't be brought in", errno);
    }
    return Done{};
  }

  const OverlayOptions& options_;
  bool in_user_namespace_ = false;
  int scratch_ = -1;
  int layers_ = 0;
  std::vector<int> real_folders_;
  std::vector<Mount> mounts_;
};

}  // namespace

Status enter_throwaway_overlay(const OverlayOptions& options) { return Builder(options).build(); }

}  // namespace vramwise
