// vramwise doctor: what on this machine stands in the way of training, and what to do; a bundle for a bug report.
#include "device/doctor.h"

#include <fmt/format.h>
#include <gnu/libc-version.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "cli/command.h"
#include "device/machine.h"
#include "device/system.h"
#include "io/files.h"

namespace vramwise::cli {
namespace {

struct Options {
  bool as_json = false;
  std::string bundle;
};

Outcome doctor(const Options& options) {
  RealSystem system;
  VRAMWISE_ASSIGN_OR_RETURN(const Machine machine, probe(system));
  DoctorContext context;
  context.vramwise_version = VRAMWISE_VERSION;
  constexpr std::string_view kTorchFolder = VRAMWISE_TORCH_FOLDER;
  if (!kTorchFolder.empty()) context.torch_folder = kTorchFolder;
  context.glibc_version = gnu_get_libc_version();
  if (!options.bundle.empty()) {
    VRAMWISE_RETURN_IF_ERROR(write_file_atomically(options.bundle, make_bundle(machine, system, context)));
    fmt::print("Written: {} (read it before you send it; names and secrets were taken out)\n", options.bundle);
    return kExitDone;
  }
  const std::vector<Finding> findings = diagnose(machine, system, context);
  if (options.as_json) {
    fmt::print("{}\n", to_json(findings).dump(2));
  } else {
    fmt::print("{}", describe(findings));
  }
  const bool broken =
      std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == Severity::kError; });
  return broken ? static_cast<int>(ErrorCode::kWorld) : kExitDone;
}

}  // namespace

void add_doctor_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("doctor", "Say what is wrong with this machine, and what to do");
  auto options = std::make_shared<Options>();
  command->add_flag("--json", options->as_json, "Print JSON");
  command->add_option("--bundle", options->bundle, "Write a report for a bug report to this file instead");
  command->callback([options, &outcome] { outcome = doctor(*options); });
}

}  // namespace vramwise::cli
