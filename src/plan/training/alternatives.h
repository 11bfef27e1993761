// What would fit where a request does not: single changes of it, and other cards.
#pragma once

#include <string>
#include <vector>

#include "gpus/catalogue.h"
#include "plan/training/request.h"

namespace vramwise {

struct TrainingAlternative {
  std::string change;  ///< "--allow 8bit_adam"
  Mathematics mathematics = Mathematics::kSame;
  std::string why;
  TrainingPlan plan;
};

/// Each with one thing changed, as little as possible; what fits only with two changes is not listed. `margin` is what
/// `usable` leaves free.
std::vector<TrainingAlternative> changes_that_fit(const TrainingRequest& request, Bytes margin);

/// Cards of the catalogue, as many of each as the request has, on which it fits as it stands: the smallest of at most
/// `most` sizes of memory.
std::vector<const GpuModel*> cards_that_fit(const TrainingRequest& request, Bytes margin, std::size_t most = 3);

}  // namespace vramwise
