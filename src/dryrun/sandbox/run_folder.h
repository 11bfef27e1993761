// The folder of one dry run, which vanishes with it however it ends.
#pragma once

#include <string>

#include "base/result.h"

namespace vramwise {

/// Holds a lock on its folder while it lives, and so do forked children. When it goes, the folder goes with all in it.
/// What a killed run of this user left behind (a folder that nobody holds) is removed by the next `make`.
class RunFolder {
 public:
  /// Below $TMPDIR, or /var/tmp, which is a disk where /tmp is memory. Errors: it can't be made.
  /// Folders that are younger than `left_behind` may just be in the making, and are left alone.
  struct Age {
    int seconds = 60;
  };
  static Result<RunFolder> make(Age left_behind);
  static Result<RunFolder> make() { return make(Age{}); }
  RunFolder(RunFolder&& other) noexcept : path_(std::move(other.path_)), lock_(other.lock_) {
    other.path_.clear();
    other.lock_ = -1;
  }
  RunFolder& operator=(RunFolder&&) = delete;
  ~RunFolder();

  const std::string& path() const { return path_; }
  std::string ledgers() const { return path_ + "/ledgers"; }  ///< what the program's processes report
  std::string scratch() const { return path_ + "/scratch"; }  ///< for the overlay

 private:
  RunFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  int lock_ = -1;
};

/// Removes a folder with all in it, unreadable folders too. What can't be removed stays, silently.
void remove_tree(const std::string& path);

}  // namespace vramwise
