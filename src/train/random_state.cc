// Our decoder draws nothing while it trains; what is added to it later (dropout) will be repeated and resumed exactly.
#include "train/random_state.h"

#include <algorithm>
#include <mutex>

namespace vramwise {
namespace {

constexpr const char* kDigits = "0123456789abcdef";

std::string to_hex(const torch::Tensor& bytes) {
  std::string text;
  text.reserve(static_cast<std::size_t>(2 * bytes.numel()));
  const auto* data = bytes.const_data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < bytes.numel(); ++i) {
    text.push_back(kDigits[data[i] >> 4]);
    text.push_back(kDigits[data[i] & 15]);
  }
  return text;
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<torch::Tensor> from_hex(const std::string& text) {
  torch::Tensor bytes = torch::empty({static_cast<std::int64_t>(text.size() / 2)}, torch::kByte);
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return world_error("random states: not hexadecimal");
    bytes.mutable_data_ptr<std::uint8_t>()[i / 2] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return bytes;
}

bool is_present(const torch::Device& device) {
  return device.is_cpu() || (device.is_cuda() && device.index() >= 0 &&
                             device.index() < static_cast<std::int64_t>(torch::cuda::device_count()));
}

}  // namespace

RandomState RandomState::capture(const std::vector<ReplicaSpec>& replicas) {
  std::vector<std::string> devices = {"cpu"};
  for (const ReplicaSpec& replica : replicas) {
    if (std::find(devices.begin(), devices.end(), replica.device) == devices.end()) devices.push_back(replica.device);
  }
  RandomState state;
  state.entries_.reserve(devices.size());
  for (const std::string& device : devices) {
    at::Generator generator = at::globalContext().defaultGenerator(torch::Device(device));
    const std::lock_guard lock(generator.mutex());
    state.entries_.push_back({device, generator.get_state()});
  }
  return state;
}

void RandomState::restore() const {
  for (const Entry& entry : entries_) {
    at::Generator generator = at::globalContext().defaultGenerator(torch::Device(entry.device));
    const std::lock_guard lock(generator.mutex());
    generator.set_state(entry.state);
  }
}

Json RandomState::to_json() const {
  Json json = Json::object();
  for (const Entry& entry : entries_) json[entry.device] = to_hex(entry.state);
  return json;
}

Result<RandomState> RandomState::from_json(const Json& json) {
  RandomState state;
  if (!json.is_object()) return world_error("random states: an object was expected");
  for (const auto& [device, value] : json.items()) {
    if (device != "cpu" && !device.starts_with("cuda:")) return world_error("random states: unknown device " + device);
    VRAMWISE_ASSIGN_OR_RETURN(const std::string text, json_get<std::string>(json, device));
    VRAMWISE_ASSIGN_OR_RETURN(torch::Tensor bytes, from_hex(text));
    try {
      if (!is_present(torch::Device(device))) continue;
      at::Generator generator = at::globalContext().defaultGenerator(torch::Device(device));
      const std::lock_guard lock(generator.mutex());
      const std::int64_t expected = generator.get_state().numel();
      if (bytes.numel() != expected || text.size() % 2 != 0) {
        return world_error(
            c10::str("random states: ", bytes.numel(), " bytes for ", device, ", ", expected, " were expected"));
      }
    } catch (const c10::Error&) {
      return world_error("random states: unknown device " + device);
    }
    state.entries_.push_back({device, std::move(bytes)});
  }
  return state;
}

}  // namespace vramwise
