// LayerRepeater: layers of a stack that are alike run once; the others repeat the allocations of that one.
//
// A pass really runs the first, the second and the last layer of each kind. The second's forward pass and the last's
// backward pass are recorded, and what lies between them is played from the record: the same allocations and releases
// in the same order, under ids of their own, one node of the graph for a whole layer, and true tensors wherever others
// look (the result, cached keys and values, weights that autocast has cast, parameters' gradients). Hooks of gradients,
// which DistributedDataParallel and DeepSpeed have, run each time.
//
// Nothing is taken on trust but that layers of one kind compute the same with parameters of the same shapes. That a
// layer has no effects beyond those above, that gradients come in and go out alike, that both layers which were really
// run did the same: each is looked at, and where a look finds a difference too late to go back, has_failed() says that
// the tape's events are not to be used.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

struct StackLayer {
  int kind = 0;  ///< layers of one kind differ in their parameters' values only
  std::vector<Tensor> parameters;
};

struct LayerRecord;

class LayerRepeater {
 public:
  explicit LayerRepeater(Tape& tape);
  LayerRepeater(const LayerRepeater&) = delete;
  LayerRepeater& operator=(const LayerRepeater&) = delete;
  ~LayerRepeater();

  /// In the order in which a forward pass runs them. A pass begins with the first one. Hooks that their parameters'
  /// gradients have must be there, and stay.
  void set_layers(std::vector<StackLayer> layers);
  /// Where layers put tensors besides their result (a cache of keys and values); null: nowhere.
  void set_kept(std::vector<Tensor>* kept) { kept_ = kept; }

  /// layer(in), really or by repeating a layer of its kind.
  template <typename Layer>
  Tensor run(int number, const Tensor& in, Layer layer) {
    const Way way = begin(number, in);
    if (way == Way::kRepeated) return repeated(number, in);
    Tensor out = layer(in);
    if (way == Way::kRecorded) end(number, in, out);
    return out;
  }

  /// Whether a layer was repeated that should not have been: what the tape holds is of no use.
  bool has_failed() const { return has_failed_; }
  /// How many layers' passes were repeated so far.
  int repeated() const { return repeated_; }

 private:
  enum class Way : std::uint8_t { kReal, kRecorded, kRepeated };
  struct Kind;
  struct Boundary;
  struct Relay;
  class Instance;

  void fail() { has_failed_ = true; }
  Way begin(int number, const Tensor& in);
  void end(int number, const Tensor& in, const Tensor& out);
  Tensor repeated(int number, const Tensor& in);
  void begin_pass();
  Boundary& boundary_of(const Tensor& tensor);
  void reached(const Boundary& boundary, const Node& node, bool is_alone);

  Tape& tape_;
  std::vector<StackLayer> layers_;
  std::vector<int> places_;  ///< of each layer among those of its kind
  std::vector<Kind> kinds_;
  std::vector<std::unique_ptr<Boundary>> boundaries_;
  std::vector<std::vector<std::unique_ptr<Relay>>> relays_;  ///< by layer and parameter; null: it has no hook
  std::vector<Tensor>* kept_ = nullptr;
  std::vector<AllocationId> ids_;  ///< of the layer that is being repeated, by slot
  int repeated_ = 0;
  bool has_failed_ = false;
};

}  // namespace vramwise::tape
