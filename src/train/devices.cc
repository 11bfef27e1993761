// The trial kernel is the honest check: which compute capabilities a build serves is a matter of its binaries and of
// what the driver can translate, and PyTorch has no C++ interface for it that needs no CUDA headers.
#include "train/devices.h"

#include "base/units.h"
#include "train/out_of_memory.h"

namespace vramwise {
namespace {

Error no_such_card(const std::string& name, std::int64_t present) {
  if (present > 0) {
    return world_error(c10::str("there is no ", name, ": PyTorch sees ", present, present == 1 ? " card" : " cards"),
                       "Count from 0, and check CUDA_VISIBLE_DEVICES.");
  }
  return world_error(
      c10::str("there is no ", name, ": PyTorch sees no CUDA card"),
      "`vramwise doctor` tells what is wrong: no NVIDIA card, a driver older than this PyTorch needs, or "
      "CUDA_VISIBLE_DEVICES hides it. Without a card the run goes on the CPU.");
}

}  // namespace

Result<torch::Device> open_device(const std::string& name) {
  if (name == "cpu") return torch::Device(torch::kCPU);
  const auto index = name.starts_with("cuda:") ? parse_integer(std::string_view(name).substr(5)) : std::nullopt;
  if (!index || *index < 0 || *index > 127)
    return usage_error("unknown device \"" + name + "\"", "Known: cpu, cuda:0, cuda:1 and so on.");
  const auto present = static_cast<std::int64_t>(torch::cuda::device_count());
  if (*index >= present) return no_such_card(name, present);
  const torch::Device device(torch::kCUDA, static_cast<c10::DeviceIndex>(*index));
  try {
    const auto options = torch::TensorOptions().dtype(torch::kFloat).device(device);
    static_cast<void>(torch::ones({2}, options).add_(1).sum().item<float>());
  } catch (const std::exception&) {
    const std::string text = describe_exception(std::current_exception());
    if (text.find("no kernel image") != std::string::npos) {
      return world_error(name + " is older than this PyTorch has code for",
                         "`vramwise doctor` names the PyTorch build that serves this card.");
    }
    return world_error(name + " does not work: " + text, "`vramwise doctor` looks for the reason.");
  }
  return device;
}

}  // namespace vramwise
