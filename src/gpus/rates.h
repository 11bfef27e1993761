// What part of a datasheet's peak rate real kernels reach: measured by others, by compute capability.
//
// The figures stand in data/rates.csv with the document that each comes from. They are those of single kernels, never
// of training steps, so that a prediction of a step is not made from what it is to predict.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gpus/catalogue.h"

namespace vramwise {

enum class RateKind {
  kMatmul16Bit,
  kMatmulFp32,
  kAttention16Bit,
  kAttentionFp32,
  kBandwidth,
  kPcie,
  kNvlinkRing,
  kPcieRing
};

struct RateFraction {
  std::optional<ComputeCapability> capability;  ///< absent: any
  RateKind what = RateKind::kBandwidth;
  double fraction = 1;  ///< of the peak
  std::string kind;     ///< "measured", "published", "assumed"
  std::string document;
};

/// Errors name row and column.
Result<std::vector<RateFraction>> parse_rate_table(std::string_view csv);

/// The compiled-in table.
const std::vector<RateFraction>& rate_fractions();

/// The row of this capability; else that of the nearest one with the same major number; else the one for any.
const RateFraction& achieved_fraction(RateKind what, std::optional<ComputeCapability> capability);

}  // namespace vramwise
