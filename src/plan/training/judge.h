// Time and memory of candidates, each worked out once.
#pragma once

#include <array>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "plan/training/engine_profile.h"
#include "plan/training/profile.h"
#include "plan/training/space.h"

namespace vramwise {

inline constexpr Bytes kNoLimit{std::int64_t{1} << 60};

class TrainingJudge {
 public:
  TrainingJudge(const TrainingRequest& request, const TrainingSpace& space);

  /// Whether the option can be estimated at all; error() says why not, where none can.
  bool is_possible(std::size_t option);
  const Error& error() const { return *error_; }

  /// False: none of the option's candidates fits, since its weights, gradients and states alone do not.
  bool may_fit(std::size_t option, Bytes usable);
  double seconds(const TrainingCandidate& candidate);
  /// Never more than device_within().
  double least_device_bytes(const TrainingCandidate& candidate);
  /// That bound as it is before anything was traced.
  double told_bytes(const TrainingCandidate& candidate) { return profiled_bytes(candidate); }
  /// What the second takes less by the same bound: an expectation, not a bound.
  double layer_bytes(const TrainingCandidate& fewer, const TrainingCandidate& more) {
    return profiled_bytes(fewer) - profiled_bytes(more);
  }
  /// What a replay takes of a card, or none where that is more than `most`: then it may end early, or not begin. Taken
  /// to be more without a look: fewer recomputed layers than with some, not all, that take more; AdamW in a loop or
  /// over all parameters where the fused one, which has the same states and no temporaries, takes more. Errors: those
  /// of trace_training.
  Result<std::optional<Bytes>> device_within(const TrainingCandidate& candidate, Bytes most);
  /// Whether that is known to be none.
  bool is_refused(TrainingCandidate candidate, Bytes most) const;
  /// Whether device_within() has replayed all that estimate() does: every pass of a step, every rank that is unlike.
  bool replays_all_passes(const TrainingCandidate& candidate) const;
  /// What a card holds with all passes: where blocks are cut otherwise in a third one, they take more, or less, than
  /// two. device_within() goes by it from then on. Errors: the same.
  Result<Bytes> device_of_all_passes(const TrainingCandidate& candidate);
  /// Likewise, with all that an estimate tells.
  Result<TrainingEstimate> estimate(const TrainingCandidate& candidate);

  /// Candidates of as many passes or more are out of the question from now on.
  void exclude(const TrainingCandidate& candidate) { fewest_excluded_ = passes_in_step(candidate.micro_batch); }
  bool is_excluded(std::int64_t micro_batch) const { return passes_in_step(micro_batch) >= fewest_excluded_; }

  TrainingConfiguration configuration(const TrainingCandidate& candidate) const;
  TrainingChoice choice(const TrainingCandidate& candidate, Bytes device);
  int replays() const { return replays_; }
  /// A model as it is took other time than its short forms tell: nothing that was said here holds.
  bool is_contradicted() const { return is_contradicted_; }

 private:
  using Key = std::string;
  using KeyNumber = std::size_t;
  using Numbers = std::array<std::int64_t, 4>;

  /// What is known of a candidate's memory.
  struct Known {
    double at_least = 0;
    std::optional<Bytes> device;
  };
  /// A run as it is to be replayed. Options that differ in the allocator alone share it.
  struct Traced {
    Key key;
    TrainingTrace trace;
    double least = 0;  ///< least_reserved()
  };

  Key key_of(const TrainingConfiguration& option, StepPart part) const;
  KeyNumber number_of(const Key& key) { return key_numbers_.try_emplace(key, key_numbers_.size()).first->second; }
  TrainingConfiguration plain_but(const TrainingConfiguration& option, StepPart part) const;
  ModelLengths model_for(const TrainingSettings& settings) const;
  /// Null: not possible.
  const PassProfile* passes_of(std::size_t option, std::int64_t micro_batch, bool recomputes);
  const Accumulation* accumulation_of(KeyNumber key, const TrainingConfiguration& plain);
  const UpdateProfile* update_of(std::size_t option);
  const PassProfile* passes_of(const TrainingCandidate& candidate) {
    return passes_of(candidate.option, candidate.micro_batch, candidate.recomputed > 0);
  }
  Result<const Traced*> traced(const TrainingCandidate& candidate);
  void count_replay();
  bool is_beyond(const TrainingCandidate& candidate, Bytes most) const;
  double profiled_bytes(const TrainingCandidate& candidate);
  /// PassProfile::alive_bytes, of the first pass and where there are several of the later ones too.
  double alive_bytes(const PassProfile& passes, int recomputed, bool accumulates);
  /// PassProfile::alive_without_gradients.
  double alive_without_gradients(const PassProfile& passes, int recomputed, double bucket_bytes);
  std::optional<std::size_t> with_fused_optimizer(std::size_t option) const;
  void compare(const TrainingCandidate& candidate, const Traced& traced);
  /// Of a step: what device_within() goes by.
  std::int64_t replayed_passes(const TrainingCandidate& candidate) const;
  Numbers numbers_of(const TrainingCandidate& candidate) const;
  TrainingSettings replayed_settings(const TrainingCandidate& candidate) const;
  double update_bytes(std::size_t option, const UpdateProfile& update);
  EngineRun engine_of(std::size_t option, const PassProfile& passes) const;
  /// Context and communicators.
  Bytes outside(std::size_t option) const { return outside_[option]; }
  static Precision computed_in(TrainingPrecision precision);
  double shared_seconds(const TrainingSettings& settings, const PassProfile& passes, const StepSeconds& step) const;

  const TrainingRequest& request_;
  const TrainingSpace& space_;
  ModelLengths model_;
  tape::Hardware hardware_;
  DeviceRates rates_;
  std::map<std::pair<KeyNumber, std::int64_t>, Result<PassProfile>> passes_;  ///< by micro-batch too
  std::map<KeyNumber, std::optional<Accumulation>> accumulations_;
  std::map<KeyNumber, Result<UpdateProfile>> updates_;
  std::map<std::tuple<const PassProfile*, int, bool>, double> alive_;
  std::map<std::tuple<const PassProfile*, int, double>, double> alive_without_gradients_;
  std::vector<TrainingConfiguration> pass_options_;  ///< the options without what only the update looks at
  std::map<Key, KeyNumber> key_numbers_;
  std::vector<KeyNumber> pass_keys_, plain_keys_, update_keys_;  ///< of the options
  std::vector<Key> trace_keys_;                                  ///< of the options
  std::vector<Bytes> outside_;                                   ///< of the options
  std::vector<std::optional<std::size_t>> fused_;  ///< by option: the one that differs by taking the fused AdamW
  std::map<Numbers, Known> known_;
  std::deque<std::unique_ptr<Traced>> traces_;  ///< the last few
  std::optional<Error> error_;
  std::int64_t passes_in_step(std::int64_t micro_batch) const { return space_.sequences / micro_batch; }
  std::int64_t fewest_excluded_ = std::numeric_limits<std::int64_t>::max();
  int replays_ = 0;
  bool is_contradicted_ = false;
};

}  // namespace vramwise
