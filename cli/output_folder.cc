// Under the folder's lock: an earlier run is renamed into previous-N, then run.json is written.
#include "cli/output_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/json.h"
#include "io/file_lock.h"
#include "io/files.h"
#include "run/output_names.h"

namespace vramwise::cli {
namespace {

bool belongs_to_a_run(const std::string& name) {
  return name == kRunFileName || name == kMetricsFileName || name == kLatestFileName ||
         name.starts_with(kCheckpointPrefix);
}

bool has_checkpoint(const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.starts_with(kCheckpointPrefix); });
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

Result<std::string> prepare_output_folder(const RunSpec& spec) {
  VRAMWISE_RETURN_IF_ERROR(make_folders(spec.out_dir));
  // Held while files are moved; the trainer takes it for itself afterwards.
  VRAMWISE_ASSIGN_OR_RETURN(const FileLock lock, FileLock::acquire(join_path(spec.out_dir, kLockFileName),
                                                                   fmt::format("a training run in {}", spec.out_dir)));
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> names, list_folder(spec.out_dir));
  if (spec.resume && !has_checkpoint(names)) {
    return world_error(fmt::format("--resume: there is no checkpoint in {}", spec.out_dir),
                       "Leave --resume out to start a new run, or name its folder with --out_dir.");
  }
  if (!spec.resume) VRAMWISE_RETURN_IF_ERROR(move_earlier_run_aside(spec.out_dir, names));
  const std::string run_file = join_path(spec.out_dir, kRunFileName);
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(run_file, to_json(spec).dump(2) + "\n"));
  return run_file;
}

}  // namespace vramwise::cli
