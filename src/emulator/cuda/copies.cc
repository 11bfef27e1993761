// Copies and fills. Streams order them on a card; here each is done at once, in the order of the calls, which is one of
// the orders that a correct program allows.
#include <cstdint>
#include <cstring>

#include "emulator/process.h"

using namespace vramwise::emulator;
using vramwise::Bytes;

namespace {

bool on_device(Machine& machine, const void* pointer) {
  const Region* region = machine.memory().space().find(reinterpret_cast<std::uintptr_t>(pointer));
  return region != nullptr && region->on_device();
}

/// Whether a helper in the program has laid down what this copy yields (hooks.h).
bool take_next_read(Machine& machine, void* to, const void* from, std::size_t size) {
  auto& value = thread_state().next_read;
  if (value.empty() || value.size() != size || !on_device(machine, from) || on_device(machine, to)) return false;
  std::memcpy(to, value.data(), size);
  value.clear();
  return true;
}

/// A stream to give a copy to, and whether the host waits until it is done.
struct CopyOrder {
  void* stream = nullptr;
  bool waits = false;
};

int copy(Machine& machine, int device, CopyOrder order, void* to, const void* from, std::size_t size) {
  machine.work(order.stream, device, Costs::kCopyNs);
  if (order.waits) {
    if (const Stream* stream = machine.stream(order.stream, device)) machine.wait_until(stream->busy_until_ns);
  }
  if (take_next_read(machine, to, from, size)) return kSuccess;
  machine.memory().contents().copy(to, from, Bytes(static_cast<std::int64_t>(size)));
  return kSuccess;
}

int copy_rows(Machine& machine, int device, CopyOrder order, void* to, std::size_t to_pitch, const void* from,
              std::size_t from_pitch, std::size_t width, std::size_t height) {
  for (std::size_t row = 0; row < height; ++row) {
    copy(machine, device, order, static_cast<char*>(to) + row * to_pitch,
         static_cast<const char*>(from) + row * from_pitch, width);
  }
  return kSuccess;
}

int fill(Machine& machine, int device, void* stream, void* to, unsigned pattern, int pattern_bytes, std::size_t count) {
  machine.work(stream, device, Costs::kKernelNs);
  machine.memory().contents().fill(to, pattern, pattern_bytes, static_cast<std::int64_t>(count));
  return kSuccess;
}

constexpr CopyOrder kAtOnce = {.stream = nullptr, .waits = true};

int runtime_copy(CopyOrder order, void* to, const void* from, std::size_t size) {
  return runtime_on_device([&](Machine& machine, int device) { return copy(machine, device, order, to, from, size); });
}

int driver_copy(CopyOrder order, void* to, const void* from, std::size_t size) {
  return driver_on_device([&](Machine& machine, int device) { return copy(machine, device, order, to, from, size); });
}

int driver_fill(void* stream, void* to, unsigned pattern, int pattern_bytes, std::size_t count) {
  return driver_on_device(
      [&](Machine& machine, int device) { return fill(machine, device, stream, to, pattern, pattern_bytes, count); });
}

int runtime_rows(CopyOrder order, void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                 std::size_t width, std::size_t height) {
  return runtime_on_device([&](Machine& machine, int device) {
    return copy_rows(machine, device, order, to, to_pitch, from, from_pitch, width, height);
  });
}

}  // namespace

VRAMWISE_ENTRY int cudaMemcpy(void* to, const void* from, std::size_t size, int) {
  return runtime_copy(kAtOnce, to, from, size);
}

VRAMWISE_ENTRY int cudaMemcpyAsync(void* to, const void* from, std::size_t size, int, void* stream) {
  return runtime_copy({stream}, to, from, size);
}

VRAMWISE_ENTRY int cudaMemcpyPeer(void* to, int, const void* from, int, std::size_t size) {
  return runtime_copy(kAtOnce, to, from, size);
}

VRAMWISE_ENTRY int cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t size, void* stream) {
  return runtime_copy({stream}, to, from, size);
}

VRAMWISE_ENTRY int cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                                std::size_t width, std::size_t height, int) {
  return runtime_rows(kAtOnce, to, to_pitch, from, from_pitch, width, height);
}

VRAMWISE_ENTRY int cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                                     std::size_t width, std::size_t height, int, void* stream) {
  return runtime_rows({stream}, to, to_pitch, from, from_pitch, width, height);
}

VRAMWISE_ENTRY int cudaMemsetAsync(void* to, int value, std::size_t size, void* stream) {
  return runtime_on_device([&](Machine& machine, int device) {
    return fill(machine, device, stream, to, static_cast<unsigned>(value) & 0xff, 1, size);
  });
}

VRAMWISE_ENTRY int cudaMemset(void* to, int value, std::size_t size) {
  return cudaMemsetAsync(to, value, size, nullptr);
}

