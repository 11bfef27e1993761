// Files and folders, read and written whole. What was reported as written is on the disk: data and name survive a
// crash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

/// The whole of a file. Errors: missing, a folder, unreadable, larger than `limit` bytes.
Result<std::string> read_file(const std::string& path, std::int64_t limit = std::int64_t{1} << 30);

/// Replaces `path` by `content` at once: who reads it sees the old content or the new one, never a part. The content
/// goes into a temporary file in the same folder first; that is removed again if anything fails.
Status write_file_atomically(const std::string& path, std::string_view content);

/// Makes a folder and those above it; fine if it exists. Errors: a file is in the way, no permission.
Status make_folders(const std::string& path);

/// Makes the names in a folder durable (those that were created, renamed or removed there).
Status sync_folder(const std::string& path);

/// Renames within one file system. The target is replaced if it is a file or an empty folder.
Status rename_path(const std::string& from, const std::string& to);

/// Removes a file or a folder with all in it; fine if there is none.
Status remove_path(const std::string& path);

bool path_exists(const std::string& path);

/// The names in a folder, sorted, without "." and "..". Errors: missing, unreadable.
Result<std::vector<std::string>> list_folder(const std::string& path);

std::string parent_folder(const std::string& path);  ///< "." for a bare name
std::string join_path(const std::string& folder, const std::string& name);

/// "cannot write FILE: No space left on device", with a remedy that suits `error_number` (errno).
Error file_error(const std::string& action, const std::string& path, int error_number);

}  // namespace vramwise
