// The table that the guide strategy starts from: a configuration for each class of card.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace vramwise {

struct GuideRow {
  Bytes up_to;  ///< the largest target of one card that this row serves
  std::int64_t micro_batch = 1;
  std::int64_t seq_len = 0;
  std::int64_t gradient_accumulation_steps = 1;
  bool activation_checkpointing = false;
};

/// The row for a card with this much memory: the first whose `up_to` is not below it; the last row serves everything
/// above.
const GuideRow& guide_row(Bytes card_target);

/// The row behind a preset name such as "16gb"; nullopt where no preset has that size. Presets: 8, 12, 16, 24, 32, 48
/// GB.
std::optional<GuideRow> find_preset(Bytes size);

}  // namespace vramwise
