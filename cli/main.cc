// vramwise: the torch-free command line. It parses, calls one subcommand, prints an Error and turns it into the exit
// code.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

#include "base/heap.h"
#include "cli/arguments.h"
#include "cli/command.h"

namespace vramwise::cli {
namespace {

void report_bug(const std::string& message) {
  fmt::print(stderr, "vramwise: this is a bug of ours, please report it:\n{}", message);
  std::fflush(nullptr);
  _exit(kExitBug);
}

int print_error(const Error& error) {
  fmt::print(stderr, "vramwise: {}\n", error.what);
  if (!error.remedy.empty()) fmt::print(stderr, "  {}\n", error.remedy);
  return static_cast<int>(error.code);
}

int run(int argc, const char* const* argv) {
  CLI::App app("Knows what a training run takes of a GPU's memory, plans what fits, and trains within it.", "vramwise");
  app.set_version_flag("--version", VRAMWISE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(44);
  app.option_defaults()->take_last();  // scripts add flags behind those of others
  Outcome outcome = kExitDone;
  add_detect_command(app, outcome);
  add_plan_command(app, outcome);
  add_explain_command(app, outcome);
  add_estimate_command(app, outcome);
  add_dryrun_command(app, outcome);
  add_train_command(app, outcome);
  add_snapshot_command(app, outcome);
  add_gpus_command(app, outcome);
  add_models_command(app, outcome);
  add_synth_command(app, outcome);
  add_doctor_command(app, outcome);

  const std::vector<std::string> arguments = normalized_arguments(argc, argv);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return print_error(explain_parse_error(app, error, arguments));
  }
  return outcome.ok() ? outcome.value() : print_error(outcome.error());
}

/// A result that nobody could read is no success.
int after_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  return print_error(world_error(fmt::format("the result cannot be written: {}", std::strerror(errno)),
                                 "Is the disk full, or the pipe closed?"));
}

}  // namespace
}  // namespace vramwise::cli

int main(int argc, char** argv) {
  vramwise::keep_freed_memory();
  vramwise::set_check_handler(vramwise::cli::report_bug);
  try {
    return vramwise::cli::after_output(vramwise::cli::run(argc, argv));
  } catch (const std::system_error& error) {  // fmt's, of a stream that takes no more
    return vramwise::cli::print_error(vramwise::world_error(error.what()));
  } catch (const std::exception& error) {
    vramwise::cli::report_bug(fmt::format("unexpected exception: {}\n", error.what()));
  }
  return vramwise::cli::kExitBug;
}
