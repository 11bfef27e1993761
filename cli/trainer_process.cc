// exec, not fork: signals, the terminal and the exit code are then the trainer's own.
#include "cli/trainer_process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

namespace vramwise::cli {
namespace {

// The two executables are installed side by side.
std::string trainer_path() {
  std::array<char, PATH_MAX> own{};
  const ssize_t length = readlink("/proc/self/exe", own.data(), own.size() - 1);
  const std::string path(own.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return path.substr(0, path.rfind('/') + 1) + "vramwise-train";
}

}  // namespace

Error become_trainer(const std::string& run_file, bool as_json, const std::string& visible_devices, FileLock lock) {
  const Result<int> descriptor = lock.hand_over();
  if (!descriptor.ok()) return descriptor.error();
  const std::string lock_text = std::to_string(*descriptor);
  if (!visible_devices.empty()) setenv("CUDA_VISIBLE_DEVICES", visible_devices.c_str(), 1);
  const std::string program = trainer_path();
  const char* const arguments[] = {
      program.c_str(), run_file.c_str(), "--lock", lock_text.c_str(), as_json ? "--json" : nullptr, nullptr};
  execv(program.c_str(),
        const_cast<char* const*>(arguments));  // NOLINT(cppcoreguidelines-pro-type-const-cast): execv's old signature
  return world_error(fmt::format("cannot start {}: {}", program, std::strerror(errno)),
                     "Build it: make build (with torch).");
}

}  // namespace vramwise::cli
