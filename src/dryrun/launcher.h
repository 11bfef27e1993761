// Several ranks of one command: each is a dry run of its own, one after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "dryrun/ledger.h"
#include "dryrun/text.h"

namespace vramwise {

struct RankChoice {
  std::int64_t rank = 0;
  bool all = false;  ///< every rank, `rank` is ignored
};

/// "all", or the number of a rank. Errors (kUsage): neither.
Result<RankChoice> parse_rank_choice(const std::string& text);

/// The runs of the chosen ranks, from the lowest. Rank 0 is run first and tells how many there are; after a program
/// that failed for reasons of its own no other rank is run. Errors are those of `run`.
Result<std::vector<DryRun>> dry_run_ranks(const RankChoice& choice,
                                          const std::function<Result<DryRun>(std::int64_t rank)>& run);

/// The run that decides about the command: one that does not fit, else one that gives no answer or failed, else the
/// one whose card has least left.
const DryRun& decisive(const std::vector<DryRun>& runs);

/// A table with a line a rank, and the whole report of the decisive one. A single run is only that.
std::string describe(const std::vector<DryRun>& runs, TextStyle style = {});

/// A single run as it is; several as `ranks`, with the decisive one's verdict.
Json to_json(const std::vector<DryRun>& runs);

}  // namespace vramwise
