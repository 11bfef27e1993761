// What a helper inside the program may ask of the emulator beside NVIDIA's interfaces.
#include "emulator/hooks.h"

#include <cstdint>

#include "emulator/process.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

struct Place {
  Region* region = nullptr;
  std::uintptr_t address = 0;
  Bytes size;
};

/// The device memory [address, address + bytes), if it is some.
Place place(Machine& machine, const void* address, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  Region* region = machine.memory().space().find(at);
  if (region == nullptr || !region->on_device() || bytes > region->end() - at) return {};
  return {region, at, Bytes(static_cast<std::int64_t>(bytes))};
}

/// body(space, place) under the lock; `otherwise` where the memory is none of ours.
template <typename Body>
int at_place(const void* address, std::size_t bytes, int otherwise, Body&& body) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  if (machine == nullptr) return otherwise;
  const Place found = place(*machine, address, bytes);
  return found.region == nullptr ? otherwise : body(machine->memory().space(), found);
}

}  // namespace

VRAMWISE_ENTRY void vramwise_emulator_next_read(const void* value, std::size_t bytes) {
  const auto* data = static_cast<const unsigned char*>(value);
  auto& next = thread_state().next_read;
  next.clear();
  if (data != nullptr) next.assign(data, data + bytes);
}

VRAMWISE_ENTRY int vramwise_emulator_host_access(void* address, std::size_t bytes) {
  return at_place(address, bytes, 1, [](AddressSpace& space, const Place& at) {
    return space.expose(*at.region, at.address, at.size) ? 0 : 1;
  });
}

VRAMWISE_ENTRY void vramwise_emulator_forget(void* address, std::size_t bytes) {
  at_place(address, bytes, 0, [](AddressSpace& space, const Place& at) {
    space.forget(*at.region, at.address, at.size);
    return 0;
  });
}

VRAMWISE_ENTRY int vramwise_emulator_known(const void* address, std::size_t bytes) {
  return at_place(address, bytes, 0, [](AddressSpace& space, const Place& at) {
    const auto any = [&](std::initializer_list<ChunkState> states) {
      return space.any_chunk(*at.region, at.address, at.size, states);
    };
    if (!any({ChunkState::kUnknown})) return 2;
    return any({ChunkState::kZero, ChunkState::kWritten}) ? 1 : 0;
  });
}

VRAMWISE_ENTRY unsigned vramwise_emulator_fill() {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  return machine == nullptr ? 0 : machine->memory().space().fill();
}

VRAMWISE_ENTRY long long vramwise_emulator_held(int device) {
  const std::lock_guard lock(state_mutex());
  Machine* machine = machine_or_null();
  return machine == nullptr || !machine->has_device(device) ? -1 : machine->memory().ledger(device).live().count();
}

VRAMWISE_ENTRY void vramwise_emulator_write_ledger() { write_ledger(); }
