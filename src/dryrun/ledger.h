// What a dry run came to, per card and as a verdict.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/json_fwd.h"
#include "base/result.h"
#include "dryrun/analysis/peak.h"

namespace vramwise {

enum class DryRunVerdict {
  kFits,
  kFitsWithRetries,  ///< PyTorch had to empty its cache to go on: slower
  kDoesNotFit,       ///< the program died of out-of-memory
  kIncomplete,       ///< something was called that is not modelled, or it hangs on values that were not computed
  kNoCuda,           ///< no process used CUDA
  kInterrupted,      ///< by a signal, before its end; up to then it fits, as far as it told what it took
  kScriptFailed,     ///< the program failed for reasons of its own
};

struct DryRunPeak {
  Bytes bytes;
  std::int64_t step = 0;  ///< optimizer steps that were complete by then
  std::string phase;      ///< in which it was first seen
};

/// The peaks of one phase alone, over all times that the program went through it.
struct DryRunPhase {
  std::string name;
  DryRunPeak allocated;
  DryRunPeak reserved;
  DryRunPeak device;
};

/// What one of several processes on a card held of it.
struct DryRunShare {
  Bytes peak;
  Bytes context;
  Bytes reserved;
};

struct DryRunGpu {
  std::int64_t index = 0;  ///< as CUDA numbers it in the program
  std::string name;
  Bytes total;    ///< as CUDA sees the card
  Bytes context;  ///< part of device_peak
  Bytes other;    ///< held by processes beyond this run, not part of device_peak
  /// Where several processes of the run were on the card at once: the one that phases and `way` are of.
  std::optional<DryRunShare> share;
  Bytes device_peak;
  std::optional<DryRunPeak> allocated;  ///< PyTorch's counters; absent where PyTorch did not use the card
  std::optional<DryRunPeak> reserved;
  std::vector<DryRunPhase> phases;  ///< that were reached, in the order of kPhases
  std::optional<DeviceWay> way;     ///< what the memory was for; absent without PyTorch's memory history
  std::int64_t retries = 0;
  std::int64_t out_of_memory_errors = 0;  ///< raised by PyTorch, or refused requests where there is no PyTorch

  Bytes left() const { return total - device_peak; }
  /// What the device's peak consists of, when PyTorch had most allocated; empty without its memory history. They add up
  /// to device_peak.
  std::vector<std::pair<std::string, Bytes>> parts() const;
};

/// The names of all phases (hook/vramwise_hook/phases.py).
inline constexpr std::array kPhases = {"load",           "forward",    "backward",
                                       "optimizer step", "evaluation", "checkpoint save"};

/// Which of many ranks the program was; the others were phantoms.
struct DryRunRank {
  std::int64_t rank = 0;
  std::int64_t world_size = 1;
  std::optional<std::int64_t> local_world_size;  ///< processes a node, where a launcher said so
};

/// Whether the program asks for the same memory when skipped memory reads as something else.
struct ValueCheck {
  std::string difference;       ///< the first one, a sentence; empty: none
  DryRunVerdict first = {};     ///< verdict of the run with the usual values
  DryRunVerdict second = {};    ///< … with others
  std::vector<DryRunGpu> gpus;  ///< of the second run

  /// One of the two fits, the other does not.
  bool decides() const;
};

/// The same program with work that ends on the cards some time after the host asked for it.
struct LaggingRun {
  DryRunVerdict verdict = DryRunVerdict::kNoCuda;
  std::vector<DryRunGpu> gpus;
};

struct DryRun {
  DryRunVerdict verdict = DryRunVerdict::kNoCuda;
  int script_exit = 0;  ///< as a shell shows it: 128 + signal for a program that was killed
  std::vector<DryRunGpu> gpus;
  Bytes pinned_host_peak;
  Bytes host_peak;                 ///< the most that one process had resident, pinned memory included
  std::optional<DryRunRank> rank;  ///< absent where the program set up no distributed training
  std::vector<DryRunGpu> beyond;   ///< what it would take where it does not fit; empty: not measured, or it failed too
  std::optional<ValueCheck> value_check;
  bool lags = false;                   ///< work on the cards lagged behind the host in this run
  std::optional<LaggingRun> with_lag;  ///< a second run, where it was asked for
  bool context_is_given = false;       ///< the size of the CUDA context is the user's
  std::string history;  ///< path of the snapshot of the process with most memory, while the run's folder is there
  std::int64_t steps = 0;
  std::int64_t lost_processes = 0;  ///< used CUDA and left no ledger: killed, or gone by _exit
  std::int64_t loaders_ended = 0;   ///< data loaders that were ended early
  std::vector<std::string> notes;   ///< what should be known of the report, a sentence each
  std::string torch;                ///< its version; empty: not used
  std::string values;  ///< JSON of src/values: what true values on the card rest on; empty: it was not used
  std::map<std::string, std::int64_t> unmodelled;
  std::map<std::string, std::int64_t> assumed;

  std::vector<std::string> phases_not_reached() const;  ///< empty where no phase was seen
  std::int64_t retries() const;
  std::int64_t out_of_memory_errors() const;
  /// 0 fits, 3 does not, 5 incomplete, the script's own code where it failed or was interrupted (130, 143).
  int exit_code() const;
};

/// Reads what the processes of a run left in `folder`: ledger.*.json of the emulator; torch.*.json, ranks.*.json and
/// history.*.pickle of the hook. What several processes on one card held together is what they saw of each other, and
/// where they saw nothing, the sum; what the memory was for is told of the one with most. `workspaces`: the sizes of
/// cuBLAS's on these cards.
Result<DryRun> read_dry_run(const std::string& folder, int script_exit, const std::vector<Bytes>& workspaces = {});

Json to_json(const DryRun& run);
std::string to_string(DryRunVerdict verdict);

}  // namespace vramwise
