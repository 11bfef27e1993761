// A model on one of several cards, as rank 0 has it: whole (DistributedDataParallel), in shards (fully_shard, FSDP2),
// or parts of its layers (tensor parallelism).
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "models/architecture.h"
#include "models/model.h"
#include "tape/parallel/data_parallel.h"
#include "tape/parallel/deepspeed.h"
#include "tape/parallel/fully_shard.h"

namespace vramwise {

enum class Parallel : std::uint8_t { kNone, kDataParallel, kFullyShard, kTensor, kDeepSpeed };

struct ParallelOptions {
  Parallel kind = Parallel::kNone;
  int ranks = 1;
  bool gradients_are_views = false;    ///< gradient_as_bucket_view
  bool shares_states = false;          ///< ZeroRedundancyOptimizer: a parameter's states are on one rank only
  bool reshards_after_forward = true;  ///< of fully_shard
  bool offloads = false;               ///< of fully_shard: CPUOffloadPolicy
  DType stored = DType::kFloat32;      ///< type of shards
  DType reduced = DType::kFloat32;     ///< in which fully_shard sums gradients up over the ranks
  tape::DeepSpeedOptions deepspeed{};  ///< but for the ranks
};

class ParallelModel {
 public:
  /// The model computes in `type`; without fully_shard its weights have that type too.
  ParallelModel(tape::Tape& tape, const Architecture& architecture, DType type, ForwardOptions options,
                const ParallelOptions& parallel);

  /// `syncs`: whether the ranks' gradients are summed in the backward pass of this loss.
  Tensor loss(const Batch& batch, bool syncs = true);
  /// DeepSpeed's, which scales, clips and steps by itself; null with other ways.
  tape::DeepSpeedEngine* engine() const { return engine_.get(); }

  Model& model() { return *model_; }
  /// Those that this rank's optimizer steps: shards, or its share of them, where there are such.
  const std::vector<NamedParameter>& optimized() const;
  /// All that have gradients on this rank.
  const std::vector<Tensor>& parameters() const;
  bool has_shards() const { return sharded_ != nullptr; }
  /// clip_grad_norm_, as the way of sharing has it.
  void clip_gradients() const;
  /// Whether DistributedDataParallel would stop at the second forward pass.
  bool has_unused() const { return data_parallel_ && data_parallel_->has_unused(); }

  /// Allocations of gathered parameters and of buckets of gradients, as indices into the tape's events.
  std::vector<std::size_t> gathered() const;
  std::vector<std::size_t> buckets() const;

 private:
  void shard(const Architecture& architecture);
  void share_states(int ranks);
  void start_engine(tape::Tape& tape, const ParallelOptions& parallel);
  void note_masters();
  void start_zero3(tape::Tape& tape, const Architecture& architecture, DType type, ForwardOptions options,
                   const ParallelOptions& parallel);

  bool has_parts_ = false;
  std::unique_ptr<tape::FullyShard> sharded_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<tape::DataParallel> data_parallel_;
  std::unique_ptr<tape::DeepSpeedEngine> engine_;
  std::vector<NamedParameter> named_shards_;
  std::vector<NamedParameter> share_;
  std::vector<Tensor> shards_;
};

}  // namespace vramwise
