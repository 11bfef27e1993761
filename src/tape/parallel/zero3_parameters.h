// Parameters that are shared out (ZeRO-3): each rank keeps a part of every one, and the whole ones are there only while
// something needs them. A partitioned parameter keeps its shape; its storage is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tape/parallel/module_hooks.h"
#include "tape/tape.h"

namespace vramwise::tape {

enum class Availability : std::uint8_t { kPartitioned, kInFlight, kWhole };

struct Zero3Parameter {
  Tensor whole;
  Tensor part;  ///< flat, as large on each rank
  std::int64_t numel = 0;
  std::int64_t part_numel = 0;
  Availability availability = Availability::kWhole;
  bool persists = false;        ///< stays whole between the optimizer's steps
  std::vector<ModuleId> users;  ///< modules that are running with it

  bool is_whole() const { return availability == Availability::kWhole; }
  bool is_partitioned() const { return availability == Availability::kPartitioned; }
};

/// deepspeed.zero.Init, under which transformers makes a model, and the blocking collectives on what it leaves.
class Zero3Parameters final : public ModuleInit {
 public:
  Zero3Parameters(Tape& tape, int ranks) : tape_(tape), ranks_(ranks) {}

  /// Each parameter is shared out as soon as its module is made.
  void take(const std::vector<Tensor>& parameters) override;
  void take_replaced(Tensor parameter) override;
  /// The values of a checkpoint: module by module is gathered and shared out again.
  void load();

  std::size_t size() const { return parameters_.size(); }
  Zero3Parameter& operator[](std::size_t index) { return parameters_[index]; }
  const Zero3Parameter& operator[](std::size_t index) const { return parameters_[index]; }
  std::size_t index_of(const Tensor& whole) const { return places_.at(whole.get()); }
  int ranks() const { return ranks_; }
  DType type() const { return parameters_.front().whole.type(); }

  /// The next allocation is of gathered parameters.
  void note_gathered() { gathered_.push_back(tape_.events().size()); }
  const std::vector<std::size_t>& gathered() const { return gathered_; }

  /// Memory for the whole parameter, on the stream that the tape is at. Padded, so that all parts are as large.
  void allocate(Zero3Parameter& parameter);
  void gather(Zero3Parameter& parameter);
  /// The whole parameter's memory goes back, once the default stream is through with it.
  void partition(Zero3Parameter& parameter);

 private:
  Tape& tape_;
  int ranks_;
  std::vector<Zero3Parameter> parameters_;  ///< in the order in which they are made, which is that of their ids
  std::unordered_map<const TensorData*, std::size_t> places_;
  std::vector<std::size_t> module_sizes_;
  std::vector<Tensor> replaced_;  ///< parts
  std::vector<std::size_t> gathered_;
};

}  // namespace vramwise::tape
