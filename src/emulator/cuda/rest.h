// Driver functions that exist only to be refused.
#pragma once

#include <string>

namespace vramwise::emulator {

bool is_refused_driver_function(const std::string& name);

}  // namespace vramwise::emulator
