// cuFile (GPUDirect Storage): there is no driver that could read into a card.
#include "emulator/listed.h"

namespace {

/// CUfileError_t: an error of the library and one of the driver.
struct FileError {
  int error;
  int driver_error;
};

constexpr int kDriverNotInitialized = 5001;  // CU_FILE_DRIVER_NOT_INITIALIZED

FileError refuse_file(const char* name) { return {vramwise::emulator::refuse(name, kDriverNotInitialized), 0}; }

}  // namespace

VRAMWISE_ENTRY FileError cuFileBufRegister(const void*, std::size_t, int) { return refuse_file("cuFileBufRegister"); }
VRAMWISE_ENTRY FileError cuFileBufDeregister(const void*) { return refuse_file("cuFileBufDeregister"); }
VRAMWISE_ENTRY FileError cuFileHandleRegister(void*, void*) { return refuse_file("cuFileHandleRegister"); }
VRAMWISE_ENTRY void cuFileHandleDeregister(void*) { refuse_file("cuFileHandleDeregister"); }
VRAMWISE_ENTRY long cuFileRead(void*, void*, std::size_t, long, long) { return -refuse_file("cuFileRead").error; }
VRAMWISE_ENTRY long cuFileWrite(void*, const void*, std::size_t, long, long) {
  return -refuse_file("cuFileWrite").error;
}
