// The hook's files are read by Python through PYTHONPATH; most trackers know an environment variable that keeps them
// offline, the others are in hook/vramwise_hook/uploads.py.
#include "dryrun/environment.h"

#include <cstdlib>
#include <fstream>

#include "base/json.h"
#include "dryrun_hook.h"
#include "io/files.h"
#include "values/files.h"

namespace vramwise {
namespace {

/// `first`, and what the variable holds already, as a search path.
std::string before(const std::string& first, const char* variable, char separator = ':') {
  const char* old = std::getenv(variable);
  return old == nullptr || *old == '\0' ? first : first + separator + old;
}

/// The emulator; and where what is written is thrown away, the library that makes holes of zeros.
std::string preloaded(const DryRunOptions& options) {
  const std::string sparse = join_path(parent_folder(options.emulator), "libvramwise_sparse.so");
  return !options.allow_writes && path_exists(sparse) ? options.emulator + ":" + sparse : options.emulator;
}

/// Experiment trackers must not show arithmetic that was never done.
void switch_trackers_off(std::map<std::string, std::string>& environment, const std::string& folder) {
  environment.insert({{"WANDB_MODE", "disabled"},
                      {"COMET_MODE", "DISABLED"},
                      {"NEPTUNE_MODE", "debug"},
                      {"MLFLOW_TRACKING_URI", "file://" + folder + "/mlruns"},
                      {"CLEARML_OFFLINE_MODE", "1"},
                      {"SWANLAB_MODE", "disabled"},
                      {"DVC_STUDIO_OFFLINE", "true"},
                      {"HF_HUB_DISABLE_TELEMETRY", "1"}});
}

/// Nobody needs these after a crash of the machine: no fsync.
Status write_plainly(const std::string& path, const char* text) {
  VRAMWISE_RETURN_IF_ERROR(make_folders(parent_folder(path)));
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return file.good() ? Status(Done{}) : file_error("write", path, errno);
}

}  // namespace

std::map<std::string, std::string> environment_of(const DryRunOptions& options, const Json& machine,
                                                  const std::string& folder) {
  const std::string libraries = parent_folder(options.emulator);
  std::map<std::string, std::string> environment = {
      {"LD_PRELOAD", before(preloaded(options), "LD_PRELOAD")},
      {"LD_LIBRARY_PATH", before(libraries, "LD_LIBRARY_PATH")},  // for libnvidia-ml.so.1
      {"PATH", before(join_path(libraries, "bin"), "PATH")},      // for nvidia-smi
      {"TRITON_LIBCUDA_PATH", libraries},
      {"PYTHONPATH", before(folder, "PYTHONPATH")},
      {"VRAMWISE_GPUS", machine.dump()},
      {"VRAMWISE_LEDGER_DIR", folder},
      {"VRAMWISE_RANK", std::to_string(options.rank)},
      {"VRAMWISE_FAKE_WEIGHTS", options.fake_weights ? "1" : "0"},
      {"VRAMWISE_STEPS", std::to_string(options.steps)},
      {"VRAMWISE_ROUTING", options.worst_routing ? "worst" : "balanced"},
      {"VRAMWISE_UPLOADS", options.allow_uploads ? "1" : "0"},
      // Beside the emulator's folder, where a build puts them; else they are built (src/values/vramwise_values.py).
      {"VRAMWISE_VALUES_DIR", join_path(parent_folder(libraries), "values")},
      // What is compiled and tuned on an emulated card must not serve a real one.
      {"TORCHINDUCTOR_CACHE_DIR", join_path(folder, "inductor")},
      {"TRITON_CACHE_DIR", join_path(folder, "triton")},
  };
  // The order of Python's sets is that of hashes; the same in each run, unless the user has chosen it.
  if (std::getenv("PYTHONHASHSEED") == nullptr) environment.emplace("PYTHONHASHSEED", "0");
  if (!options.allow_uploads) switch_trackers_off(environment, folder);
  return environment;
}

Status write_hook(const std::string& folder) {
  for (const internal::HookFile& file : internal::kHookFiles)
    VRAMWISE_RETURN_IF_ERROR(write_plainly(join_path(folder, file.name), file.text));
  for (const values::File& file : values::kFiles)
    VRAMWISE_RETURN_IF_ERROR(write_plainly(join_path(folder, file.name), file.text));
  return Done{};
}

std::string values_cache() {
  const char* named = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if ((named == nullptr || *named == '\0') && home == nullptr) return {};
  const std::string base = named != nullptr && *named != '\0' ? std::string(named) : join_path(home, ".cache");
  std::string path = join_path(base, "vramwise/values");
  return make_folders(path).ok() ? path : std::string();
}

}  // namespace vramwise
