// Amounts of memory as people write and read them: "20.5", "16gb", "900 MB (0.88 GB)". GB and MB are powers of 1024
// throughout.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace vramwise {

/// A finite decimal number and nothing else ("20.5", "1e3"); nullopt for anything more or less. Independent of the
/// locale.
std::optional<double> parse_number(std::string_view text);

/// An integer in base 10 and nothing else.
std::optional<std::int64_t> parse_integer(std::string_view text);

/// GiB as a number → bytes, to the nearest byte. Errors: not finite, or beyond 2^53 bytes.
Result<Bytes> bytes_from_gib(double gib);

/// "15.00": GiB with `digits` decimals.
std::string format_gib(Bytes bytes, int digits = 2);

/// "15360": MiB, rounded to the nearest.
std::string format_mib(Bytes bytes);

/// A size for people, with the unit that suits it: "512 B", "3.5 MiB", "23.64 GiB", "-1.20 GiB".
std::string format_size(Bytes bytes);

/// "-1,234,567": a count for people.
std::string grouped(std::int64_t count);

/// "135.5 M", "8.03 B": a count of parameters.
std::string format_count(std::int64_t count);

}  // namespace vramwise
