// What a dry run changes for the program: what is loaded before it, one folder in front of its Python path, and
// trackers switched off.
#include "dryrun/run.h"

#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "dryrun/description.h"
#include "dryrun/process.h"
#include "dryrun/sandbox/overlay.h"
#include "dryrun/sandbox/run_folder.h"
#include "dryrun_hook.h"
#include "gpus/cuda_facts.h"
#include "io/files.h"

namespace vramwise {
namespace {

/// Set for programs whose writes are thrown away already: a dry run in a dry run.
constexpr const char* kInOverlay = "VRAMWISE_OVERLAY";

/// `first`, and what the variable holds already, as a search path.
std::string before(const std::string& first, const char* variable, char separator = ':') {
  const char* old = std::getenv(variable);
  return old == nullptr || *old == '\0' ? first : first + separator + old;
}

std::map<std::string, std::string> environment_of(const DryRunOptions& options, const Json& machine,
                                                  const std::string& folder) {
  const std::string libraries = parent_folder(options.emulator);
  return {
      {"LD_PRELOAD", before(options.emulator, "LD_PRELOAD")},
      {"LD_LIBRARY_PATH", before(libraries, "LD_LIBRARY_PATH")},  // for libnvidia-ml.so.1
      {"TRITON_LIBCUDA_PATH", libraries},
      {"PYTHONPATH", before(folder, "PYTHONPATH")},
      {"VRAMWISE_GPUS", machine.dump()},
      {"VRAMWISE_LEDGER_DIR", folder},
      {"VRAMWISE_RANK", std::to_string(options.rank)},
      {"VRAMWISE_FAKE_WEIGHTS", options.fake_weights ? "1" : "0"},
      {"VRAMWISE_STEPS", std::to_string(options.steps)},
      // Experiment trackers must not show arithmetic that was never done.
      {"WANDB_MODE", "disabled"},
      {"COMET_MODE", "DISABLED"},
      {"NEPTUNE_MODE", "debug"},
  };
}

std::vector<std::string> real_folders(const DryRunOptions& options, const RunFolder& folder) {
  std::vector<std::string> folders = options.real_folders;
  folders.push_back(folder.ledgers());
  return folders;
}

std::vector<Bytes> workspaces_of(const std::vector<GpuModel>& cards) {
  const char* config = std::getenv("CUBLAS_WORKSPACE_CONFIG");
  const auto text = config == nullptr ? std::nullopt : std::optional<std::string_view>(config);
  std::vector<Bytes> sizes;
  for (const GpuModel& card : cards)
    sizes.push_back(cublas_workspace(card.compute_capability.value_or(kAssumedCapability), text).bytes);
  return sizes;
}

Status write_hook(const std::string& folder) {
  for (const internal::HookFile& file : internal::kHookFiles) {
    const std::string path = join_path(folder, file.name);
    VRAMWISE_RETURN_IF_ERROR(make_folders(parent_folder(path)));
    VRAMWISE_RETURN_IF_ERROR(write_file_atomically(path, file.text));
  }
  return Done{};
}

}  // namespace

Result<std::string> find_emulator(const std::string& executable) {
  if (const char* named = std::getenv("VRAMWISE_EMULATOR"); named != nullptr && *named != '\0') {
    if (path_exists(named)) return std::string(named);
    return world_error(std::string("VRAMWISE_EMULATOR names '") + named + "', which isn't there");
  }
  const std::string root = parent_folder(parent_folder(executable));
  for (const char* folder : {"lib/emulator", "lib/vramwise/emulator"}) {
    std::string path = join_path(join_path(root, folder), "libvramwise_emulator.so");
    if (path_exists(path)) return path;
  }
  return world_error("the emulated GPU (libvramwise_emulator.so) is not beside " + executable,
                     "Build it (`ninja emulator_library`), or set VRAMWISE_EMULATOR to it.");
}

Result<DryRun> dry_run(const DryRunOptions& options) {
  VRAMWISE_ASSIGN_OR_RETURN(const Json machine, emulated_machine(options.cards));
  VRAMWISE_ASSIGN_OR_RETURN(const RunFolder folder, RunFolder::make());
  VRAMWISE_RETURN_IF_ERROR(write_hook(folder.ledgers()));
  ProgramOptions program = {.environment = environment_of(options, machine, folder.ledgers()),
                            .output_to_stderr = options.output_to_stderr,
                            .removed_with_guard = folder.path()};
  if (!options.allow_writes && std::getenv(kInOverlay) == nullptr) {
    program.prepare = [&] {
      return enter_throwaway_overlay({.scratch = folder.scratch(), .real_folders = real_folders(options, folder)});
    };
    program.environment.emplace(kInOverlay, "1");
  }
  VRAMWISE_ASSIGN_OR_RETURN(const ProgramEnd end, run_program(options.command, program));
  return read_dry_run(folder.ledgers(), end.exit_code, workspaces_of(options.cards));
}

}  // namespace vramwise
