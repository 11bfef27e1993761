// The flags of `vramwise estimate` that say how several cards share the work.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "base/result.h"
#include "estimate/training.h"

namespace vramwise::cli {

struct ParallelFlags {
  std::string parallel = "ddp";
  bool no_reshard_after_forward = false;
  std::string offload = "none";
  std::string deepspeed;  ///< a ds_config.json
  int zero_stage = 2;

  void add_to(CLI::App& command, ParallelOptions& options);
  /// How the cards that `gpu` names share the work; one shares nothing.
  Status choose(const CLI::App& command, const std::string& gpu, ParallelOptions& options) const;
};

/// What --deepspeed FILE says, where no flag says otherwise: values for flags, and where they stand in the file.
struct DeepSpeedFile {
  std::string precision;  ///< as --precision
  std::string optimizer;  ///< as --optimizer
  std::string source_of(const std::string& key) const {
    const auto found = sources.find(key);
    return found == sources.end() ? "default" : found->second;
  }

  std::map<std::string, std::string> sources;  ///< by flag, or by the file's key
};
/// Flags and file must agree where both say something.
Result<DeepSpeedFile> read_deepspeed(const CLI::App& command, const ParallelFlags& flags, std::int64_t hidden_size,
                                     TrainingSettings& settings);

}  // namespace vramwise::cli
