// Json as a name only: for headers that pass it on. The whole of it (base/json.h) costs a second and a half a translation unit.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace vramwise {

/// Keys keep the order in which they were written: our JSON is read by people too.
using Json = nlohmann::ordered_json;

}  // namespace vramwise
