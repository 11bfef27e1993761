// Under the folder's lock, which the trainer takes over: an earlier run is renamed into previous-N, then run.json is
// written.
#include "cli/output_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/json.h"
#include "io/files.h"
#include "run/output_names.h"

namespace vramwise::cli {
namespace {

bool belongs_to_a_run(const std::string& name) {
  return name == kRunFileName || name == kMetricsFileName || name == kLatestFileName ||
         name.starts_with(kCheckpointPrefix);
}

std::string next_previous_folder(const std::string& out_dir) {
  int number = 1;
  while (path_exists(join_path(out_dir, fmt::format("{}{}", kPreviousPrefix, number)))) ++number;
  return join_path(out_dir, fmt::format("{}{}", kPreviousPrefix, number));
}

Status move_earlier_run_aside(const std::string& out_dir, const std::vector<std::string>& names) {
  std::vector<std::string> moved;
  std::copy_if(names.begin(), names.end(), std::back_inserter(moved), belongs_to_a_run);
  if (moved.empty()) return Done{};
  const std::string folder = next_previous_folder(out_dir);
  VRAMWISE_RETURN_IF_ERROR(make_folders(folder));
  for (const std::string& name : moved)
    VRAMWISE_RETURN_IF_ERROR(rename_path(join_path(out_dir, name), join_path(folder, name)));
  fmt::print(stderr, "vramwise: the earlier run in {} was moved to {} (--resume continues a run)\n", out_dir, folder);
  return Done{};
}

}  // namespace

Result<FileLock> lock_output_folder(const std::string& out_dir) {
  VRAMWISE_RETURN_IF_ERROR(make_folders(out_dir));
  return FileLock::acquire(join_path(out_dir, kLockFileName), fmt::format("a training run in {}", out_dir));
}

Result<std::string> prepare_output_folder(const RunSpec& spec) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_folder(spec.out_dir));
  if (!spec.resume) VRAMWISE_RETURN_IF_ERROR(move_earlier_run_aside(spec.out_dir, names));
  const std::string run_file = join_path(spec.out_dir, kRunFileName);
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(run_file, to_json(spec).dump(2) + "\n"));
  return run_file;
}

}  // namespace vramwise::cli
