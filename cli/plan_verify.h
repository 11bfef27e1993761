// --verify: the chosen configuration trained for two steps on emulated cards, and what that took.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dryrun/run.h"

namespace vramwise::cli {

struct Verification {
  std::string verdict;              ///< "fits", "fits with retries", …
  int exit_code = 0;                ///< of the command
  std::vector<Bytes> device_peaks;  ///< by card
  std::string output;               ///< what the trainer printed
};

void tell_output(const Verification& run);  ///< on stderr

/// Runs `vramwise train --plan` by a saved plan's text on the cards of `gpu_spec`. Errors: no cards named, no trainer
/// or emulator beside this program, a run that failed for other reasons than memory.
Result<Verification> verify(const std::string& plan_text, std::int64_t seq_len, const std::string& gpu_spec);

/// Removed with everything in it when it goes out of scope. The path is empty where none could be made.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Result<std::string> own_path();  ///< of this program

/// Runs `options.command` with its output kept. `folder` holds the file for it, in which writing has its usual effect.
/// Errors: those of dry_run; a program that failed for other reasons than memory, whose output is told.
Result<Verification> verify_by(DryRunOptions options, const std::string& folder);

}  // namespace vramwise::cli
