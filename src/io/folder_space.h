// What a folder's file system has room for, asked before a run relies on it.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise {

struct FolderSpace {
  Bytes free;           ///< for a process without privileges
  bool is_in_memory{};  ///< tmpfs or ramfs: files there take host memory
};

/// Of the folder that `path` is, or of the nearest one above it that exists. Errors: it cannot be asked.
Result<FolderSpace> folder_space(const std::string& path);

}  // namespace vramwise
