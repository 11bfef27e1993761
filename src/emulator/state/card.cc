// Reading a machine's description. What is left out gets a value that decides no allocation (clocks), or an error.
#include "emulator/state/card.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"

namespace vramwise::emulator {
namespace {

struct KnownLimits {
  int capability = 0;
  CapabilityLimits limits;
};

// CUDA C++ Programming Guide 13.0, table "Technical Specifications per Compute Capability"; 6.x and 7.0 from its 12.x
// editions.
constexpr KnownLimits kKnownLimits[] = {
    {60, {2048, 32, 64, 48}},    {61, {2048, 32, 96, 48}},   {62, {2048, 32, 64, 48}},    {70, {2048, 32, 96, 96}},
    {75, {1024, 16, 64, 64}},    {80, {2048, 32, 164, 163}}, {86, {1536, 16, 100, 99}},   {87, {1536, 16, 164, 163}},
    {89, {1536, 24, 100, 99}},   {90, {2048, 32, 228, 227}}, {100, {2048, 32, 228, 227}}, {103, {2048, 32, 228, 227}},
    {110, {1536, 24, 228, 227}}, {120, {1536, 24, 100, 99}}, {121, {1536, 24, 100, 99}},
};

/// A UUID that is the same in every run and tells the cards of one machine apart.
std::array<std::uint8_t, 16> derived_uuid(const std::string& name, std::size_t index) {
  std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a
  for (const char c : name + "#" + std::to_string(index)) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  }
  std::array<std::uint8_t, 16> uuid{};
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 8) hash = (hash ^ 0x5bd1e995U) * 1099511628211ULL;
    uuid[i] = static_cast<std::uint8_t>(hash >> (8 * (i % 8)));
  }
  return uuid;
}

Result<std::array<std::uint8_t, 16>> parse_uuid(const std::string& text) {
  std::string digits;
  for (const char c : text.starts_with("GPU-") ? text.substr(4) : text) {
    if (c != '-') digits += c;
  }
  std::array<std::uint8_t, 16> uuid{};
  if (digits.size() != 32) return usage_error("'" + text + "' is not the UUID of a GPU");
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    const char* digit = digits.data() + 2 * i;
    const auto [stop, error] = std::from_chars(digit, digit + 2, uuid[i], 16);
    if (error != std::errc() || stop != digit + 2) return usage_error("'" + text + "' is not the UUID of a GPU");
  }
  return uuid;
}

Status read_capability(const std::string& text, CardSpec& card) {
  const auto parts = split(text, '.');
  const auto major = parts.size() == 2 ? parse_integer(parts[0]) : std::nullopt;
  const auto minor = parts.size() == 2 ? parse_integer(parts[1]) : std::nullopt;
  if (!major || !minor || *major < 1 || *major > 99 || *minor < 0 || *minor > 9) {
    return usage_error("'" + text + "' is not a compute capability", "write it as 8.6");
  }
  card.capability_major = static_cast<int>(*major);
  card.capability_minor = static_cast<int>(*minor);
  card.limits = limits_of_capability(card.capability());
  return Done{};
}

Result<Bytes> bytes_or(const Json& json, const char* key, Bytes fallback) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto count, json_get_or<std::int64_t>(json, key, fallback.count()));
  if (count < 0) return usage_error(std::string("'") + key + "' of an emulated card is negative");
  return Bytes(count);
}

Status read_memory(const Json& json, CardSpec& card) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto total, json_get<std::int64_t>(json, "total_bytes"));
  card.total = Bytes(total);
  VRAMWISE_ASSIGN_OR_RETURN(card.nvml_total, bytes_or(json, "nvml_total_bytes", card.total));
  VRAMWISE_ASSIGN_OR_RETURN(card.context, bytes_or(json, "context_bytes", Bytes(0)));
  VRAMWISE_ASSIGN_OR_RETURN(card.other, bytes_or(json, "other_bytes", Bytes(0)));
  if (json.contains("communicator_bytes")) {
    VRAMWISE_ASSIGN_OR_RETURN(card.communicator, bytes_or(json, "communicator_bytes", Bytes(0)));
  }
  if (card.total <= card.context + card.other) {
    return usage_error("the emulated card '" + card.name +
                       "' has no memory left beside its context and other processes");
  }
  return Done{};
}

Status read_link(const Json& json, CardSpec& card) {
  const NcclLink usual = usual_nccl_link(card.name, card.capability());
  VRAMWISE_ASSIGN_OR_RETURN(const auto link, json_get_or<std::string>(json, "nccl_link", to_string(usual)));
  const auto parsed = parse_nccl_link(link);
  if (!parsed) return usage_error("'" + link + "' is no 'nccl_link'", "write nvswitch, nvlink, pcie or host");
  card.nccl_link = *parsed;
  return Done{};
}

