// vramwise-train RUN.json [--json]: carries out one run. `vramwise train` plans it, writes RUN.json and starts this.
//
// `vramwise train` also hands over the lock of the output folder that it wrote RUN.json under (--lock DESCRIPTOR), so
// that no other run can come between the two.
//
// stdout: the result (text, or JSON with --json). stderr: progress. Exit codes: those of ErrorCode, 128 + signal after
// an interrupt that was saved, 70 for a bug of ours.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "base/units.h"
#include "io/file_lock.h"
#include "io/files.h"
#include "run/output_names.h"
#include "run/run_spec.h"
#include "train/block_store.h"
#include "train/interrupt.h"
#include "train/malloc_settings.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace vramwise {
namespace {

constexpr const char* kUsage = "Usage: vramwise-train RUN.json [--json]\n";

struct Arguments {
  std::string run_file;
  std::optional<int> lock;  ///< a descriptor
  bool json = false;
  bool help = false;
};

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json") {
      arguments.json = true;
    } else if (word == "--lock" && i + 1 < argc) {
      const auto descriptor = parse_integer(argv[++i]);
      if (!descriptor || *descriptor < 0 || *descriptor > std::numeric_limits<int>::max())
        return usage_error("--lock takes a descriptor", kUsage);
      arguments.lock = static_cast<int>(*descriptor);
    } else if (word == "--help" || word == "-h") {
      arguments.help = true;
    } else if (word.starts_with('-')) {
      return usage_error("unknown flag " + word, kUsage);
    } else if (arguments.run_file.empty()) {
      arguments.run_file = word;
    } else {
      return usage_error("one run at a time: " + word, kUsage);
    }
  }
  if (arguments.run_file.empty() && !arguments.help) return usage_error("no run was given", kUsage);
  return arguments;
}

Result<RunSpec> read_run(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, path));
  Result<RunSpec> spec = run_spec_from_json(json);
  if (!spec.ok()) return Error{spec.error().code, path + ": " + spec.error().what, spec.error().remedy};
  return spec;
}

std::unique_ptr<ProgressSink> make_progress(std::int64_t log_every) {
  winsize size{};
  if (::isatty(STDERR_FILENO) != 0 && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return std::make_unique<BarProgress>(std::cerr, size.ws_col);
  return std::make_unique<LineProgress>(std::cerr, log_every);
}

void print_outcome(const TrainOutcome& outcome) {
  if (outcome.signal != 0) std::cout << "Interrupted; go on with --resume.\n";
  if (outcome.reached_target) std::cout << "The validation loss that was asked for is reached.\n";
  std::cout << "Steps: " << outcome.steps << "\n";
  if (outcome.val_loss) std::cout << "Validation loss: " << *outcome.val_loss << "\n";
  if (outcome.tokens_per_s) std::cout << "Tokens/s: " << static_cast<std::int64_t>(*outcome.tokens_per_s) << "\n";
  std::cout << "Checkpoint: " << outcome.checkpoint << "\n";
  if (!outcome.sample.empty()) std::cout << "\n--- sample ---\n" << outcome.prompt << "|" << outcome.sample << "\n";
}

int fail(const Error& error) {
  std::cerr << "error: " << error.what << "\n";
  if (!error.remedy.empty()) std::cerr << error.remedy << (error.remedy.ends_with('\n') ? "" : "\n");
  return static_cast<int>(error.code);
}

[[noreturn]] void on_bug(const std::string& message) {
  std::cerr << "vramwise-train: a bug, please report it: " << message << std::endl;
  std::_Exit(70);
}

int run(int argc, char** argv) {
  const Result<Arguments> arguments = parse(argc, argv);
  if (!arguments.ok()) return fail(arguments.error());
  if (arguments->help) {
    std::cout << kUsage;
    return 0;
  }
  const Result<RunSpec> spec = read_run(arguments->run_file);
  if (!spec.ok()) return fail(spec.error());
  std::optional<FileLock> lock;
  if (arguments->lock) {
    Result<FileLock> adopted = FileLock::adopt(*arguments->lock, join_path(spec->out_dir, kLockFileName));
    if (!adopted.ok()) return fail(adopted.error());
    lock = std::move(*adopted);
  }
  const Interrupt interrupt;
  TrainerHooks hooks;
  hooks.stop_signal = Interrupt::signal_received;
  std::unique_ptr<ProgressSink> progress = make_progress(spec->schedule.log_every);
  const Result<TrainOutcome> outcome = train(*spec, *progress, hooks, std::move(lock));
  progress.reset();
  if (!outcome.ok()) return fail(outcome.error());
  if (arguments->json) {
    std::cout << to_json(*outcome).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    print_outcome(*outcome);
  }
  return outcome->signal == 0 ? 0 : 128 + outcome->signal;
}

}  // namespace
}  // namespace vramwise

int main(int argc, char** argv) {
  vramwise::map_large_blocks();
  vramwise::use_block_store();
  vramwise::set_check_handler(vramwise::on_bug);
  return vramwise::run(argc, argv);
}
