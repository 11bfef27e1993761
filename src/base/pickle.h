// Reads plain data out of a Python pickle (numbers, text, lists, dicts), and runs nothing: what would import or call is
// an error.
#pragma once

#include <string>
#include <string_view>

#include "base/plain_data.h"
#include "base/result.h"

namespace vramwise {

/// Protocols 2 to 5; tuples become lists. The texts of the result lie in `bytes`, which must outlive it.
/// Errors: cut off; anything but plain data; a container that holds itself; nested deeper than 200.
Result<PlainData> parse_pickle(std::string_view bytes);

/// JSON into the same form; the result owns its texts. Errors: not JSON (`where` begins the message), nested deeper
/// than 200. Integers beyond 64 bits become reals.
Result<PlainData> parse_plain_json(std::string_view text, const std::string& where);

}  // namespace vramwise
