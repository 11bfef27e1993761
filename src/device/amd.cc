// AMD cards from the files of the kernel's amdgpu driver (kernel documentation, gpu/amdgpu/driver-misc.rst) and of its
// compute part, KFD. No library of AMD's is needed, and none is loaded.
//
// An APU shares host memory: its "VRAM" is a carve-out of it, and GTT is what it may map of the rest. Programs can use
// both, so the total is their sum there; on a card of its own GTT is host memory behind the PCI bus, and does not
// count.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/units.h"
#include "device/vendors.h"

namespace vramwise {
namespace {

constexpr std::int64_t kAmdPci = 0x1002;

std::optional<Bytes> read_size(System& system, const std::string& path) {
  const auto number = read_number(system, path);
  if (!number || *number < 0) return std::nullopt;
  return Bytes(*number);
}

// One node of KFD's topology: lines "key value".
struct KfdNode {
  std::int64_t render_minor = -1;
  std::int64_t cpu_cores = 0;
  std::int64_t gfx_version = 0;  // 110000: 11.0.0
};

std::vector<KfdNode> read_kfd(System& system) {
  const std::string root = "/sys/class/kfd/kfd/topology/nodes/";
  std::vector<KfdNode> nodes;
  for (const std::string& name : system.list_folder(root)) {
    const auto text = system.read_file(root + name + "/properties");
    if (!text) continue;
    KfdNode& node = nodes.emplace_back();
    for (const std::string& line : split(*text, '\n')) {
      const std::size_t space = line.find(' ');
      if (space == std::string::npos) continue;
      const std::string key = line.substr(0, space);
      const std::int64_t value = parse_integer(trim(line.substr(space + 1))).value_or(0);
      if (key == "drm_render_minor") node.render_minor = value;
      if (key == "cpu_cores_count") node.cpu_cores = value;
      if (key == "gfx_target_version") node.gfx_version = value;
    }
  }
  return nodes;
}

std::optional<KfdNode> kfd_node_of(System& system, const std::string& device, const std::vector<KfdNode>& nodes) {
  for (const std::string& name : system.list_folder(device + "/drm")) {
    if (!name.starts_with("renderD")) continue;
    const auto minor = parse_integer(name.substr(7));
    for (const KfdNode& node : nodes) {
      if (minor && node.render_minor == *minor) return node;
    }
  }
  return std::nullopt;
}

// The third byte of gpu_metrics is its format: 1 for cards, 2 and 3 for APUs (kgd_pp_interface.h in the kernel). Where
// it is missing, a KFD node with CPU cores and a GPU in one is an APU, and named memory chips belong to a card.
std::optional<bool> is_apu(System& system, const std::string& device, const std::optional<KfdNode>& node) {
  if (const auto metrics = system.read_file(device + "/gpu_metrics"); metrics && metrics->size() >= 4) {
    const int format = static_cast<unsigned char>((*metrics)[2]);
    if (format == 1) return false;
    if (format == 2 || format == 3) return true;
  }
  if (node && node->cpu_cores > 0) return true;
  const auto chips = read_line(system, device + "/mem_info_vram_vendor");
  if (chips && *chips != "unknown") return false;
  return std::nullopt;
}

// "gfx90a": major and minor decimal, the stepping hexadecimal.
std::string gfx_name(std::int64_t version) {
  if (version <= 0) return {};
  return fmt::format("gfx{}{}{:x}", version / 10000, version / 100 % 100, version % 100);
}

// libdrm's amdgpu.ids: "744C,\tC8,\tAMD Radeon RX 7900 XTX": device, revision, name.
std::optional<std::string> name_in_amdgpu_ids(System& system, std::int64_t device, std::int64_t revision) {
  const auto text = system.read_file("/usr/share/libdrm/amdgpu.ids");
  const std::string device_key = fmt::format("{:04x}", device);
  const std::string revision_key = fmt::format("{:02x}", revision);
  for (const std::string& line : split(text.value_or(""), '\n')) {
    const auto parts = split(line, ',');
    if (parts.size() < 3 || to_lower(trim(parts[0])) != device_key || to_lower(trim(parts[1])) != revision_key)
      continue;
    return std::string(trim(line.substr(parts[0].size() + parts[1].size() + 2)));
  }
  return std::nullopt;
}

std::string card_name(System& system, const std::string& device) {
  if (const auto name = read_line(system, device + "/product_name")) return *name;
  const auto id = read_number(system, device + "/device");
  if (!id) return "AMD GPU";
  const auto revision = read_number(system, device + "/revision").value_or(0);
  if (const auto name = name_in_amdgpu_ids(system, *id, revision)) return *name;
  if (const auto name = pci_device_name(system, kAmdPci, static_cast<std::uint32_t>(*id))) return "AMD " + *name;
  return fmt::format("AMD GPU {:04x}", *id);
}

CardMemory read_memory(System& system, const std::string& device, bool apu) {
  CardMemory memory;
  memory.nvml_total = read_size(system, device + "/mem_info_vram_total");
  memory.used = read_size(system, device + "/mem_info_vram_used");
  if (apu) {
    const auto gtt_total = read_size(system, device + "/mem_info_gtt_total");
    const auto gtt_used = read_size(system, device + "/mem_info_gtt_used");
    if (memory.nvml_total && gtt_total) *memory.nvml_total += *gtt_total;
    if (memory.used && gtt_used) *memory.used += *gtt_used;
  }
  if (memory.nvml_total) {
    memory.cuda_total = memory.nvml_total;
    memory.cuda_total_source = TotalSource::kSysfs;
  }
  if (memory.nvml_total && memory.used) memory.free = std::max(*memory.nvml_total - *memory.used, Bytes(0));
  memory.used_by_others = memory.used;
  return memory;
}

}  // namespace

std::vector<Gpu> probe_amd(System& system) {
  std::vector<Gpu> gpus;
  const auto nodes = read_kfd(system);
  for (const std::string& folder : drm_cards(system, kAmdPci)) {
    const std::string device = folder + "/device";
    const auto node = kfd_node_of(system, device, nodes);
    const bool apu = is_apu(system, device, node).value_or(false);
    Gpu& gpu = gpus.emplace_back();
    gpu.vendor = GpuVendor::kAmd;
    gpu.index = static_cast<int>(gpus.size()) - 1;
    gpu.name = card_name(system, device);
    gpu.pci_id = path_tail(system.read_link(device).value_or(""));
    // ROCm writes the same number as "GPU-<16 hexadecimal digits>".
    if (const auto id = read_line(system, device + "/unique_id")) gpu.uuid = "GPU-" + *id;
    gpu.memory = read_memory(system, device, apu);
    gpu.unified_memory = apu;
    gpu.integrated = apu;
    if (node) gpu.architecture = gfx_name(node->gfx_version);
    gpu.display = drm_display(system, folder);
    gpu.verified = false;
  }
  return gpus;
}

}  // namespace vramwise
