// The same request on several cards: --compare and --recommend.
#pragma once

#include <string>

#include "cli/command.h"
#include "plan/plan.h"

namespace vramwise::cli {

struct CompareOptions {
  std::string compare;  ///< items of --gpu, one a row
  bool recommend = false;
  std::string prices;  ///< a JSON file of prices an hour by card
  bool as_json = false;

  bool is_asked() const { return !compare.empty() || recommend; }
};

/// Prints a row for each card, all for the same training. Exit code 3 where none fits.
Outcome compare_cards(PlanRequest request, const CompareOptions& options);

}  // namespace vramwise::cli
