// The scale may fall below 1: a model whose loss explodes for a few steps is not lost yet.
#include "train/loss_scaler.h"

#include <algorithm>

namespace vramwise {
namespace {

constexpr double kInitialScale = 65536.0;
constexpr double kLargestScale = 16777216.0;  // 2^24; beyond it even a tiny gradient overflows, at a step each time
constexpr std::int64_t kGrowthInterval = 2000;

}  // namespace

LossScaler::LossScaler(Precision precision)
    : scales_(precision == Precision::kFp16), scale_(precision == Precision::kFp16 ? kInitialScale : 1.0) {}

bool LossScaler::update(bool overflowed) {
  if (overflowed) {
    if (scales_) scale_ /= 2;
    good_steps_ = 0;
    return ++skipped_steps_ < kMostSkipped;
  }
  skipped_steps_ = 0;
  if (++good_steps_ >= kGrowthInterval) {
    if (scales_) scale_ = std::min(kLargestScale, scale_ * 2);
    good_steps_ = 0;
  }
  return true;
}

Json LossScaler::to_json() const {
  return {{"scale", scale_}, {"good_steps", good_steps_}, {"skipped_steps", skipped_steps_}};
}

Status LossScaler::restore(const Json& json) {
  VRAMWISE_ASSIGN_OR_RETURN(const double scale, json_get<double>(json, "scale"));
  VRAMWISE_ASSIGN_OR_RETURN(good_steps_, json_get<std::int64_t>(json, "good_steps"));
  VRAMWISE_ASSIGN_OR_RETURN(skipped_steps_, json_get<std::int64_t>(json, "skipped_steps"));
  if (!(scale > 0)) return world_error("key \"scale\": a positive number was expected");
  if (scales_) scale_ = scale;
  return Done{};
}

}  // namespace vramwise
