// Comma-separated values (RFC 4180): quoted fields, doubled quotes, no blank rows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

/// Rows of fields, the header row first. Errors: a row whose count of fields differs from the first row's, an open
/// quote.
Result<std::vector<std::vector<std::string>>> parse_csv(std::string_view text);

}  // namespace vramwise
