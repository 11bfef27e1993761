// A process that ends without exit handlers: by os._exit, and each child that Python's multiprocessing forks. It leaves
// its ledger all the same. In a child of vfork, which ends so where its program can't be started, all memory is the
// parent's: there, nothing is touched.
#include <sys/syscall.h>
#include <unistd.h>

#include "emulator/process.h"

namespace {

[[noreturn]] void end(int code) {
  if (vramwise::emulator::process_with_machine() == getpid()) vramwise::emulator::write_ledger();
  for (;;) syscall(SYS_exit_group, code);
}

}  // namespace

extern "C" __attribute__((visibility("default"), noreturn)) void _exit(int code) { end(code); }
extern "C" __attribute__((visibility("default"), noreturn)) void _Exit(int code) { end(code); }
