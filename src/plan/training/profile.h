// What a search must know of every candidate before it replays one: how long its step takes, and which memory it takes
// at least. Both follow from a few runs on the tape.
//
// A pass' work and the bytes that are alive at one place of it grow evenly with the number of layers that are
// recomputed, so none (without the cache of keys and values, which recomputation turns off) and all of them give every
// number between. What is alive at one moment is no more than the peak: the bound is sound where both passes allocate
// in the same order up to that moment, which is looked at. Where layers are unlike, all of them bound every number.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cost/collectives.h"
#include "cost/device_rates.h"
#include "estimate/training.h"

namespace vramwise {

/// Forward and backward passes of one size.
class PassProfile {
 public:
  /// Traces `settings` without and (where `recomputes`) with every layer recomputed. `like`: the profile of passes that
  /// differ only in how layers are recomputed, or null. Errors: those of trace_training.
  static Result<PassProfile> of(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware,
                                bool recomputes, const PassProfile* like = nullptr);

  tape::Work first_pass(int recomputed) const;
  tape::Work later_pass(int recomputed) const;
  /// Alive at some moment of the first pass of a step, or (`accumulates`) of the second; without optimizer states.
  double alive_bytes(int recomputed, bool accumulates) const;

  std::int64_t parameters() const { return parameters_; }
  std::int64_t trained_parameters() const { return trained_parameters_; }

 private:
  struct Moments {
    std::vector<EventKind> kinds;
    std::vector<double> alive;  ///< after each of those events
  };
  struct Ends {
    tape::Work first, later;
    Moments passes[2];  ///< from where the loss begins
  };

  static Ends ends_of(const TrainingTrace& trace);
  void choose_places();
  template <typename Read>
  double between(int recomputed, const Read& read) const;
  tape::Work work_between(int recomputed, tape::Work Ends::* member) const;

  Ends none_, none_without_cache_, all_;
  bool has_unlike_layers_ = false;
  std::vector<std::size_t> places_[2];  ///< of passes: where most is alive, of what both have in common
  int layers_ = 0;
  std::int64_t parameters_ = 0;
  std::int64_t trained_parameters_ = 0;
};

/// What the optimizer does and keeps.
struct UpdateProfile {
  tape::Work work;
  double state_bytes = 0;  ///< on the card
  double paged_bytes = 0;  ///< in memory of the host that CUDA pages in
};
Result<UpdateProfile> update_profile(const ModelConfig& model, TrainingSettings settings,
                                     const tape::Hardware& hardware);

}  // namespace vramwise
