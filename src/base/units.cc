// Numbers are read with from_chars: whole, finite, and independent of the locale.
#include "base/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace vramwise {
namespace {

// Doubles hold every integer up to 2^53; beyond it a byte count from a decimal number would not be exact.
constexpr double kLargestExactBytes = 9007199254740992.0;

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

Result<Bytes> bytes_from_gib(double gib) {
  const double bytes = gib * (1 << 30);
  if (!std::isfinite(bytes) || std::fabs(bytes) > kLargestExactBytes) {
    return usage_error(fmt::format("{} GB is not an amount of memory that exists", gib));
  }
  return Bytes(std::llround(bytes));
}

std::string format_gib(Bytes bytes, int digits) { return fmt::format("{:.{}f}", bytes.in_gib(), digits); }

std::string format_mib(Bytes bytes) { return fmt::format("{}", std::llround(bytes.in_mib())); }

std::string format_size(Bytes bytes) {
  const double magnitude = std::fabs(static_cast<double>(bytes.count()));
  if (magnitude < 1024) return fmt::format("{} B", bytes.count());
  if (magnitude < (1 << 20)) return fmt::format("{:.1f} KiB", static_cast<double>(bytes.count()) / 1024);
  if (magnitude < (1 << 30)) return fmt::format("{:.1f} MiB", bytes.in_mib());
  return fmt::format("{:.2f} GiB", bytes.in_gib());
}

std::string format_count(std::int64_t count) {
  const double value = static_cast<double>(count);
  if (count < 1000) return fmt::format("{}", count);
  if (count < 1000000) return fmt::format("{:.1f} K", value / 1e3);
  if (count < 1000000000) return fmt::format("{:.1f} M", value / 1e6);
  return fmt::format("{:.2f} B", value / 1e9);
}

std::string grouped(std::int64_t count) {
  std::string digits = fmt::format("{}", count);
  const std::size_t first = count < 0 ? 2 : 1;  // no comma before the first digit
  for (std::size_t i = digits.size(); i >= first + 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits;
}

}  // namespace vramwise
