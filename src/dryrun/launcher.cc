// How many ranks there are is known only to the launcher that the command starts with, or to the program: the run of
// rank 0 writes it down, and the others follow. The ranks are imagined equal, so most users look at rank 0 alone.
#include "dryrun/launcher.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/units.h"
#include "dryrun/text.h"

namespace vramwise {
namespace {

int seriousness(const DryRun& run) {
  switch (run.verdict) {
    case DryRunVerdict::kDoesNotFit:
      return 3;
    case DryRunVerdict::kInterrupted:
    case DryRunVerdict::kScriptFailed:
      return 2;
    case DryRunVerdict::kIncomplete:
    case DryRunVerdict::kNoCuda:
      return 1;
    case DryRunVerdict::kFits:
    case DryRunVerdict::kFitsWithRetries:
      return 0;
  }
  return 0;
}

/// The card that this rank fills most; null where it used none.
const DryRunGpu* fullest(const DryRun& run) {
  const auto found = std::ranges::min_element(run.gpus, {}, &DryRunGpu::left);
  return found == run.gpus.end() ? nullptr : &*found;
}

/// A rank that was asked for and is not what ran is said, or the report would pass for that rank's.
void note_what_ran(const RankChoice& choice, std::int64_t asked, DryRun& run) {
  if (run.verdict == DryRunVerdict::kInterrupted || run.verdict == DryRunVerdict::kScriptFailed) return;
  const std::string flag = choice.all ? "--rank all" : fmt::format("--rank {}", asked);
  if (!run.rank) {
    if (choice.all || asked > 0) {
      run.notes.push_back(
          fmt::format("{} chose nothing: the program set up no distributed training, so it ran once, by itself", flag));
    }
  } else if (run.rank->rank != asked) {
    run.notes.push_back(fmt::format("{} was asked for, but the program was rank {} of {}",
                                    choice.all ? fmt::format("rank {} (--rank all)", asked) : flag, run.rank->rank,
                                    run.rank->world_size));
  } else if (choice.all && run.rank->world_size == 1) {
    run.notes.emplace_back("--rank all: there is one rank only");
  }
}

std::string size_or_dash(const std::optional<DryRunPeak>& peak) { return peak ? format_size(peak->bytes) : "-"; }

std::string rank_line(const DryRun& run, std::size_t position) {
  const std::int64_t rank = run.rank ? run.rank->rank : static_cast<std::int64_t>(position);
  const DryRunGpu* gpu = fullest(run);
  if (gpu == nullptr) return fmt::format("{:>4}  no card used: {}\n", rank, to_string(run.verdict));
  return fmt::format("{:>4} {:>4} {:>10} {:>10} {:>10} {:>10}   {}\n", rank, gpu->index, size_or_dash(gpu->allocated),
                     size_or_dash(gpu->reserved), format_size(gpu->device_peak), format_size(gpu->left()),
                     to_string(run.verdict));
}

}  // namespace

Result<RankChoice> parse_rank_choice(const std::string& text) {
  if (text == "all") return RankChoice{.all = true};
  const bool digits =
      !text.empty() && text.size() <= 6 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return usage_error(fmt::format("'{}' is no rank", text), "Give a number from 0, or all.");
  return RankChoice{.rank = std::stoll(text)};
}

Result<std::vector<DryRun>> dry_run_ranks(const RankChoice& choice,
                                          const std::function<Result<DryRun>(std::int64_t rank)>& run) {
  std::vector<DryRun> runs;
  const std::int64_t first = choice.all ? 0 : choice.rank;
  VRAMWISE_ASSIGN_OR_RETURN(runs.emplace_back(), run(first));
  note_what_ran(choice, first, runs.front());
  const std::int64_t end = choice.all && runs.front().rank ? runs.front().rank->world_size : first + 1;
  for (std::int64_t rank = first + 1; rank < end; ++rank) {
    const DryRunVerdict last = runs.back().verdict;
    if (last == DryRunVerdict::kScriptFailed || last == DryRunVerdict::kInterrupted) break;
    VRAMWISE_ASSIGN_OR_RETURN(runs.emplace_back(), run(rank));
    note_what_ran(choice, rank, runs.back());
  }
  return runs;
}

const DryRun& decisive(const std::vector<DryRun>& runs) {
  VRAMWISE_CHECK(!runs.empty());
  return *std::ranges::max_element(runs, [](const DryRun& a, const DryRun& b) {
    if (seriousness(a) != seriousness(b)) return seriousness(a) < seriousness(b);
    const DryRunGpu* of_a = fullest(a);
    const DryRunGpu* of_b = fullest(b);
    if (of_a == nullptr || of_b == nullptr) return of_b != nullptr;
    return of_a->left() > of_b->left();
  });
}

std::string describe(const std::vector<DryRun>& runs, TextStyle style) {
  if (runs.size() == 1) return describe(runs.front(), style);
  std::string text = fmt::format("{:>4} {:>4} {:>10} {:>10} {:>10} {:>10}\n", "rank", "GPU", "allocated", "reserved",
                                 "device", "left");
  for (std::size_t i = 0; i < runs.size(); ++i) text += rank_line(runs[i], i);
  return text + "The one that decides:\n" + describe(decisive(runs), style);
}

Json to_json(const std::vector<DryRun>& runs) {
  if (runs.size() == 1) return to_json(runs.front());
  Json ranks = Json::array();
  for (const DryRun& run : runs) ranks.push_back(to_json(run));
  const DryRun& worst = decisive(runs);
  return {{"verdict", to_string(worst.verdict)},
          {"script_exit", worst.script_exit},
          {"decisive_rank", worst.rank ? Json(worst.rank->rank) : Json(nullptr)},
          {"ranks", std::move(ranks)}};
}

}  // namespace vramwise
