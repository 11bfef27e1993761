// LossScaler: keeps fp16 gradients from vanishing by scaling the loss, and finds the scale by trying.
//
// A step whose gradients hold an infinity or NaN is skipped and the scale is halved; after 2,000 good steps in a row it
// is doubled: as torch.amp.GradScaler does by default, from the same 65,536 on. Two bounds are ours, for GradScaler has
// none: the scale stays at or below 2^24, and after kMostSkipped skipped steps in a row the run is given up.
#pragma once

#include <cstdint>

#include "base/json.h"
#include "base/result.h"
#include "estimate/step.h"

namespace vramwise {

class LossScaler {
 public:
  /// Only fp16 is scaled; for other precisions the scale stays 1, and steps that overflow are only counted.
  explicit LossScaler(Precision precision);

  double scale() const { return scale_; }
  bool scales() const { return scales_; }

  /// Tells how a step ended. Returns false once there is no hope: kMostSkipped steps in a row were skipped.
  bool update(bool overflowed);

  Json to_json() const;
  Status restore(const Json& json);

  static constexpr int kMostSkipped = 50;

 private:
  bool scales_ = false;
  double scale_ = 1.0;
  std::int64_t good_steps_ = 0;     ///< since the scale last changed
  std::int64_t skipped_steps_ = 0;  ///< in a row
};

}  // namespace vramwise
