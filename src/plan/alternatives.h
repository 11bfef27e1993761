// What would fit where a request does not: single changes of it, and other cards.
#pragma once

#include <string>
#include <vector>

#include "gpus/catalogue.h"
#include "plan/guide_table.h"
#include "plan/plan.h"

namespace vramwise {

struct Alternative {
  std::string change = {};        ///< "--seq_len 512"
  bool changes_training = false;  ///< whether the model learns something else by it, apart from rounding
  std::string why = {};           ///< what the change does, in a few words
  Plan plan = {};                 ///< what would be planned then
};

/// Each with one thing changed, as little as possible; what fits only with two changes is not listed.
std::vector<Alternative> changes_that_fit(const PlanRequest& request);

/// Cards of the catalogue, as many of each as the request has, on which it fits as it stands: the smallest of at most
/// `most` sizes of memory.
std::vector<const GpuModel*> cards_that_fit(const PlanRequest& request, std::size_t most = 3);

/// The request for so many cards of that model, with all of their memory.
PlanRequest request_on(const PlanRequest& request, const GpuModel& model);

/// Fills in sequence length and sequences a step where the request leaves them to each card's row of the table, so that
/// plans for other cards are for the same training.
void fix_training(PlanRequest& request, const GuideRow& row);

}  // namespace vramwise
