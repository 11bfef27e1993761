// What a plan's search found, as text: the time, each decision with its price, and the choices that were not taken.
#pragma once

#include <string>

#include "plan/alternatives.h"
#include "plan/plan.h"
#include "report/table.h"

namespace vramwise {

/// Time, shares of the cards, decisions and runner-ups; for the guide strategy one line of what `fastest` would gain.
std::string search_text(const Plan& plan, TextStyle style);

/// "12,300 tokens/s", or without known rates "1.00" times `than`.
std::string speed_text(double tokens_per_s, bool is_known, double than);

/// "batch 4 x 8, 3 + 7/22 checkpointed", with checkpointing and offload where they are on; of each card.
std::string settings_text(const Plan& plan);
/// The same where all cards have one value of each knob. `batches`: "4 x 8", of each card.
std::string settings_text(const StepSettings& step, const std::string& batches, std::int64_t n_layers);

/// What would fit instead of a request that doesn't: single changes, then cards. Empty where nothing was found.
std::string alternatives_text(const std::vector<Alternative>& changes, const std::vector<const GpuModel*>& cards,
                              TextStyle style);

}  // namespace vramwise
