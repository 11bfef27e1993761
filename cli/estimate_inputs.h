// What an estimate was made from: each input by name, with its value and where that came from.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "cli/estimate_arguments.h"
#include "cli/named_model.h"
#include "report/training_report.h"

namespace vramwise::cli {

/// `command` tells which flags were given.
std::vector<EstimateInput> inputs_of(const CLI::App& command, const EstimateArguments& arguments,
                                     const NamedModel& configuration);

}  // namespace vramwise::cli
