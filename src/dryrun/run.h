// A dry run from beginning to end: the environment, the program, its ledger.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dryrun/ledger.h"
#include "gpus/catalogue.h"

namespace vramwise {

/// Whether work on the cards ends some time after the host asked for it, as on a real card, instead of at once. How
/// much later is a guess, so `kBoth` runs twice and shows what it would change.
enum class DryRunLag { kOff, kOn, kBoth };

struct DryRunOptions {
  std::vector<std::string> command;
  std::vector<GpuModel> cards;
  std::int64_t rank = 0;          ///< which of many, where the command starts several
  int steps = 3;                  ///< optimizer steps (or batches) after which a data loader ends; 0: never
  std::string emulator;           ///< path of libvramwise_emulator.so
  bool fake_weights = false;      ///< from_pretrained makes up a checkpoint of which only the configuration is there
  bool output_to_stderr = false;  ///< of the program
  bool allow_writes = false;      ///< what the program writes stays; else it goes to an overlay that is thrown away
  std::vector<std::string> real_folders;  ///< existing ones, whole paths, where it stays nevertheless
  bool allow_uploads = false;             ///< experiment trackers and uploads to the hub work
  DryRunLag lag = DryRunLag::kOff;
  std::optional<Bytes> context;  ///< of CUDA, on each card, instead of the known or derived size
  bool strict = false;           ///< the first call of something that is not modelled ends the program
  bool worst_routing = false;    ///< experts: all tokens to the same ones, instead of spread evenly
  bool check_values = false;     ///< run twice, to see whether anything hangs on values that were not computed
  bool measure_beyond = false;   ///< where it does not fit: run again, to see what it would take
  std::string snapshot;          ///< path for PyTorch's memory snapshot; empty: none
  std::function<void(const std::string&)> tell;  ///< progress, a sentence each
};

/// Where the emulator lies beside the program `executable`, or what the environment names. Errors (kWorld): it isn't
/// there.
Result<std::string> find_emulator(const std::string& executable);

Result<DryRun> dry_run(const DryRunOptions& options);

}  // namespace vramwise
