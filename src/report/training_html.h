// An estimate as one page.
#pragma once

#include <string>
#include <vector>

#include "estimate/training_timeline.h"
#include "report/training_report.h"

namespace vramwise {

std::string training_html(const TrainingReport& report, const std::vector<TrainingMoment>& timeline);

}  // namespace vramwise
