// One function per vendor: what its driver and the kernel tell about its cards. Used by probe() only.
#pragma once

#include <vector>

#include "device/machine.h"
#include "device/system.h"

namespace vramwise {

/// NVIDIA's cards through NVML; Jetson boards without NVML through the device tree. Fills gpus, driver and warnings.
/// Reads machine.host (unified memory is the host's) and machine.pci_cards.
void probe_nvidia(System& system, Machine& machine);

/// AMD's cards through amdgpu's sysfs files.
std::vector<Gpu> probe_amd(System& system);

/// Intel's cards through sysfs (drivers i915 and xe).
std::vector<Gpu> probe_intel(System& system);

/// Display and compute cards on the PCI bus.
std::vector<PciCard> probe_pci(System& system);

/// The name of a PCI device in the pci.ids file that distributions install; nothing where there is no such file.
std::optional<std::string> pci_device_name(System& system, std::uint32_t vendor, std::uint32_t device);

/// "/sys/class/drm/card0", … of the cards of one PCI vendor, by number.
std::vector<std::string> drm_cards(System& system, std::int64_t vendor);

/// Whether a screen is connected to the card in this folder of /sys/class/drm; nothing where it has no outputs listed.
std::optional<bool> drm_display(System& system, const std::string& card_folder);

/// "00000000:01:00.0" and "0000:01:00.0" → "0000:01:00.0", in lower case.
std::string normal_pci_id(const std::string& pci_id);

}  // namespace vramwise
