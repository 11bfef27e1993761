// How a thread ends that wants the lock of a Python interpreter which is going away. CPython before 3.14 ends it by
// pthread_exit, which unwinds its stack; where that is PyTorch's C++ (a thread of the autograd engine that lets go of
// the last reference to a tensor's Python side), the unwinding meets a function that may not throw, and the process
// aborts: "terminate called without an active exception" (python/cpython#87135, pytorch/pytorch#38228, #190489).
// CPython 3.14 lets such a thread sleep until the process ends. So do we, for every version: kernels that are skipped
// bring a program to its end so fast that it would be seen here more often than on a card.
#include <dlfcn.h>
#include <unistd.h>

#include "emulator/process.h"

namespace {

/// Whether the Python of this process, if there is one, is being finalized.
bool python_is_ending() {
  for (const char* name : {"Py_IsFinalizing", "_Py_IsFinalizing"}) {
    if (const auto ending = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, name))) return ending() != 0;
  }
  return false;
}

}  // namespace

extern "C" __attribute__((visibility("default"), noreturn)) void pthread_exit(void* value) {
  while (gettid() != getpid() && python_is_ending()) pause();
  static const auto kReal = reinterpret_cast<void (*)(void*)>(dlsym(RTLD_NEXT, "pthread_exit"));
  kReal(value);
  _exit(70);  // it does not return
}
