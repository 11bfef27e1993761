// The two ways in which cuDNN's backend (graph) interface is answered: by the program's own cuDNN, or by a stand-in.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace vramwise::emulator {

/// cudnnBackendDescriptor_t: the real library's, or a StandInDescriptor.
using BackendDescriptor = void*;

/// Arguments of cudnnBackendGetAttribute.
struct BackendQuery {
  int type = 0;
  std::int64_t room = 0;
  std::int64_t* count = nullptr;
  void* elements = nullptr;
};

/// The backend interface, as its C functions; each returns a cudnnStatus_t.
class DnnBackend {
 public:
  virtual ~DnnBackend() = default;
  virtual int create(int type, BackendDescriptor* descriptor) = 0;
  virtual int destroy(BackendDescriptor descriptor) = 0;
  virtual int initialize(BackendDescriptor descriptor) = 0;
  virtual int finalize(BackendDescriptor descriptor) = 0;
  virtual int set(BackendDescriptor descriptor, int name, int type, std::int64_t count, const void* elements) = 0;
  virtual int get(BackendDescriptor descriptor, int name, const BackendQuery& query) = 0;
  virtual const char* last_error() { return ""; }
};

/// Answers by the cuDNN that the program has loaded, which since 9.8 plans for a device that is only described to it;
/// null where that is older, or not there. Never destroyed.
DnnBackend* real_backend();

/// One engine with one configuration and no workspace for every graph; the ledger says that this is an assumption.
DnnBackend& stand_in_backend();

/// The one that this process uses.
DnnBackend& dnn_backend();

}  // namespace vramwise::emulator
