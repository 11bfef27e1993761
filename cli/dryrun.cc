// vramwise dryrun: the user's own command on GPUs that are not there.
#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <memory>

#include "base/json.h"
#include "cli/command.h"
#include "dryrun/run.h"
#include "dryrun/text.h"
#include "gpus/gpu_spec.h"

namespace vramwise::cli {
namespace {

struct DryRunArguments {
  std::string gpu;
  int steps = 3;
  bool full = false;
  bool allow_writes = false;
  bool as_json = false;
  std::vector<std::string> command;
};

std::string own_path() {
  char path[PATH_MAX] = {};
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string("vramwise");
}

/// Launchers start one process a card and wait for all of them.
Status refuse_launchers(const std::vector<std::string>& command) {
  const std::string& program = command.front();
  const std::string name = program.substr(program.rfind('/') + 1);
  for (const char* launcher : {"torchrun", "accelerate", "deepspeed", "mpirun"}) {
    if (name == launcher) {
      return incomplete(fmt::format("{} starts one process a GPU, which a dry run does not follow yet", name),
                        "Run the script itself: vramwise dryrun … -- python script.py …");
    }
  }
  return Done{};
}

Outcome dryrun(const DryRunArguments& arguments) {
  if (arguments.command.empty()) return usage_error("no command was given", "Put it after --: -- python train.py …");
  if (!arguments.allow_writes) {
    return usage_error(
        "the program really runs, and what it writes lands where it always does, checkpoints of arithmetic "
        "that was never done too",
        "Point its output to a folder that may be thrown away, and say so with --allow-writes.");
  }
  VRAMWISE_RETURN_IF_ERROR(refuse_launchers(arguments.command));
  VRAMWISE_ASSIGN_OR_RETURN(auto cards, parse_gpu_spec(arguments.gpu));
  VRAMWISE_ASSIGN_OR_RETURN(const auto emulator, find_emulator(own_path()));
  VRAMWISE_ASSIGN_OR_RETURN(const DryRun run, dry_run({.command = arguments.command,
                                                       .cards = std::move(cards),
                                                       .steps = arguments.full ? 0 : arguments.steps,
                                                       .emulator = emulator,
                                                       .output_to_stderr = true}));
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(run).dump(2));
  } else {
    fmt::print("{}", describe(run));
  }
  return run.exit_code();
}

}  // namespace

void add_dryrun_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("dryrun", "Run any PyTorch program on emulated GPUs and say what it takes");
  auto arguments = std::make_shared<DryRunArguments>();
  command->add_option("--gpu", arguments->gpu, "The cards: rtx-4090, 2xa100-80gb, rtx-2060:8gb, …")->required();
  command->add_option("--steps", arguments->steps, "Optimizer steps after which each data loader ends")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_flag("--full", arguments->full, "Let data loaders run to their end");
  command->add_flag("--allow_writes", arguments->allow_writes, "What the program writes may land where it always does");
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->add_option("command", arguments->command, "The program and its arguments, after --");
  command->callback([arguments, &outcome] { outcome = dryrun(*arguments); });
}

}  // namespace vramwise::cli
