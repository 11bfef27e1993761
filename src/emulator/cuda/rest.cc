// What is left of the runtime's and the driver's interfaces: refused by name. Without these a program would not even
// load (it binds names at start-up), or would reach the real runtime behind our back.
#include "emulator/cuda/rest.h"

#include <string_view>
#include <unordered_set>

#include "emulator/listed.h"

#define VRAMWISE_LISTED(name) VRAMWISE_REFUSED(name, vramwise::emulator::kNotSupported)
#include "emulator/cuda/driver_rest.def"
#include "emulator/cuda/runtime_rest.def"
#undef VRAMWISE_LISTED

namespace vramwise::emulator {

bool is_refused_driver_function(const std::string& name) {
#define VRAMWISE_LISTED(name) #name,
  static const auto* names = new std::unordered_set<std::string_view>{
#include "emulator/cuda/driver_rest.def"
  };
#undef VRAMWISE_LISTED
  return names->contains(name);
}

}  // namespace vramwise::emulator
