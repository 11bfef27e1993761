// A training run from a RunSpec to its last checkpoint.
//
// step → (evaluation) → (checkpoint) → … with an eye on signals. Everything that lasts is in spec.out_dir:
// metrics.jsonl, step-N/, latest, and a lock while the run goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_lock.h"
#include "run/run_spec.h"
#include "train/hooks.h"
#include "train/memory_probe.h"
#include "train/progress.h"

namespace vramwise {

struct TrainOutcome {
  std::int64_t steps = 0;              ///< made in all, those before a resume included
  std::optional<double> last_loss;     ///< absent if no step was left to do
  std::optional<double> val_loss;      ///< of the last evaluation
  bool reached_target = false;         ///< ended early: stop_at_val_loss
  int signal = 0;                      ///< ended early: this signal; saved, not evaluated
  double seconds = 0;                  ///< spent in all
  std::optional<double> tokens_per_s;  ///< of this process, training alone
  std::string checkpoint;              ///< path of the last one
  std::string prompt;                  ///< of the sample, from the validation text
  std::string sample;                  ///< empty if none was asked for
  std::vector<MemoryReading> memory;   ///< at the end
};

Json to_json(const TrainOutcome& outcome);

/// Blocks until the run is over. Errors: data or devices that are not as they should be, before any memory is taken
/// (kWorld); another run in out_dir, no checkpoint there with spec.resume (kWorld), some without it (kUsage); out of
/// memory with nothing left to halve (kDoesNotFit); a disk that is full: older checkpoints are intact (kWorld).
/// `lock`: that of out_dir, where the caller has it already.
Result<TrainOutcome> train(const RunSpec& spec, ProgressSink& progress, const TrainerHooks& hooks = {},
                           std::optional<FileLock> lock = std::nullopt);

}  // namespace vramwise
