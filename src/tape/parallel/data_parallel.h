// DistributedDataParallel: every rank has the whole model; gradients are copied into buckets, whose sums over the ranks
// are copied back. The first backward pass has one bucket for all; then they are made anew, in the order in which
// gradients came.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "tape/node.h"
#include "tape/tape.h"

namespace vramwise::tape {

struct DataParallelOptions {
  int ranks = 2;
  bool gradients_are_views = false;  ///< gradient_as_bucket_view
};

class DataParallel {
 public:
  /// DistributedDataParallel(model): checks and broadcasts everything, then makes the first buckets.
  DataParallel(Tape& tape, const std::vector<Tensor>& parameters, std::vector<Tensor> buffers,
               const DataParallelOptions& options);
  ~DataParallel();
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  /// `syncs`: false inside no_sync().
  void before_forward(bool syncs);
  /// Whether some parameter got no gradient in the first backward pass, at which PyTorch stops: it asks for
  /// find_unused_parameters. Known from the second forward pass on.
  bool has_unused() const { return has_unused_; }

  /// The allocations of buckets, as indices into the tape's events.
  const std::vector<std::size_t>& bucket_events() const { return bucket_events_; }

 private:
  struct Hook;
  void verify_shapes();
  void broadcast(const std::vector<Tensor>& tensors);
  void make_buckets(const std::vector<std::vector<std::size_t>>& indices);
  void rebuild_buckets();
  void take_gradient(std::size_t index);

  struct Place {
    std::size_t bucket = 0;
    std::int64_t offset = 0;
  };

  Tape& tape_;
  DataParallelOptions options_;
  std::vector<Tensor> trained_;
  std::vector<Tensor> buffers_;
  std::vector<Edge> accumulators_;  ///< counted
  std::vector<std::unique_ptr<Hook>> hooks_;
  std::vector<Tensor> buckets_;
  std::vector<Place> places_;
  std::vector<std::size_t> order_;  ///< in which gradients came
  bool has_rebuilt_ = false;
  bool has_unused_ = false;
  bool syncs_ = true;
  bool syncs_buffers_ = true;
  std::vector<std::size_t> bucket_events_;
};

}  // namespace vramwise::tape
