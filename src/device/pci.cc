// What the kernel lists, driver or not: the PCI bus, the DRM cards, and the names that the pci.ids file gives.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "base/units.h"
#include "device/vendors.h"

namespace vramwise {
namespace {

// PCI base classes (PCI Code and ID Assignment Specification): 03 display controllers, 12 processing accelerators.
constexpr std::int64_t kDisplayClass = 0x03;
constexpr std::int64_t kAcceleratorClass = 0x12;

bool is_card_name(const std::string& name) {
  return name.size() > 4 && name.starts_with("card") && name.find_first_not_of("0123456789", 4) == std::string::npos;
}

}  // namespace

std::vector<PciCard> probe_pci(System& system) {
  const std::string root = "/sys/bus/pci/devices/";
  std::vector<PciCard> cards;
  for (const std::string& name : system.list_folder(root)) {
    const auto class_code = read_number(system, root + name + "/class");
    if (!class_code || (*class_code >> 16 != kDisplayClass && *class_code >> 16 != kAcceleratorClass)) continue;
    PciCard& card = cards.emplace_back();
    card.pci_id = name;
    card.class_code = static_cast<std::uint32_t>(*class_code);
    card.vendor = static_cast<std::uint32_t>(read_number(system, root + name + "/vendor").value_or(0));
    card.device = static_cast<std::uint32_t>(read_number(system, root + name + "/device").value_or(0));
    card.driver = path_tail(system.read_link(root + name + "/driver").value_or(""));
  }
  return cards;
}

// pci.ids: a line "10de  NVIDIA Corporation" opens a vendor, lines "\t2684  AD102 [GeForce RTX 4090]" are its devices.
std::optional<std::string> pci_device_name(System& system, std::uint32_t vendor, std::uint32_t device) {
  const std::string vendor_key = fmt::format("\n{:04x} ", vendor);
  const std::string device_key = fmt::format("\n\t{:04x} ", device);
  for (const char* path : {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"}) {
    const auto content = system.read_file(path);
    if (!content) continue;
    const std::string text = "\n" + *content;
    const std::size_t start = text.find(vendor_key);
    if (start == std::string::npos) continue;
    // The vendor's block ends at the next line that begins with a digit or letter.
    std::size_t end = text.find('\n', start + 1);
    while (end != std::string::npos && end + 1 < text.size() &&
           std::isalnum(static_cast<unsigned char>(text[end + 1])) == 0) {
      end = text.find('\n', end + 1);
    }
    const std::string block = text.substr(start, end - start);
    const std::size_t found = block.find(device_key);
    if (found == std::string::npos) continue;
    const std::size_t from = found + device_key.size();
    return std::string(trim(block.substr(from, block.find('\n', from) - from)));
  }
  return std::nullopt;
}

std::vector<std::string> drm_cards(System& system, std::int64_t vendor) {
  std::vector<std::pair<std::int64_t, std::string>> found;
  for (const std::string& name : system.list_folder("/sys/class/drm")) {
    if (!is_card_name(name)) continue;
    const std::string folder = "/sys/class/drm/" + name;
    if (read_number(system, folder + "/device/vendor") != vendor) continue;
    found.emplace_back(parse_integer(name.substr(4)).value_or(0), folder);
  }
  std::sort(found.begin(), found.end());  // card10 comes after card9
  std::vector<std::string> folders;
  folders.reserve(found.size());
  for (auto& [number, folder] : found) folders.push_back(std::move(folder));
  return folders;
}

std::optional<bool> drm_display(System& system, const std::string& card_folder) {
  const std::string prefix = path_tail(card_folder) + "-";
  std::optional<bool> connected;
  for (const std::string& name : system.list_folder("/sys/class/drm")) {
    if (!name.starts_with(prefix)) continue;
    const auto status = read_line(system, "/sys/class/drm/" + name + "/status");
    if (status) connected = connected.value_or(false) || *status == "connected";
  }
  return connected;
}

std::string normal_pci_id(const std::string& pci_id) {
  std::string id = to_lower(pci_id);
  if (id.size() == 16 && id.starts_with("0000")) id.erase(0, 4);
  return id;
}

}  // namespace vramwise
