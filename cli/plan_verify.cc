// The trainer is the real one, under the real PyTorch; only the cards are emulated (src/emulator).
#include "cli/plan_verify.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "gpus/gpu_spec.h"
#include "io/files.h"
#include "synth/corpus.h"

namespace vramwise::cli {
namespace {
constexpr std::int64_t kLargestOutput = std::int64_t{64} << 20;

/// What stands between `begin` and `end` in the last line that begins so, if that is the last line at all; empty: it is
/// not.
std::string between(const std::string& text, std::string_view begin, std::string_view end) {
  const std::size_t text_end = text.find_last_not_of(" \n") + 1;
  const std::size_t line_begin = text.rfind('\n', text_end == 0 ? 0 : text_end - 1) + 1;
  std::string line = text.substr(line_begin, text_end - line_begin);
  if (!line.starts_with(begin)) return {};
  line = line.substr(begin.size());
  const std::size_t last = line.find(end);
  return last == std::string::npos ? std::string() : line.substr(0, last);
}

/// Of a program that stopped for want of a package. Errors that have another reason: none.
std::optional<Error> missing_package(const std::string& output) {
  std::string module = between(output, "ModuleNotFoundError: No module named '", "'");
  module = module.substr(0, module.find('.'));
  // What env says, with the quotation marks of either locale, where the launcher is not there.
  if (module.empty()) module = between(output, "env: '", "': No such file");
  if (module.empty()) module = between(output, "env: ‘", "’: No such file");
  if (module.empty()) return std::nullopt;
  // Where the index has the package under another name than the import; torchtune 0.6.1 wants a torchao that has NF4
  // where it looks for it.
  const std::pair<std::string_view, const char*> names[] = {{"liger_kernel", "liger-kernel"},
                                                            {"torchrun", "torch"},
                                                            {"tune", "torchtune==0.6.1 torchao==0.15.0"},
                                                            {"torchao", "torchao==0.15.0"}};
  std::string package = module;
  for (const auto& [import, name] : names)
    if (module == import) package = name;
  return world_error(
      fmt::format("--verify runs the plan's program, which needs {}: the python on the PATH has it not", module),
      fmt::format("pip install {}, or a plan without it: --fix (docs/commands.md)", package));
}
}  // namespace

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  path_ = join_path(base != nullptr && *base != '\0' ? base : "/tmp", "vramwise-verify-XXXXXX");
  if (mkdtemp(path_.data()) == nullptr) path_.clear();
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<std::string> own_path() {
  char path[PATH_MAX] = {};
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return world_error("/proc/self/exe cannot be read");
  return std::string(path, static_cast<std::size_t>(length));
}

void tell_output(const Verification& run) { fmt::print(stderr, "{}", run.output); }

Result<Verification> verify_by(DryRunOptions options, const std::string& folder) {
  const std::string log = join_path(folder, "output");
  std::vector<std::string> command = {"sh", "-c", "exec \"$@\" > \"$0\" 2>&1", log};
  command.insert(command.end(), options.command.begin(), options.command.end());
  options.command = std::move(command);
  options.real_folders.push_back(folder);
  VRAMWISE_ASSIGN_OR_RETURN(const DryRun run, dry_run(options));
  Verification result{
      .verdict = to_string(run.verdict), .exit_code = run.exit_code(), .device_peaks = {}, .output = {}};
  if (Result<std::string> output = read_file(log, kLargestOutput); output.ok()) result.output = std::move(*output);
  if (run.verdict == DryRunVerdict::kScriptFailed) {
    if (const std::optional<Error> missing = missing_package(result.output)) return *missing;
    tell_output(result);
    return world_error(fmt::format("the trainer failed on the emulated cards (exit code {})", run.script_exit));
  }
  result.device_peaks.resize(options.cards.size());
  for (const DryRunGpu& gpu : run.gpus) {
    const auto index = static_cast<std::size_t>(gpu.index);
    if (index < result.device_peaks.size()) result.device_peaks[index] = gpu.device_peak;
  }
  return result;
}

Result<Verification> verify(const std::string& plan_text, std::int64_t seq_len, const std::string& gpu_spec) {
  if (gpu_spec.empty()) return usage_error("--verify emulates cards of the catalogue", "Name them with --gpu.");
  VRAMWISE_ASSIGN_OR_RETURN(const std::string program, own_path());
  if (!path_exists(join_path(parent_folder(program), "vramwise-train")))
    return world_error("--verify needs vramwise-train, which was not built", "Build with torch (docs/hacking.md).");
  const TemporaryFolder folder;
  if (folder.path().empty()) return world_error("no temporary folder can be made", "Set TMPDIR.");
  const std::string file = join_path(folder.path(), "plan.json"), data = join_path(folder.path(), "data");
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(file, plan_text));
  SynthOptions corpus;
  corpus.out_dir = data;
  corpus.size = std::max(Bytes::kib(128), Bytes(16 * seq_len));
  VRAMWISE_RETURN_IF_ERROR(write_synthetic_corpus(corpus));

  DryRunOptions options;
  options.command = {program,
                     "train",
                     "--plan",
                     file,
                     "--device",
                     "cuda",
                     "--data_dir",
                     data,
                     "--out_dir",
                     join_path(folder.path(), "out"),
                     "--max_steps",
                     "2",
                     "--eval_batches",
                     "1",
                     "--sample_tokens",
                     "1",
                     "--vram_safety_margin",
                     "0"};
  options.steps = 0;
  options.allow_writes = true;
  VRAMWISE_ASSIGN_OR_RETURN(options.cards, parse_gpu_spec(gpu_spec));
  VRAMWISE_ASSIGN_OR_RETURN(options.emulator, find_emulator(program));
  return verify_by(std::move(options), folder.path());
}

}  // namespace vramwise::cli
