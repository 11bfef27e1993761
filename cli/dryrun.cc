// vramwise dryrun: the user's own command on GPUs that are not there.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/json.h"
#include "cli/command.h"
#include "dryrun/fit.h"
#include "dryrun/html.h"
#include "dryrun/launcher.h"
#include "dryrun/run.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

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
  bool allow_uploads = false;
  bool strict = false;
  bool check_values = false;
  std::string routing = "balanced";
  std::string lag = "off";
  std::optional<std::int64_t> context_mb;
  std::string snapshot;
  std::string html;
  std::string fit;
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

DryRunLag lag_of(const std::string& text) {
  if (text == "both") return DryRunLag::kBoth;
  return text == "on" ? DryRunLag::kOn : DryRunLag::kOff;
}

DryRunOptions options_of(const DryRunArguments& arguments) {
  return {.command = arguments.command,
          .cards = {},
          .steps = arguments.full ? 0 : arguments.steps,
          .emulator = {},
          .fake_weights = arguments.fake_weights,
          .output_to_stderr = true,
          .allow_writes = arguments.allow_writes,
          .real_folders = whole_paths(arguments.real_folders),
          .allow_uploads = arguments.allow_uploads,
          .lag = lag_of(arguments.lag),
          .context = arguments.context_mb ? std::optional(Bytes::mib(*arguments.context_mb)) : std::nullopt,
          .strict = arguments.strict,
          .worst_routing = arguments.routing == "worst",
          .check_values = arguments.check_values,
          .measure_beyond = arguments.fit.empty(),
          .snapshot = arguments.snapshot,
          .tell = [](const std::string& what) { fmt::print(stderr, "vramwise: {}\n", what); }};
}

bool wants_colour() {
  const char* no = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no == nullptr || *no == '\0');
}

Status write_html(const std::string& path, const DryRun& run, const std::vector<std::string>& command) {
  return path.empty() ? Status(Done{})
                      : write_file_atomically(path, to_html(run, fmt::format("{}", fmt::join(command, " "))));
}

Result<std::vector<DryRun>> run_ranks(DryRunOptions& options, const RankChoice& ranks) {
  return dry_run_ranks(ranks, [&](std::int64_t rank) {
    options.rank = rank;
    return dry_run(options);
  });
}

Outcome fit(const DryRunArguments& arguments, DryRunOptions& options, const RankChoice& ranks) {
  if (!arguments.snapshot.empty()) return usage_error("--snapshot is of one run, and --fit makes several");
  if (arguments.lag == "both") return usage_error("--lag both compares two runs, and --fit needs one answer");
  VRAMWISE_ASSIGN_OR_RETURN(const FitQuestion question, parse_fit(arguments.fit));
  const auto try_value = [&](std::int64_t value) -> Result<DryRun> {
    options.command = with_value(arguments.command, question, value);
    fmt::print(stderr, "vramwise: trying {}\n", fmt::join(options.command, " "));
    VRAMWISE_ASSIGN_OR_RETURN(const auto runs, run_ranks(options, ranks));
    return decisive(runs);
  };
  VRAMWISE_ASSIGN_OR_RETURN(const FitAnswer answer, find_largest(question, try_value));
  if (answer.largest) {
    const FitTrial& largest = answer.trials[*answer.largest];
    VRAMWISE_RETURN_IF_ERROR(
        write_html(arguments.html, largest.run, with_value(arguments.command, question, largest.value)));
  }
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(question, answer).dump(2));
  } else {
    fmt::print("{}", describe(question, answer));
  }
  return answer.exit_code();
}

Outcome dryrun(const DryRunArguments& arguments) {
  if (arguments.command.empty()) return usage_error("no command was given", "Put it after --: -- python train.py …");
  VRAMWISE_ASSIGN_OR_RETURN(const auto ranks, parse_rank_choice(arguments.rank));
  DryRunOptions options = options_of(arguments);
  VRAMWISE_ASSIGN_OR_RETURN(options.cards, parse_gpu_spec(arguments.gpu));
  VRAMWISE_ASSIGN_OR_RETURN(options.emulator, find_emulator(own_path()));
  if (!arguments.fit.empty()) return fit(arguments, options, ranks);
  VRAMWISE_ASSIGN_OR_RETURN(const auto runs, run_ranks(options, ranks));
  VRAMWISE_RETURN_IF_ERROR(write_html(arguments.html, decisive(runs), arguments.command));
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(runs).dump(2));
  } else {
    fmt::print("{}", describe(runs, {.colour = wants_colour()}));
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
      ->take_all()
      ->allow_extra_args(false);
  command->add_flag("--fake_weights", arguments->fake_weights,
                    "Where a pretrained model's configuration is there but its weights are not, make them up");
  command->add_flag("--allow_uploads", arguments->allow_uploads,
                    "Experiment trackers and uploads to the hub work; without, they are left out");
  command->add_flag("--strict", arguments->strict, "End the program where it first calls what is not modelled");
  command->add_flag("--check_values", arguments->check_values,
                    "Run twice, and say whether memory hangs on values that were never computed");
  command
      ->add_option("--routing", arguments->routing, "Where experts get their tokens: evenly, or all to the same ones")
      ->check(CLI::IsMember({"balanced", "worst"}))
      ->capture_default_str();
  command
      ->add_option("--lag", arguments->lag,
                   "Whether work on the cards ends some time after the host asked for it, as on a real card; both: run "
                   "twice and compare")
      ->check(CLI::IsMember({"off", "on", "both"}))
      ->capture_default_str();
  command
      ->add_option("--context_mb", arguments->context_mb,
                   "What a CUDA context takes on each card, in MiB, instead of the known or derived size")
      ->check(CLI::Range(0, 1'000'000));
  command->add_option("--snapshot", arguments->snapshot, "Write PyTorch's memory snapshot, for pytorch.org/memory_viz");
  command->add_option("--html", arguments->html, "Write the report as one page with the timeline");
  command->add_option("--fit", arguments->fit,
                      "Find the largest value that fits: '--bs {1..256}', '--bs {8..256*8}', '--bs {1,2,4}'");
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->add_option("command", arguments->command, "The program and its arguments, after --")->take_all();
  command->callback([arguments, &outcome] { outcome = dryrun(*arguments); });
}

}  // namespace vramwise::cli
