// A JSON document that carries its own checksum, so that damage anywhere in it is found before a value of it is used.
#pragma once

#include "base/json.h"
#include "base/result.h"

namespace vramwise {

/// `document` (an object) with the key "seal": 16 hexadecimal digits, the checksum of all the rest. Layout does not
/// count: only keys and values are sealed.
Json seal_json(Json document);

bool has_seal(const Json& document);

/// Errors: there is no seal, or it does not hold.
Status check_json_seal(const Json& document);

}  // namespace vramwise
