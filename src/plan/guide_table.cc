// Limits are inclusive: 8 GB is served by the first row, 8.5 GB by the second.
#include "plan/guide_table.h"

#include <array>
#include <limits>

namespace vramwise {
namespace {

constexpr std::array<GuideRow, 6> kRows = {{
    {Bytes::gib(8), 1, 256, 16, true},
    {Bytes::gib(12), 2, 512, 8, true},
    {Bytes::gib(16), 2, 512, 8, true},
    {Bytes::gib(24), 4, 1024, 4, false},
    {Bytes::gib(32), 8, 1024, 2, false},
    {Bytes(std::numeric_limits<std::int64_t>::max()), 12, 2048, 2, false},
}};

constexpr std::array<Bytes, 6> kPresetSizes = {Bytes::gib(8),  Bytes::gib(12), Bytes::gib(16),
                                               Bytes::gib(24), Bytes::gib(32), Bytes::gib(48)};

}  // namespace

const GuideRow& guide_row(Bytes card_target) {
  for (const GuideRow& row : kRows) {
    if (card_target <= row.up_to) return row;
  }
  return kRows.back();
}

std::optional<GuideRow> find_preset(Bytes size) {
  for (const Bytes preset : kPresetSizes) {
    if (size == preset) return guide_row(size);
  }
  return std::nullopt;
}

}  // namespace vramwise
