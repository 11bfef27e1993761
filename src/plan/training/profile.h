// What a search must know of every candidate before it replays one: how long its step takes, and which memory it takes
// at least. Both follow from a few runs on the tape.
//
// A pass' work, and the bytes that are alive at one place of it, grow evenly with the number of layers and with the
// number of those that are recomputed. So runs of the same model with one and two layers give both for any number: a
// run takes a fraction of a millisecond whatever the model. Where those are not at hand, or layers are unlike, the
// model itself is run, with none and with all of its layers recomputed.
//
// What is alive at one moment is no more than the peak: the bound is sound where all runs allocate and release the same
// from the beginning of the loss up to that moment, which is looked at.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "cost/collectives.h"
#include "cost/device_rates.h"
#include "estimate/training.h"

namespace vramwise {

/// The model in several lengths.
struct ModelLengths {
  const ModelConfig& whole;
  const std::vector<ModelConfig>& shorter;  ///< with one and with two layers, or nothing

  int layers() const { return whole.architecture.layers; }
  bool are_told() const { return shorter.size() == 2 && layers() > 2 && whole.architecture.takes_layers_to_checkpoint; }
};

/// What a pass does and holds for the gradients of passes before it.
struct Accumulation {
  tape::Work work;
  double alive_bytes = 0;
};

/// Forward and backward passes of one size; either without recomputed layers, or for any number of them but 0.
class PassProfile {
 public:
  /// Runs `settings`, whose number of checkpointed layers is not looked at. `accumulation`: what later passes add;
  /// null: look. Errors: those of trace_training.
  static Result<PassProfile> of(const ModelLengths& model, const TrainingSettings& settings,
                                const tape::Hardware& hardware, bool recomputes, const Accumulation* accumulation);

  tape::Work first_pass(int recomputed) const;
  tape::Work later_pass(int recomputed) const;
  /// Alive at some moment of the first pass of a step, or (`accumulates`) of a later one; without optimizer states.
  double alive_bytes(int recomputed, bool accumulates) const;
  /// Of the first pass, whose gradients go as they come; from the first one on `bucket_bytes` are there for them.
  double alive_without_gradients(int recomputed, double bucket_bytes) const;
  /// How later passes differ from the first, for `layers` layers.
  Accumulation accumulation() const;

  std::int64_t parameters() const;
  std::int64_t trained_parameters() const;

 private:
  struct Moments {
    std::vector<std::pair<EventKind, std::int64_t>> events;  ///< bytes that come or go
    std::vector<double> alive;                               ///< after each of them
    std::vector<double> kept;  ///< of that, what came since the loss began and stays for later passes: gradients
    std::size_t backward = 0;  ///< the first moment of the backward pass
  };
  struct Run {
    tape::Work first, later;
    Moments passes[2];           ///< from where the loss begins
    double late_workspaces = 0;  ///< of cuBLAS, from the first loss on: they come once
    double parameters = 0;
    double trained_parameters = 0;
  };
  /// The runs' parts in a number; they add up to 1.
  using Weights = std::array<double, 3>;

  static Run run_of(const TrainingTrace& trace);
  Status add(const ModelConfig& model, TrainingSettings settings, const tape::Hardware& hardware, int recomputed,
             bool looks_at_later);
  Weights weights(int recomputed) const;
  void find_common_moments();
  template <typename Read>
  double sum(const Weights& weights, const Read& read) const;
  tape::Work work(int recomputed, tape::Work Run::* member) const;

  std::vector<Run> runs_;
  std::size_t common_[2] = {0, 0};  ///< moments of each pass that all runs have
  std::optional<Accumulation> accumulation_;
  int layers_ = 0;
  bool is_of_whole_ = true;
  bool has_unlike_layers_ = false;
};

/// What the optimizer does and keeps.
struct UpdateProfile {
  tape::Work work;
  double state_bytes = 0;  ///< on the card
  double alive_bytes = 0;  ///< the most during the second update
  double paged_bytes = 0;  ///< in memory of the host that CUDA pages in
};
Result<UpdateProfile> update_profile(const ModelLengths& model, const TrainingSettings& settings,
                                     const tape::Hardware& hardware);

}  // namespace vramwise
