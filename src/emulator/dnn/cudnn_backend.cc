// cuDNN's backend (graph) interface: convolutions, attention, and whatever else a graph of operations expresses.
#include "emulator/dnn/backend.h"
#include "emulator/process.h"

using namespace vramwise::emulator;

namespace vramwise::emulator {

DnnBackend& dnn_backend() {
  static DnnBackend* chosen = [] {
    bool ask = false;
    driver([&](const Machine& machine) {
      ask = machine.spec().ask_libraries;
      return kSuccess;
    });
    DnnBackend* real = ask ? real_backend() : nullptr;
    return real != nullptr ? real : &stand_in_backend();
  }();
  return *chosen;
}

}  // namespace vramwise::emulator

VRAMWISE_ENTRY int cudnnBackendCreateDescriptor(int type, BackendDescriptor* descriptor) {
  return dnn_backend().create(type, descriptor);
}

VRAMWISE_ENTRY int cudnnBackendDestroyDescriptor(BackendDescriptor descriptor) {
  return dnn_backend().destroy(descriptor);
}

VRAMWISE_ENTRY int cudnnBackendInitialize(BackendDescriptor descriptor) { return dnn_backend().initialize(descriptor); }

VRAMWISE_ENTRY int cudnnBackendFinalize(BackendDescriptor descriptor) { return dnn_backend().finalize(descriptor); }

VRAMWISE_ENTRY int cudnnBackendSetAttribute(BackendDescriptor descriptor, int name, int type, std::int64_t count,
                                            const void* elements) {
  return dnn_backend().set(descriptor, name, type, count, elements);
}

VRAMWISE_ENTRY int cudnnBackendGetAttribute(BackendDescriptor descriptor, int name, int type, std::int64_t room,
                                            std::int64_t* count, void* elements) {
  return dnn_backend().get(descriptor, name, {type, room, count, elements});
}

VRAMWISE_ENTRY int cudnnBackendExecute(void*, BackendDescriptor, BackendDescriptor) {
  return computed("cudnnBackendExecute");
}

VRAMWISE_ENTRY void cudnnGetLastErrorString(char* text, std::size_t size) {
  if (size == 0) return;
  const std::string last = dnn_backend().last_error();
  text[last.copy(text, size - 1)] = '\0';
}
