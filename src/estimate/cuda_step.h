// A step of the trainer on CUDA, allocation by allocation.
//
// This is the decoder of src/nn and the step of src/train with blocks of memory in place of tensors: the same sizes in
// the same order, small ones too, because where a block comes to lie decides what else fits beside it. Whoever changes
// one changes the other; tests/dryrun compares them.
#pragma once

#include "estimate/ledger.h"
#include "estimate/op_events.h"
#include "estimate/timeline.h"
#include "models/decoder.h"

namespace vramwise {

/// What the passes of a replica leave for the rest of the run.
struct CudaLasting {
  /// The workspaces of cuBLAS: each of the two threads that compute takes one with its first matrix product.
  Timeline::Block forward_workspace;
  Timeline::Block backward_workspace;
  Timeline::Block rope_tables;
};

/// The forward and backward pass of so many sequences.
class CudaMicroBatch {
 public:
  /// `settings`: all but its micro_batch counts. `config` must outlive this.
  CudaMicroBatch(const DecoderConfig& config, const StepSettings& settings, const Target& target,
                 std::int64_t sequences);

  void run(Timeline& timeline, CudaLasting& lasting) const;

 private:
  friend class CudaPass;

  struct Chunk {
    std::int64_t rows = 0;
    OpEvents row_reduction;  ///< of its logits
    OpEvents sum;            ///< of its rows
    OpEvents norm_backward;
  };
  void add_chunk(std::int64_t rows, const StepSettings& settings, const Target& target);

  const DecoderConfig& config_;
  std::int64_t sequences_, seq_, tokens_;
  std::int64_t e_;
  std::int64_t checkpointed_;
  Bytes workspace_bytes_;
  AttentionEvents attention_;
  OpEvents norm_backward_;
  OpEvents embedding_backward_;
  std::vector<Chunk> chunks_;  ///< those after which nothing new happens are left out
};

/// What comes after the passes of a step: the other replicas' gradients, the norm, AdamW.
class CudaUpdate {
 public:
  CudaUpdate(std::int64_t elements, const Target& target);
  void run(Timeline& timeline) const;

 private:
  std::int64_t elements_;
  bool has_peers_;
  OpEvents norm_of_rows_;
};

}  // namespace vramwise