Status read_chip(const Json& json, CardSpec& card) {
  VRAMWISE_ASSIGN_OR_RETURN(card.l2_cache, bytes_or(json, "l2_cache_bytes", Bytes::mib(6)));
  VRAMWISE_ASSIGN_OR_RETURN(card.sm_count, json_get_or<int>(json, "sm_count", 80));
  VRAMWISE_ASSIGN_OR_RETURN(card.clock_khz, json_get_or<int>(json, "clock_khz", card.clock_khz));
  VRAMWISE_ASSIGN_OR_RETURN(card.memory_clock_khz, json_get_or<int>(json, "memory_clock_khz", card.memory_clock_khz));
  VRAMWISE_ASSIGN_OR_RETURN(card.memory_bus_bits, json_get_or<int>(json, "memory_bus_bits", card.memory_bus_bits));
  return Done{};
}

Result<CardSpec> parse_card(const Json& json, std::size_t index) {
  CardSpec card;
  VRAMWISE_ASSIGN_OR_RETURN(card.name, json_get<std::string>(json, "name"));
  VRAMWISE_RETURN_IF_ERROR(read_memory(json, card));
  VRAMWISE_ASSIGN_OR_RETURN(const auto capability, json_get<std::string>(json, "capability"));
  VRAMWISE_RETURN_IF_ERROR(read_capability(capability, card));
  VRAMWISE_RETURN_IF_ERROR(read_link(json, card));
  VRAMWISE_RETURN_IF_ERROR(read_chip(json, card));
  VRAMWISE_ASSIGN_OR_RETURN(const auto uuid, json_get_or<std::string>(json, "uuid", ""));
  if (uuid.empty()) {
    card.uuid = derived_uuid(card.name, index);
  } else {
    VRAMWISE_ASSIGN_OR_RETURN(card.uuid, parse_uuid(uuid));
  }
  return card;
}

Result<Faults> parse_faults(const Json& json) {
  Faults faults;
  VRAMWISE_ASSIGN_OR_RETURN(faults.fail_probability, json_get_or<double>(json, "fail_probability", 0));
  VRAMWISE_ASSIGN_OR_RETURN(faults.seed, json_get_or<std::uint64_t>(json, "seed", 0));
  VRAMWISE_ASSIGN_OR_RETURN(faults.fail_allocation, json_get_or<std::int64_t>(json, "fail_allocation", 0));
  VRAMWISE_ASSIGN_OR_RETURN(faults.other_grows_at, json_get_or<std::int64_t>(json, "other_grows_at", 0));
  VRAMWISE_ASSIGN_OR_RETURN(const auto by, json_get_or<std::int64_t>(json, "other_grows_by_bytes", 0));
  faults.other_grows_by = Bytes(by);
  return faults;
}

}  // namespace

CapabilityLimits limits_of_capability(int capability) {
  CapabilityLimits limits = kKnownLimits[0].limits;
  for (const auto& known : kKnownLimits) {
    if (known.capability <= capability) limits = known.limits;
  }
  return limits;
}

Result<MachineSpec> parse_machine(std::string_view text) {
  VRAMWISE_ASSIGN_OR_RETURN(const auto json, parse_json(text, "the description of the emulated GPUs"));
  const auto cards = json.find("cards");
  if (cards == json.end() || !cards->is_array())
    return usage_error("the description of the emulated GPUs has no 'cards'");
  MachineSpec machine;
  for (const auto& card : *cards) {
    VRAMWISE_ASSIGN_OR_RETURN(auto spec, parse_card(card, machine.cards.size()));
    machine.cards.push_back(std::move(spec));
  }
  VRAMWISE_ASSIGN_OR_RETURN(machine.cuda_driver_version,
                            json_get_or<int>(json, "cuda_driver_version", machine.cuda_driver_version));
  VRAMWISE_ASSIGN_OR_RETURN(machine.driver_version,
                            json_get_or<std::string>(json, "driver_version", machine.driver_version));
  VRAMWISE_ASSIGN_OR_RETURN(const auto budget,
                            json_get_or<std::int64_t>(json, "resident_budget_bytes", machine.resident_budget.count()));
  machine.resident_budget = Bytes(budget);
  VRAMWISE_ASSIGN_OR_RETURN(const auto fill, json_get_or<std::int64_t>(json, "fill", 0));
  if (fill < 0 || fill > 255) return usage_error("'fill' of the emulated GPUs is not a byte", "name one from 0 to 255");
  machine.fill = static_cast<std::uint8_t>(fill);
  machine.ranks_per_machine = std::max(machine.ranks_per_machine, static_cast<int>(machine.cards.size()));
  VRAMWISE_ASSIGN_OR_RETURN(machine.ranks_per_machine,
                            json_get_or<int>(json, "ranks_per_machine", machine.ranks_per_machine));
  VRAMWISE_ASSIGN_OR_RETURN(machine.ask_libraries, json_get_or<bool>(json, "ask_libraries", true));
  VRAMWISE_ASSIGN_OR_RETURN(machine.lag, json_get_or<bool>(json, "lag", false));
  VRAMWISE_ASSIGN_OR_RETURN(machine.strict, json_get_or<bool>(json, "strict", false));
  if (const auto faults = json.find("faults"); faults != json.end()) {
    VRAMWISE_ASSIGN_OR_RETURN(machine.faults, parse_faults(*faults));
  }
  return machine;
}

}  // namespace vramwise::emulator
