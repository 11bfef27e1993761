// The environment that a process was started with is in /proc/PID/environ, the libraries that it loaded in
// /proc/PID/maps.
#include "dryrun/outside_watch.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <utility>

namespace vramwise {
namespace {

constexpr int kCallsBetween = 10;

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

OutsideWatch::OutsideWatch(std::string folder, std::string proc) : folder_(std::move(folder)), proc_(std::move(proc)) {}

bool OutsideWatch::is_outside(int process) const {
  const std::string libraries = text_of(fmt::format("{}/{}/maps", proc_, process));
  return libraries.find("/libtorch_cuda.so") != std::string::npos &&
         libraries.find("/libvramwise_emulator.so") == std::string::npos;
}

void OutsideWatch::operator()(const std::function<std::vector<int>()>& processes) {
  if (calls_++ % kCallsBetween != 0) return;
  for (const int process : processes()) {
    if (known_.contains(process)) continue;
    const bool has_emulator =
        text_of(fmt::format("{}/{}/environ", proc_, process)).find("VRAMWISE_GPUS=") != std::string::npos;
    if (!has_emulator && !is_outside(process)) continue;  // it may load PyTorch yet
    known_.insert(process);
    if (!has_emulator) std::ofstream(fmt::format("{}/outside.{}", folder_, process));
  }
}

}  // namespace vramwise
