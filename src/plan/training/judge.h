// Time and memory of candidates, each worked out once.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plan/training/profile.h"
#include "plan/training/space.h"

namespace vramwise {

class TrainingJudge {
 public:
  TrainingJudge(const TrainingRequest& request, const TrainingSpace& space);

  /// Whether the option can be estimated at all; error() says why not, where none can.
  bool is_possible(std::size_t option);
  const Error& error() const { return *error_; }

  double seconds(const TrainingCandidate& candidate);
  /// Never more than device_bytes().
  double least_device_bytes(const TrainingCandidate& candidate);
  /// The replay's. Errors: those of estimate_training.
  Result<TrainingEstimate> estimate(const TrainingCandidate& candidate);

  TrainingConfiguration configuration(const TrainingCandidate& candidate) const;
  TrainingChoice choice(const TrainingCandidate& candidate, const TrainingEstimate& estimate);
  int estimates() const { return estimates_; }

 private:
  using Key = std::string;

  Key key_of(const TrainingConfiguration& option, StepPart part) const;
  TrainingConfiguration plain_but(const TrainingConfiguration& option, StepPart part) const;
  /// Null: not possible.
  const PassProfile* passes_of(std::size_t option, std::int64_t micro_batch);
  const PassProfile* passes_of(const TrainingConfiguration& option, const Key& key, std::int64_t micro_batch);
  const UpdateProfile* update_of(std::size_t option);
  double shared_seconds(const TrainingSettings& settings, const PassProfile& passes, const StepSeconds& step) const;

  const TrainingRequest& request_;
  const TrainingSpace& space_;
  DeviceRates rates_;
  std::map<std::pair<Key, std::int64_t>, Result<PassProfile>> passes_;  ///< by micro-batch too
  std::map<Key, Result<UpdateProfile>> updates_;
  std::vector<Key> pass_keys_, update_keys_;  ///< of the options
  std::map<std::array<std::int64_t, 4>, Result<TrainingEstimate>> estimates_by_numbers_;
  std::optional<Error> error_;
  int estimates_ = 0;
};

}  // namespace vramwise
