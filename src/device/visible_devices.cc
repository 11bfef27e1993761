// Each kind of entry has its finder; the walk over the list knows only "found" or "why not", and ends at the first
// entry that is not found, as CUDA does. The rules and where they come from stand in the header.
#include "device/visible_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "base/units.h"

namespace vramwise {
namespace {

using Device = VisibleDevices::Device;
using Cards = std::vector<VisibleCandidate>;

enum class Kind { kIndices, kUuids, kMig };

constexpr std::string_view kGpuPrefix = "GPU-";
constexpr std::string_view kMigPrefix = "MIG-";

Kind kind_of(std::string_view entry) {
  if (entry.starts_with(kGpuPrefix)) return Kind::kUuids;
  if (entry.starts_with(kMigPrefix)) return Kind::kMig;
  return Kind::kIndices;
}

// A found device, or why there is none.
struct Found {
  std::optional<Device> device;
  std::string problem;
};

// A card in MIG mode is reached through its first instance.
Found usable(const Cards& cards, std::size_t card) {
  if (!cards[card].mig) return {Device{card, std::nullopt}, {}};
  if (cards[card].instances.empty()) return {std::nullopt, "names a card in MIG mode that has no instances"};
  return {Device{card, 0}, {}};
}

Found find_index(std::string_view entry, const Cards& cards) {
  // As strtoul reads it: an optional plus sign, then digits, and the rest is ignored.
  const std::string_view digits = entry.starts_with('+') ? entry.substr(1) : entry;
  const auto* const end =
      std::find_if_not(digits.begin(), digits.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  const std::string_view number = digits.substr(0, static_cast<std::size_t>(end - digits.begin()));
  if (number.empty()) {
    if (entry.starts_with('-')) return {std::nullopt, "is negative"};
    return {std::nullopt, entry == "all" ? "is no index (to show all cards, unset the variable)" : "is no index"};
  }
  const auto index = parse_integer(number);
  if (!index || *index >= static_cast<std::int64_t>(cards.size())) {
    return {std::nullopt, fmt::format("does not exist (there {} {})", cards.size() == 1 ? "is" : "are",
                                      cards.size() == 1 ? "1 card" : fmt::format("{} cards", cards.size()))};
  }
  return usable(cards, static_cast<std::size_t>(*index));
}

Found find_uuid(std::string_view entry, const Cards& cards) {
  std::optional<std::size_t> match;
  for (std::size_t i = 0; i < cards.size(); ++i) {
    if (!cards[i].uuid.starts_with(entry)) continue;
    if (match) return {std::nullopt, "fits the UUIDs of several cards"};
    match = i;
  }
  if (!match) return {std::nullopt, "is the UUID of no card here"};
  return usable(cards, *match);
}

// "MIG-GPU-<uuid of the card>/<gpu instance>/<compute instance>", from drivers before R470.
bool is_old_name_of(std::string_view entry, const VisibleCandidate& card, const VisibleCandidate::Instance& instance) {
  const auto parts = split(entry.substr(kMigPrefix.size()), '/');
  if (parts.size() != 3 || !card.uuid.starts_with(parts[0])) return false;
  const auto gpu_instance = parse_integer(parts[1]);
  const auto compute_instance = parse_integer(parts[2]);
  return gpu_instance && compute_instance && instance.gpu_instance == *gpu_instance &&
         instance.compute_instance == *compute_instance;
}

Found find_mig(std::string_view entry, const Cards& cards) {
  const bool old_name = entry.substr(kMigPrefix.size()).starts_with(kGpuPrefix) && entry.find('/') != entry.npos;
  std::optional<Device> match;
  for (std::size_t card = 0; card < cards.size(); ++card) {
    for (std::size_t i = 0; i < cards[card].instances.size(); ++i) {
      const auto& instance = cards[card].instances[i];
      const bool fits = instance.uuid.starts_with(entry) || (old_name && is_old_name_of(entry, cards[card], instance));
      if (!fits) continue;
      if (match) return {std::nullopt, "fits several MIG instances"};
      match = Device{card, i};
    }
  }
  if (!match) return {std::nullopt, "is no MIG instance here"};
  return {match, {}};
}

Found find_entry(Kind kind, std::string_view entry, const Cards& cards) {
  if (kind_of(entry) != kind) return {std::nullopt, "is of another kind than the first entry"};
  switch (kind) {
    case Kind::kIndices:
      return find_index(entry, cards);
    case Kind::kUuids:
      return find_uuid(entry, cards);
    case Kind::kMig:
      return find_mig(entry, cards);
  }
  return {};
}

// A process sees one MIG instance, and nothing beside it.
void keep_one_instance(VisibleDevices& visible) {
  const auto instance = std::find_if(visible.devices.begin(), visible.devices.end(),
                                     [](const Device& d) { return d.instance.has_value(); });
  if (instance == visible.devices.end() || visible.devices.size() == 1) return;
  const Device only = *instance;
  visible.devices = {only};
  visible.notes.emplace_back("CUDA shows a process at most one MIG instance, and no other card beside it");
}

VisibleDevices all_of(const Cards& cards) {
  VisibleDevices visible;
  for (std::size_t card = 0; card < cards.size(); ++card) {
    if (!cards[card].mig) {
      visible.devices.push_back({card, std::nullopt});
    } else {
      for (std::size_t i = 0; i < cards[card].instances.size(); ++i) visible.devices.push_back({card, i});
    }
  }
  return visible;
}

VisibleDevices listed(const std::string& variable, const Cards& cards) {
  VisibleDevices visible;
  const auto entries = split(variable, ',');
  const Kind kind = kind_of(trim(entries.front()));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string entry(trim(entries[i]));
    const Found found = find_entry(kind, entry, cards);
    if (!found.device) {
      const bool last = i + 1 == entries.size();
      visible.notes.push_back(fmt::format("CUDA_VISIBLE_DEVICES={}: entry {} (\"{}\") {}; CUDA ignores it{}", variable,
                                          i + 1, entry, found.problem, last ? "" : " and every entry after it"));
      break;
    }
    if (std::find(visible.devices.begin(), visible.devices.end(), *found.device) != visible.devices.end()) {
      visible.devices.clear();
      visible.notes.push_back(fmt::format(
          "CUDA_VISIBLE_DEVICES={}: \"{}\" is named twice; CUDA then shows no card at all", variable, entry));
      return visible;
    }
    visible.devices.push_back(*found.device);
  }
  return visible;
}

}  // namespace

VisibleDevices visible_devices(const std::optional<std::string>& variable, const std::vector<VisibleCandidate>& cards) {
  if (variable && variable->empty()) {
    VisibleDevices none;
    if (!cards.empty()) none.notes.emplace_back("CUDA_VISIBLE_DEVICES is set and empty, which hides every card");
    return none;
  }
  VisibleDevices visible = variable ? listed(*variable, cards) : all_of(cards);
  keep_one_instance(visible);
  return visible;
}

}  // namespace vramwise
