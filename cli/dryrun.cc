// vramwise dryrun: the user's own command on GPUs that are not there.
#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "base/json.h"
#include "cli/command.h"
#include "dryrun/launcher.h"
#include "dryrun/run.h"
#include "gpus/gpu_spec.h"

namespace vramwise::cli {
namespace {

struct DryRunArguments {
  std::string gpu;
  std::string rank = "0";
  int steps = 3;
  bool full = false;
  bool allow_writes = false;
  std::vector<std::string> real_folders;
  bool fake_weights = false;
  bool as_json = false;
  std::vector<std::string> command;
};

std::string own_path() {
  char path[PATH_MAX] = {};
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : std::string("vramwise");
}

std::vector<std::string> whole_paths(const std::vector<std::string>& folders) {
  std::vector<std::string> paths;
  for (const std::string& folder : folders) {
    char path[PATH_MAX] = {};
    paths.emplace_back(realpath(folder.c_str(), path) != nullptr ? path : folder);
  }
  return paths;
}

Outcome dryrun(const DryRunArguments& arguments) {
  if (arguments.command.empty()) return usage_error("no command was given", "Put it after --: -- python train.py …");
  VRAMWISE_ASSIGN_OR_RETURN(const auto ranks, parse_rank_choice(arguments.rank));
  VRAMWISE_ASSIGN_OR_RETURN(auto cards, parse_gpu_spec(arguments.gpu));
  VRAMWISE_ASSIGN_OR_RETURN(const auto emulator, find_emulator(own_path()));
  DryRunOptions options = {.command = arguments.command,
                           .cards = std::move(cards),
                           .steps = arguments.full ? 0 : arguments.steps,
                           .emulator = emulator,
                           .fake_weights = arguments.fake_weights,
                           .output_to_stderr = true,
                           .allow_writes = arguments.allow_writes,
                           .real_folders = whole_paths(arguments.real_folders)};
  const auto run_rank = [&](std::int64_t rank) {
    options.rank = rank;
    return dry_run(options);
  };
  VRAMWISE_ASSIGN_OR_RETURN(const auto runs, dry_run_ranks(ranks, run_rank));
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(runs).dump(2));
  } else {
    fmt::print("{}", describe(runs));
  }
  return decisive(runs).exit_code();
}

}  // namespace

void add_dryrun_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("dryrun", "Run any PyTorch program on emulated GPUs and say what it takes");
  auto arguments = std::make_shared<DryRunArguments>();
  command->add_option("--gpu", arguments->gpu, "The cards: rtx-4090, 2xa100-80gb, rtx-2060:8gb, …")->required();
  command->add_option("--rank", arguments->rank, "Which rank to run where the command starts several; all: each")
      ->capture_default_str();
  command->add_option("--steps", arguments->steps, "Optimizer steps after which each data loader ends")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_flag("--full", arguments->full, "Let data loaders run to their end");
  command->add_flag("--allow_writes", arguments->allow_writes,
                    "What the program writes stays; without, it is thrown away");
  command
      ->add_option("--keep_writes", arguments->real_folders,
                   "A folder where what the program writes stays, such as a cache of downloads; may be repeated")
      ->check(CLI::ExistingDirectory)
      ->allow_extra_args(false);
  command->add_flag("--fake_weights", arguments->fake_weights,
                    "Where a pretrained model's configuration is there but its weights are not, make them up");
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->add_option("command", arguments->command, "The program and its arguments, after --");
  command->callback([arguments, &outcome] { outcome = dryrun(*arguments); });
}

}  // namespace vramwise::cli
