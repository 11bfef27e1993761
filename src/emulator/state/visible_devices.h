// CUDA_VISIBLE_DEVICES: which cards a process sees, and in which order.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vramwise::emulator {

using Uuid = std::array<std::uint8_t, 16>;

/// "GPU-6f1b…": a UUID as NVML and nvidia-smi write it.
std::string uuid_text(const Uuid& uuid);

/// Indices into `uuids` that a process sees under CUDA_VISIBLE_DEVICES=`value`, in its order; null: the variable is
/// unset, all are seen. As the driver does it (CUDA C++ Programming Guide, "CUDA Environment Variables"): a list of
/// indices or of (abbreviated, but unique) "GPU-…" UUIDs; the first entry that names no card ends the list; a card that
/// is named twice leaves none; MIG instances
/// ("MIG-…") are not emulated and count as no card.
std::vector<int> visible_devices(const char* value, const std::vector<Uuid>& uuids);

}  // namespace vramwise::emulator
