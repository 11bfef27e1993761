// The flags that plan and train share: how much memory, on which cards, and what the user fixes of the configuration.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "plan/plan.h"

namespace vramwise::cli {

struct PlanOptions {
  std::optional<std::string> vram;  ///< --vram; absent: automatic
  bool vram_auto = false;
  std::string safety_margin = "1024";
  std::string gpu;  ///< --gpu; empty: the machine's cards
  std::optional<std::int64_t> batch_size;
  std::optional<std::int64_t> seq_len;
  std::optional<std::int64_t> gradient_accumulation_steps;
  std::optional<std::int64_t> effective_batch;
  std::string precision;
  std::string gradient_checkpointing;  ///< "none", "all" or a number of blocks
  std::string cpu_offload;             ///< "on", "off"
  std::optional<std::int64_t> loss_chunk_tokens;
  std::string strategy;            ///< empty: guide
  std::vector<std::string> allow;  ///< what a search may change beyond what only costs time
  std::string calibration;         ///< a file of measured rates

  void add_to(CLI::App& command);

  /// --vram and --vram_auto as a target. Errors: both given; a value that is none.
  Result<VramTarget> target() const;
  Result<Bytes> margin() const;
  /// `n_layers`: what "all" means, and the most blocks that can be asked for.
  Result<Overrides> overrides(std::int64_t n_layers) const;
  /// Strategy, --allow and --calibration into a request that has its cards.
  Status apply_search(PlanRequest& request) const;
};

}  // namespace vramwise::cli
