// The real machine behind System: files, environment, and NVIDIA's library by dlopen. Nothing here initialises CUDA.
#include <dlfcn.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "device/system.h"

namespace vramwise {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargestFile = std::size_t{16} << 20;

// By name first, as every program finds it (and as LD_PRELOAD or LD_LIBRARY_PATH may redirect it); then where WSL and
// some container images keep it without telling the loader.
constexpr std::array kNvmlPaths = {
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
};

}  // namespace

std::optional<std::string> RealSystem::read_file(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  // Files of /proc and /sys have no size beforehand, so read until the end.
  std::string text;
  std::array<char, 4096> block{};
  while (text.size() < kLargestFile) {
    file.read(block.data(), block.size());
    text.append(block.data(), static_cast<std::size_t>(file.gcount()));
    if (!file) break;
  }
  if (file.bad()) return std::nullopt;
  return text;
}

std::vector<std::string> RealSystem::list_folder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = fs::directory_iterator(path, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> RealSystem::read_link(const std::string& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  if (error) return std::nullopt;
  return target.string();
}

bool RealSystem::exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::optional<std::string> RealSystem::environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::optional<DiskSpace> RealSystem::disk_space(const std::string& path) {
  struct statvfs space{};
  if (statvfs(path.c_str(), &space) != 0) return std::nullopt;
  const auto block = static_cast<std::int64_t>(space.f_frsize);
  return DiskSpace{.total = Bytes(block) * static_cast<std::int64_t>(space.f_blocks),
                   .available = Bytes(block) * static_cast<std::int64_t>(space.f_bavail)};
}

std::string RealSystem::current_folder() {
  std::error_code error;
  const fs::path path = fs::current_path(error);
  return error ? "." : path.string();
}

std::int64_t RealSystem::process_id() { return getpid(); }

Result<std::unique_ptr<Nvml>> RealSystem::open_nvml() {
  std::string reason;
  for (const char* path : kNvmlPaths) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      // The first message is about the plain name, the one that people know.
      if (const char* message = dlerror(); reason.empty() && message != nullptr) reason = message;
      continue;
    }
    // The handle is never closed: the library may keep threads of its own, and it ends with the process.
    return make_nvml([library](const char* symbol) { return dlsym(library, symbol); }, path);
  }
  return world_error("NVIDIA's management library was not found: " + reason,
                     "install NVIDIA's driver, or in a container start it with GPU access (docker run --gpus all)");
}

}  // namespace vramwise
