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

/// An entry point that only sets or makes something of the library's own on the host: nothing to do.
#define VRAMWISE_IGNORED(name) \
  VRAMWISE_ENTRY int name() { return 0; }
