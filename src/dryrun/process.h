// Starting a program with an environment of its own, and waiting for it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace vramwise {

struct ProgramOptions {
  std::map<std::string, std::string> environment;  ///< added to, or put over, this process's own
  bool output_to_stderr = false;                   ///< its stdout goes to stderr, as ours carries the result
};

/// Runs `command` (looked up on PATH) until it ends; interrupts and requests to terminate that reach us go on to it.
/// Its exit code, or 128 + the signal that killed it. Errors (kWorld): it can't be started.
Result<int> run_program(const std::vector<std::string>& command, const ProgramOptions& options);

/// A folder that is deleted with everything in it when the object goes.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> make(const std::string& prefix);
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace vramwise
