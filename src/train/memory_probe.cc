// Counters that the allocator and the kernel keep anyway: nothing is sampled, so no peak is missed between two looks.
#include "train/memory_probe.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

struct Reading {
  std::optional<Bytes> now;
  std::optional<Bytes> peak;
};

Reading read_cuda(const torch::Device& device) {
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(c10::DeviceType::CUDA));
  if (allocator == nullptr || !allocator->initialized()) return {};
  const c10::CachingDeviceAllocator::DeviceStats stats = allocator->getDeviceStats(device.index());
  const auto& reserved = stats.reserved_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  return {Bytes(reserved.current), Bytes(reserved.peak)};
}

Reading read_device(const std::string& name) {
  const torch::Device device(name);
  if (device.is_cuda()) return read_cuda(device);
  const auto process = process_memory();
  if (!process) return {};
  return {process->anonymous, process->peak - process->file};
}

Json to_json(const std::optional<Bytes>& bytes) { return bytes ? Json(bytes->count()) : Json(nullptr); }

}  // namespace

Json to_json(const MemoryReading& memory) {
  return {{"device", memory.device},
          {"before_bytes", to_json(memory.before)},
          {"now_bytes", to_json(memory.now)},
          {"peak_bytes", to_json(memory.peak)},
          {"predicted_peak_bytes", memory.predicted_peak.count()}};
}

std::optional<ProcessMemory> process_memory() {
  std::ifstream status("/proc/self/status");
  ProcessMemory memory;
  int found = 0;
  for (std::string line; std::getline(status, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, colon);
    Bytes* target = key == "RssAnon" ? &memory.anonymous : key == "VmHWM" ? &memory.peak : nullptr;
    if (key == "RssFile") target = &memory.file;
    if (target == nullptr) continue;
    const std::string value = line.substr(colon + 1);
    const auto kib = parse_integer(trim(std::string_view(value).substr(0, value.rfind(" kB"))));
    if (!kib) return std::nullopt;
    *target = Bytes::kib(*kib);
    ++found;
  }
  if (found != 3) return std::nullopt;
  return memory;
}

MemoryProbe::MemoryProbe(const std::vector<ReplicaSpec>& replicas) {
  for (const ReplicaSpec& replica : replicas) {
    const auto same = std::find_if(devices_.begin(), devices_.end(),
                                   [&](const MemoryReading& known) { return known.device == replica.device; });
    if (same != devices_.end()) {
      same->predicted_peak += replica.predicted_peak;
      continue;
    }
    devices_.push_back({replica.device, read_device(replica.device).now, std::nullopt, replica.predicted_peak});
  }
}

std::vector<MemoryReading> MemoryProbe::read() const {
  std::vector<MemoryReading> all;
  all.reserve(devices_.size());
  for (const MemoryReading& before : devices_) {
    const Reading reading = read_device(before.device);
    MemoryReading memory = before;
    memory.before = before.now;
    memory.now = memory.peak = std::nullopt;
    const Bytes taken = before.now.value_or(Bytes());
    if (reading.now) memory.now = *reading.now - taken;
    if (reading.peak) memory.peak = *reading.peak - taken;
    // The two counters of a process are not read at one moment.
    if (memory.peak && memory.now) memory.peak = std::max(*memory.peak, *memory.now);
    all.push_back(memory);
  }
  return all;
}

}  // namespace vramwise