// ---- variables of device code
// ------------------------------------------------------------------------------------------------

namespace {

/// Where a __device__ variable lives; made when first asked for. Its bytes are part of the loaded module, which the
/// context covers.
void* variable_address(int device, const void* symbol) {
  auto* variable = modules().find_variable(symbol);
  if (variable == nullptr) return nullptr;
  auto& address = variable->addresses[device];
  if (address == nullptr) address = new char[variable->size]();
  return address;
}

}  // namespace

VRAMWISE_ENTRY int cudaGetSymbolAddress(void** address, const void* symbol) {
  return runtime_on_device([&](Machine&, int device) {
    *address = variable_address(device, symbol);
    return *address == nullptr ? 13 : static_cast<int>(kSuccess);  // cudaErrorInvalidSymbol
  });
}

VRAMWISE_ENTRY int cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t size, std::size_t offset, int) {
  return runtime_on_device([&](Machine& machine, int device) {
    void* address = variable_address(device, symbol);
    return address == nullptr ? 13 : copy(machine, device, kAtOnce, static_cast<char*>(address) + offset, from, size);
  });
}

VRAMWISE_ENTRY int cudaMemcpyToSymbolAsync(const void* symbol, const void* from, std::size_t size, std::size_t offset,
                                           int kind, void*) {
  return cudaMemcpyToSymbol(symbol, from, size, offset, kind);
}

VRAMWISE_ENTRY int cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t size, std::size_t offset, int) {
  return runtime_on_device([&](Machine& machine, int device) {
    const void* address = variable_address(device, symbol);
    return address == nullptr ? 13
                              : copy(machine, device, kAtOnce, to, static_cast<const char*>(address) + offset, size);
  });
}

// ---- driver
// -------------------------------------------------------------------------------------------------------------------

VRAMWISE_ENTRY int cuMemcpy(void* to, const void* from, std::size_t size) {
  return driver_copy(kAtOnce, to, from, size);
}
VRAMWISE_ENTRY int cuMemcpyAsync(void* to, const void* from, std::size_t size, void* stream) {
  return driver_copy({stream}, to, from, size);
}
VRAMWISE_ENTRY int cuMemcpyHtoD_v2(void* to, const void* from, std::size_t size) { return cuMemcpy(to, from, size); }
VRAMWISE_ENTRY int cuMemcpyDtoH_v2(void* to, const void* from, std::size_t size) { return cuMemcpy(to, from, size); }
VRAMWISE_ENTRY int cuMemcpyDtoD_v2(void* to, const void* from, std::size_t size) { return cuMemcpy(to, from, size); }
VRAMWISE_ENTRY int cuMemcpyHtoDAsync_v2(void* to, const void* from, std::size_t size, void* stream) {
  return cuMemcpyAsync(to, from, size, stream);
}
VRAMWISE_ENTRY int cuMemcpyDtoHAsync_v2(void* to, const void* from, std::size_t size, void* stream) {
  return cuMemcpyAsync(to, from, size, stream);
}
VRAMWISE_ENTRY int cuMemcpyDtoDAsync_v2(void* to, const void* from, std::size_t size, void* stream) {
  return cuMemcpyAsync(to, from, size, stream);
}
VRAMWISE_ENTRY int cuMemsetD8Async(void* to, unsigned char value, std::size_t count, void* stream) {
  return driver_fill(stream, to, unsigned{value}, 1, count);
}
VRAMWISE_ENTRY int cuMemsetD16Async(void* to, unsigned short value, std::size_t count, void* stream) {
  return driver_fill(stream, to, unsigned{value}, 2, count);
}
VRAMWISE_ENTRY int cuMemsetD32Async(void* to, unsigned value, std::size_t count, void* stream) {
  return driver_fill(stream, to, value, 4, count);
}
VRAMWISE_ENTRY int cuMemsetD8_v2(void* to, unsigned char value, std::size_t count) {
  return cuMemsetD8Async(to, value, count, nullptr);
}
VRAMWISE_ENTRY int cuMemsetD16_v2(void* to, unsigned short value, std::size_t count) {
  return cuMemsetD16Async(to, value, count, nullptr);
}
VRAMWISE_ENTRY int cuMemsetD32_v2(void* to, unsigned value, std::size_t count) {
  return cuMemsetD32Async(to, value, count, nullptr);
}
VRAMWISE_ENTRY int cuStreamWriteValue32(void* stream, void* to, unsigned value, unsigned) {
  return driver_fill(stream, to, value, 4, std::size_t{1});
}
VRAMWISE_ENTRY int cuStreamWriteValue32_v2(void* stream, void* to, unsigned value, unsigned flags) {
  return cuStreamWriteValue32(stream, to, value, flags);
}
