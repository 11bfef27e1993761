// Long lists of entry points that are all alike: a .def file names them, one VRAMWISE_LISTED(name) a line, and is
// included between a VRAMWISE_LISTED of the includer's and an #undef. Their parameters are not looked at, so none are
// declared.
#pragma once

#include "emulator/process.h"

/// An entry point that computes into memory of the caller's: skipped.
#define VRAMWISE_COMPUTED(name) \
  VRAMWISE_ENTRY int name() { return vramwise::emulator::computed(#name); }

/// An entry point that is not modelled: refused with `code`, and noted.
#define VRAMWISE_REFUSED(name, code) \
  VRAMWISE_ENTRY int name() { return vramwise::emulator::refuse(#name, code); }

namespace vramwise::emulator {

/// A parameter of pointer size, whatever it is.
using Word = void*;

/// Answers a question for a size that is not known by "nothing", which is noted as not modelled: the program goes on,
/// and the ledger is incomplete. Returns the library's success.
template <typename Size>
int leave_unsized(const char* name, Word answer) {
  if (answer != nullptr) *static_cast<Size*>(answer) = 0;
  return refuse(name, 0);
}

}  // namespace vramwise::emulator

#define VRAMWISE_WORDS                                                                                                \
  vramwise::emulator::Word p0, vramwise::emulator::Word p1, vramwise::emulator::Word p2, vramwise::emulator::Word p3, \
      vramwise::emulator::Word p4, vramwise::emulator::Word p5, vramwise::emulator::Word p6,                          \
      vramwise::emulator::Word p7, vramwise::emulator::Word p8, vramwise::emulator::Word p9,                          \
      vramwise::emulator::Word p10, vramwise::emulator::Word p11, vramwise::emulator::Word p12,                       \
      vramwise::emulator::Word p13, vramwise::emulator::Word p14, vramwise::emulator::Word p15,                       \
      vramwise::emulator::Word p16, vramwise::emulator::Word p17, vramwise::emulator::Word p18,                       \
      vramwise::emulator::Word p19

/// An entry point that asks for the size of scratch memory, which is not known; the answer goes to the parameter at
/// `place`, counted from 0. (Where it has fewer parameters than this, the rest is whatever lies there, and not looked
/// at.)
#define VRAMWISE_UNSIZED(name, Size, place)                                                      \
  VRAMWISE_ENTRY int name(VRAMWISE_WORDS) {                                                      \
    const vramwise::emulator::Word words[] = {p0,  p1,  p2,  p3,  p4,  p5,  p6,  p7,  p8,  p9,   \
                                              p10, p11, p12, p13, p14, p15, p16, p17, p18, p19}; \
    return vramwise::emulator::leave_unsized<Size>(#name, words[place]);                         \
  }

/// The same with a second answer, the size of scratch memory of the host's.
#define VRAMWISE_UNSIZED_TWICE(name, Size, place, second)                                        \
  VRAMWISE_ENTRY int name(VRAMWISE_WORDS) {                                                      \
    const vramwise::emulator::Word words[] = {p0,  p1,  p2,  p3,  p4,  p5,  p6,  p7,  p8,  p9,   \
                                              p10, p11, p12, p13, p14, p15, p16, p17, p18, p19}; \
    *static_cast<Size*>(words[second]) = 0;                                                      \
    return vramwise::emulator::leave_unsized<Size>(#name, words[place]);                         \
  }

/// An entry point that only sets or makes something of the library's own on the host: nothing to do.
#define VRAMWISE_IGNORED(name) \
  VRAMWISE_ENTRY int name() { return 0; }
