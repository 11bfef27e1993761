// FSDP2 (torch.distributed.fsdp.fully_shard): each layer is a group of parameters, what remains of the model is
// another. A rank keeps its shard of each parameter; the whole ones are gathered before a group runs and given back
// after it, and gradients are reduced to shards as soon as the backward pass has left a group.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tape/parallel/layer_hooks.h"
#include "tape/tape.h"

namespace vramwise::tape {

struct FullyShardOptions {
  int ranks = 2;  ///< more than one
  /// MixedPrecisionPolicy; absent: parameters keep their types, and gradients are summed in them.
  struct MixedPrecision {
    DType stored = DType::kFloat32;    ///< of shards and of what the optimizer sees
    DType computed = DType::kFloat32;  ///< of gathered parameters and of what layers get (param_dtype)
    DType reduced = DType::kFloat32;   ///< in which gradients are summed over the ranks (reduce_dtype)
  };
  std::optional<MixedPrecision> mixed{};
  bool offloads = false;  ///< CPUOffloadPolicy(pin_memory=True): shards and their gradients lie on the host
  bool reshards_after_forward =
      true;  ///< of the layers; the model's own group keeps its parameters until the backward pass
};

/// As rank 0 sees it. Parameters are built on the host, in the types of the computation.
class FullyShard final : public LayerHooks {
 public:
  FullyShard(Tape& tape, const FullyShardOptions& options);
  ~FullyShard() override;

  /// fully_shard(layer), in the order of the layers, then fully_shard(model) with the parameters and buffers that are
  /// left. Moves them to the device, and returns the shards in the order of the parameters.
  std::vector<Tensor> add_layer(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers);
  std::vector<Tensor> add_model(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers);

  void before_model();
  /// `loss`: what backward() is called on.
  void after_model(const Tensor& loss);
  Tensor argument(const Tensor& x) override;
  std::vector<Tensor> before_layer(int number, std::vector<Tensor> inputs) override;
  void after_layer(int number, const Tensor& out) override;

  /// The allocations of whole parameters and of what they are gathered in, as indices into the tape's events.
  const std::vector<std::size_t>& gathered() const { return gathered_; }

  struct Group;

 private:
  std::unique_ptr<Group> make_group(const std::vector<Tensor>& parameters, const std::vector<Tensor>& buffers,
                                    std::vector<Tensor>& shards);
  DType stored_type(const Tensor& parameter) const;
  std::vector<Tensor> gather_inputs(const Group& group);
  void unshard(Group& group);
  void wait_for_unshard(Group& group);
  void reshard(const Group& group);
  void enter(Group& group);
  void leave(Group& group, const Tensor& out);
  void before_backward(Group& group);
  void after_backward(Group& group);
  void reduce(Group& group, std::vector<std::pair<std::size_t, Tensor>> gradients);
  void end_backward();
  void note_gathered();

  Tape& tape_;
  FullyShardOptions options_;
  std::vector<std::unique_ptr<Group>> layers_;
  std::unique_ptr<Group> model_;
  std::vector<Group*> forward_order_;
  Tensor held_gather_;   ///< of the group before, until the next one has been copied out
  Tensor reduce_input_;  ///< of the group before, until the next one is reduced
  bool has_queued_end_ = false;
  std::vector<std::size_t> gathered_;
};

}  // namespace vramwise::tape
