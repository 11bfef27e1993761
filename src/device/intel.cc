// Intel cards from sysfs. Mainline kernels tell the memory of a card only in the xe driver, tile by tile
// (physical_vram_size_bytes); Intel's own builds of i915 add lmem_total_bytes and lmem_avail_bytes to the DRM folder.
// Where neither is there the memory stays unknown: the size of the PCI window is a power of two, not the memory.
#include <fmt/format.h>

#include "device/vendors.h"

namespace vramwise {
namespace {

constexpr std::int64_t kIntelPci = 0x8086;
// Graphics inside an Intel processor are always this function of the bus; cards never are.
constexpr const char* kIntegratedAddress = "0000:00:02.0";

std::optional<Bytes> tile_memory(System& system, const std::string& device) {
  std::optional<Bytes> total;
  for (const std::string& name : system.list_folder(device)) {
    if (!name.starts_with("tile")) continue;
    const auto size = read_number(system, fmt::format("{}/{}/physical_vram_size_bytes", device, name));
    if (size && *size > 0) total = total.value_or(Bytes(0)) + Bytes(*size);
  }
  return total;
}

CardMemory read_memory(System& system, const std::string& folder) {
  CardMemory memory;
  memory.nvml_total = tile_memory(system, folder + "/device");
  if (!memory.nvml_total) {
    const auto total = read_number(system, folder + "/lmem_total_bytes");
    const auto free = read_number(system, folder + "/lmem_avail_bytes");
    if (total && *total > 0) memory.nvml_total = Bytes(*total);
    if (memory.nvml_total && free && *free >= 0 && *free <= *total) {
      memory.free = Bytes(*free);
      memory.used = *memory.nvml_total - *memory.free;
      memory.used_by_others = memory.used;
    }
  }
  if (memory.nvml_total) {
    memory.cuda_total = memory.nvml_total;
    memory.cuda_total_source = TotalSource::kSysfs;
  }
  return memory;
}

// "Battlemage G21 [Arc B580]" → "Intel Arc B580".
std::string card_name(System& system, const std::string& device) {
  const auto id = read_number(system, device + "/device");
  if (!id) return "Intel GPU";
  auto name = pci_device_name(system, kIntelPci, static_cast<std::uint32_t>(*id));
  if (!name) return fmt::format("Intel GPU {:04x}", *id);
  const std::size_t open = name->find('[');
  if (open != std::string::npos && name->back() == ']') name = name->substr(open + 1, name->size() - open - 2);
  return name->starts_with("Intel") ? *name : "Intel " + *name;
}

}  // namespace

std::vector<Gpu> probe_intel(System& system) {
  std::vector<Gpu> gpus;
  for (const std::string& folder : drm_cards(system, kIntelPci)) {
    const std::string device = folder + "/device";
    Gpu& gpu = gpus.emplace_back();
    gpu.vendor = GpuVendor::kIntel;
    gpu.index = static_cast<int>(gpus.size()) - 1;
    gpu.name = card_name(system, device);
    gpu.pci_id = path_tail(system.read_link(device).value_or(""));
    gpu.integrated = gpu.pci_id == kIntegratedAddress;
    gpu.unified_memory = gpu.integrated;
    if (!gpu.integrated) gpu.memory = read_memory(system, folder);
    gpu.display = drm_display(system, folder);
    gpu.verified = false;
  }
  return gpus;
}

}  // namespace vramwise
