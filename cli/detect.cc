// vramwise detect: what this machine has, without a CUDA context.
#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "cli/command.h"
#include "device/machine.h"
#include "device/system.h"

namespace vramwise::cli {
namespace {

Outcome detect(bool as_json) {
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  if (as_json) {
    fmt::print("{}\n", to_json(machine).dump(2));
  } else {
    fmt::print("{}", describe(machine));
  }
  return kExitDone;
}

}  // namespace

void add_detect_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("detect", "Show GPUs and host memory, as the drivers tell them");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print JSON");
  command->callback([as_json, &outcome] { outcome = detect(*as_json); });
}

}  // namespace vramwise::cli
