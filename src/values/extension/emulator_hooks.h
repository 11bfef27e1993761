// The emulator's helper functions (src/emulator/hooks.h), found in the running program: the extension is compiled
// against a torch that knows nothing of them, and stays inert where the emulator is not loaded.
#pragma once

#include <cstddef>

namespace vramwise::values {

struct EmulatorHooks {
  void (*next_read)(const void* value, std::size_t bytes) = nullptr;
  int (*host_access)(void* address, std::size_t bytes) = nullptr;
  void (*forget)(void* address, std::size_t bytes) = nullptr;
  int (*known)(const void* address, std::size_t bytes) = nullptr;
  unsigned (*fill)() = nullptr;

  bool complete() const {
    return next_read != nullptr && host_access != nullptr && forget != nullptr && known != nullptr && fill != nullptr;
  }
};

/// Looked up once.
const EmulatorHooks& emulator();

}  // namespace vramwise::values
