// The names of what a run leaves in its output folder: the command line and the trainer must agree on them.
#pragma once

namespace vramwise {

inline constexpr const char* kRunFileName = "run.json";
inline constexpr const char* kMetricsFileName = "metrics.jsonl";
inline constexpr const char* kLatestFileName = "latest";     ///< holds the name of the newest checkpoint's folder
inline constexpr const char* kLockFileName = ".lock";        ///< held (flock) as long as a trainer uses the folder
inline constexpr const char* kCheckpointPrefix = "step-";    ///< step-000100/
inline constexpr const char* kTokensFolderName = "tokens";   ///< encoded text, where the data folder is read-only
inline constexpr const char* kPreviousPrefix = "previous-";  ///< previous-1/: files of an earlier run, moved aside

}  // namespace vramwise
