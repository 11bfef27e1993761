// The largest value of an argument with which a program fits.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "dryrun/ledger.h"

namespace vramwise {

/// What to try: "--bs {1..256}", "--bs={8..256*8}" (multiples of 8), "--bs {1,2,4,8}", "{1..64}" alone for a command
/// that has that word itself.
struct FitQuestion {
  std::string flag;                  ///< "--bs"; empty: the braces stand in the command
  std::string word;                  ///< the word with the braces, "{1..256}" or "batch={1..256}"
  std::vector<std::int64_t> values;  ///< ascending, at least one
};

/// Errors (kUsage): no braces, an empty or endless range, several pairs of braces.
Result<FitQuestion> parse_fit(const std::string& text);

/// The command with that value in its place: after `flag` (or behind its "="), for the word with the braces, or, where
/// the command has neither, at its end.
std::vector<std::string> with_value(const std::vector<std::string>& command, const FitQuestion& question,
                                    std::int64_t value);

struct FitTrial {
  std::int64_t value = 0;
  DryRun run;

  bool fits() const { return run.verdict == DryRunVerdict::kFits || run.verdict == DryRunVerdict::kFitsWithRetries; }
};

struct FitAnswer {
  std::vector<FitTrial> trials;        ///< by value
  std::optional<std::size_t> largest;  ///< index of the largest that fits
  bool is_monotonic = true;            ///< more never took less, among those tried

  bool interrupted = false;  ///< the last trial was, by a signal; nothing was tried after it

  /// As the interrupted trial ended, if one was; 0: some value fits; else as the smallest one ended.
  int exit_code() const;
};

/// Bisection between the smallest and the largest value, guided by the peaks of those that fitted. Errors are those of
/// `run`; a program that fails for reasons of its own counts as one that does not fit.
Result<FitAnswer> find_largest(const FitQuestion& question, const std::function<Result<DryRun>(std::int64_t)>& run);

/// The table of what was tried, and the answer as the last line.
std::string describe(const FitQuestion& question, const FitAnswer& answer);
Json to_json(const FitQuestion& question, const FitAnswer& answer);

}  // namespace vramwise
