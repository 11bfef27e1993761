// See verified_text.h.
#include "report/verified_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "base/json.h"
#include "base/units.h"

namespace vramwise {
namespace {

Json cards_of(const Json& verified) {
  if (!verified.is_object()) return Json::array();
  const auto cards = verified.find("cards");
  return cards != verified.end() && cards->is_array() ? *cards : Json::array();
}

Bytes bytes_of(const Json& card, const char* key) {
  const auto found = card.find(key);
  return Bytes(found != card.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0);
}

bool is_equal(const Json& card) { return bytes_of(card, "measured_bytes") == bytes_of(card, "predicted_bytes"); }

std::string line_of(const Json& card) {
  const Bytes measured = bytes_of(card, "measured_bytes"), predicted = bytes_of(card, "predicted_bytes");
  if (measured == predicted) return fmt::format("{} measured, as predicted to the byte", format_size(measured));
  const double off = measured > Bytes(0) ? 100 * (predicted.in_mib() / measured.in_mib() - 1) : 0;
  return fmt::format("{} measured, {} predicted ({:+.2f} %)", format_size(measured), format_size(predicted), off);
}

}  // namespace

std::string verified_text(const Json& verified) {
  if (!verified.is_object()) return "";
  const Json cards = cards_of(verified);
  const std::string verdict = verified.value("verdict", std::string());
  std::string text;
  for (const Json& card : cards)
    text += fmt::format("Verified on emulated card {}: {}, {}\n", card.value("index", 0), verdict, line_of(card));
  return text.empty() ? fmt::format("Verified on emulated cards: {}\n", verdict) : text;
}

bool is_as_predicted(const Json& verified) {
  const Json cards = cards_of(verified);
  return !cards.empty() && std::ranges::all_of(cards, is_equal);
}

}  // namespace vramwise
