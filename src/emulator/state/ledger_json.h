// The ledger of a process: what was taken, refused and skipped, as JSON for the command that started it.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "emulator/state/machine.h"

namespace vramwise::emulator {

/// Keys are documented in docs/emulator.md.
Json ledger_json(const Machine& machine, int process_id);

/// Writes `text` so that a reader sees all of it or nothing: to a file beside `path`, then renamed.
Status write_atomically(const std::string& path, const std::string& text);

}  // namespace vramwise::emulator
