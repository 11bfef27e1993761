// An item is [count x] (name [: memory] | memory). A name may itself begin with digits and an x ("7900xtx"), so an item
// is first looked up whole and only then taken apart.
#include "gpus/gpu_spec.h"

#include <fmt/format.h>

#include <cctype>
#include <optional>
#include <string>

#include "base/text.h"
#include "base/units.h"
#include "gpus/gpu_names.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostCards = 16384;       // more than the largest training runs that were published
constexpr double kLargestMemoryGb = 10 * 1024;  // 10 TB in one device: a slip of the unit
constexpr std::string_view kExamples = "e.g. rtx-4090, rtx-3090,rtx-3080, 2xa100-80gb, 24gb, rtx-2060:8gb";

struct Counted {
  std::int64_t count = 1;
  std::string_view rest;
};

/// "2xa100", "2 x a100", "2*a100" → 2 and "a100". Without such a beginning the text is returned whole. nullopt: a count
/// too long for a number.
std::optional<Counted> split_count(std::string_view item) {
  std::size_t digits = 0;
  while (digits < item.size() && std::isdigit(static_cast<unsigned char>(item[digits])) != 0) ++digits;
  const std::string_view after = trim(item.substr(digits));
  if (digits == 0 || after.size() < 2) return Counted{1, item};
  const bool times = after[0] == 'x' || after[0] == 'X' || after[0] == '*';
  if (!times) return Counted{1, item};
  const std::optional<std::int64_t> count = parse_integer(item.substr(0, digits));
  if (!count) return std::nullopt;
  return Counted{*count, trim(after.substr(1))};
}

/// "24gb", "24 GiB", "24g", "1.5tb" → gigabytes. nullopt: not an amount of memory.
std::optional<double> memory_gb(std::string_view text) {
  const std::string lower = to_lower(trim(text));
  for (const auto& [unit, factor] : {std::pair{"gib", 1.0}, {"gb", 1.0}, {"g", 1.0}, {"tib", 1024.0}, {"tb", 1024.0}}) {
    if (!lower.ends_with(unit)) continue;
    const std::string_view amount =
        trim(std::string_view(lower).substr(0, lower.size() - std::string_view(unit).size()));
    const std::optional<double> value = parse_number(amount);
    return value ? std::optional(*value * factor) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<Error> memory_error(double gb, std::string_view item) {
  if (gb <= 0)
    return usage_error(fmt::format("'{}' in --gpu names a card without memory", item), std::string(kExamples));
  if (gb > kLargestMemoryGb) {
    return usage_error(fmt::format("'{}' in --gpu names a card of {:g} GB, more than any has", item, gb),
                       "memory is in GB: 24gb is a card of 24 GB");
  }
  return std::nullopt;
}

std::string listed(const std::vector<const GpuModel*>& cards) {
  std::string text;
  for (const GpuModel* card : cards) text += (text.empty() ? "" : ", ") + card->id;
  return text;
}

Error unknown_name(std::string_view name) {
  const std::string close = closest_gpu_id(name);
  return usage_error(
      fmt::format("'{}' is not in the catalogue of cards", name),
      close.empty()
          ? fmt::format("name a card (`vramwise gpus` lists them) or its memory, {}", kExamples)
          : fmt::format("did you mean {}? `vramwise gpus` lists all. A card that is not there: its memory, as in 24gb",
                        close));
}

Result<GpuModel> card_with_memory(std::string_view name, double gb) {
  const std::vector<const GpuModel*> cards = gpus_called(name);
  if (cards.empty()) return unknown_name(name);
  const std::string exact = fmt::format("{}-{:g}gb", name, gb);
  for (const std::vector<const GpuModel*>& variants : {cards, gpus_called(exact)}) {
    for (const GpuModel* card : variants) {
      if (card->memory_gb == gb && !card->unified_memory) return *card;
    }
  }
  if (cards.size() > 1) {
    return usage_error(fmt::format("'{}' is more than one card: {}", name, listed(cards)), "name one of them");
  }
  return with_memory(*cards.front(), gb);
}

Result<GpuModel> card_of(std::string_view item) {
  const std::size_t colon = item.find(':');
  if (colon != std::string_view::npos) {
    const std::string_view name = trim(item.substr(0, colon));
    const std::optional<double> gb = memory_gb(item.substr(colon + 1));
    if (name.empty() || !gb) {
      return usage_error(fmt::format("'{}' in --gpu is not like rtx-2060:8gb", item), std::string(kExamples));
    }
    if (auto error = memory_error(*gb, item)) return *error;
    return card_with_memory(name, *gb);
  }
  if (const std::optional<double> gb = memory_gb(item)) {
    if (auto error = memory_error(*gb, item)) return *error;
    VRAMWISE_ASSIGN_OR_RETURN(const Bytes total, bytes_from_gib(*gb));
    return unknown_gpu(total);
  }
  const std::vector<const GpuModel*> cards = gpus_called(item);
  if (cards.empty()) return unknown_name(item);
  if (cards.size() > 1) {
    return usage_error(fmt::format("'{}' is more than one card: {}", item, listed(cards)), "name one of them");
  }
  return *cards.front();
}

}  // namespace

Result<std::vector<GpuModel>> parse_gpu_spec(std::string_view text) {
  if (trim(text).empty()) return usage_error("--gpu names no card", std::string(kExamples));
  std::vector<GpuModel> cards;
  for (const std::string& part : split(text, ',')) {
    const std::string_view item = trim(part);
    if (item.empty()) return usage_error("--gpu has an empty item between its commas", std::string(kExamples));
    Counted counted{1, item};
    if (gpus_called(item).empty()) {
      const std::optional<Counted> found = split_count(item);
      if (!found)
        return usage_error(fmt::format("the count in '{}' is beyond all numbers", item), std::string(kExamples));
      counted = *found;
    }
    if (counted.count == 0)
      return usage_error(fmt::format("'{}' asks for no card", item), "a count starts at 1: 2xrtx-4090");
    // An unknown name is told before a large count: the digits may be part of a misspelt name (7900xtz).
    VRAMWISE_ASSIGN_OR_RETURN(const GpuModel card, card_of(counted.rest));
    if (counted.count > static_cast<std::int64_t>(kMostCards - cards.size())) {
      return usage_error(fmt::format("'{}' asks for more than {} cards", item, kMostCards), std::string(kExamples));
    }
    cards.insert(cards.end(), static_cast<std::size_t>(counted.count), card);
  }
  return cards;
}

}  // namespace vramwise
