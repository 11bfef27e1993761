// dlsym instead of linking: the same extension loads with and without the emulator.
#include "values/extension/emulator_hooks.h"

#include <dlfcn.h>

namespace vramwise::values {
namespace {

template <typename Function>
void look_up(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

EmulatorHooks find_hooks() {
  EmulatorHooks hooks;
  look_up(hooks.next_read, "vramwise_emulator_next_read");
  look_up(hooks.host_access, "vramwise_emulator_host_access");
  look_up(hooks.forget, "vramwise_emulator_forget");
  look_up(hooks.known, "vramwise_emulator_known");
  look_up(hooks.fill, "vramwise_emulator_fill");
  return hooks;
}

}  // namespace

const EmulatorHooks& emulator() {
  static const EmulatorHooks kHooks = find_hooks();
  return kHooks;
}

}  // namespace vramwise::values
