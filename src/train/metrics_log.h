// MetricsLog: <out_dir>/metrics.jsonl, one JSON object a line, for plots and for other programs.
//
// {"step": 12, "loss": …} a step; {"step": 100, "val_loss": …} an evaluation; {"step": 7, "event": "out_of_memory", …}.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace vramwise {

class MetricsLog {
 public:
  /// Continues the log at `path` after `last_step` (0: begins a new one): what later steps wrote before a run was
  /// interrupted is dropped, as they are made again.
  static Result<MetricsLog> open(const std::string& path, std::int64_t last_step);

  MetricsLog(MetricsLog&& other) noexcept;
  MetricsLog& operator=(MetricsLog&& other) noexcept;
  ~MetricsLog();

  /// One line, written at once. Errors: the disk is full.
  Status append(const Json& line);

 private:
  MetricsLog(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  std::string path_;
  int descriptor_ = -1;
};

}  // namespace vramwise
