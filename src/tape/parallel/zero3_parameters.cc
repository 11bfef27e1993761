// As deepspeed/runtime/zero/partition_parameters.py of DeepSpeed 0.19.8 has it, and integrations/deepspeed.py of
// transformers 5 (_load_state_dict_into_zero3_model).

#include "tape/parallel/zero3_parameters.h"

#include <utility>

#include "tape/parallel/set_data.h"

namespace vramwise::tape {

// _post_init_method, _zero_init_param, _partition_param
void Zero3Parameters::take(const std::vector<Tensor>& parameters) {
  module_sizes_.push_back(parameters.size());
  for (const Tensor& whole : parameters) {
    places_.emplace(whole.get(), parameters_.size());
    const std::int64_t part_numel = (whole.numel() + ranks_ - 1) / ranks_;
    parameters_.push_back({.whole = whole,
                           .part = tape_.empty({part_numel}, whole.type()),
                           .numel = whole.numel(),
                           .part_numel = part_numel,
                           .users = {}});
    tape_.count_kernel(2 * parameters_.back().part.bytes());
    partition(parameters_.back());
  }
}

void Zero3Parameters::take_replaced(Tensor parameter) {
  replaced_.push_back(tape_.empty({(parameter.numel() + ranks_ - 1) / ranks_}, parameter.type()));
}

// GatheredParameters around each module's own.
void Zero3Parameters::load() {
  std::size_t first = 0;
  for (const std::size_t size : module_sizes_) {
    for (std::size_t i = first; i < first + size; ++i) gather(parameters_[i]);
    for (std::size_t i = first; i < first + size; ++i) partition(parameters_[i]);
    first += size;
  }
  replaced_.clear();  // tie_weights
}

void Zero3Parameters::allocate(Zero3Parameter& parameter) {
  note_gathered();
  set_data(parameter.whole, tape_.empty({parameter.part_numel * ranks_}, parameter.whole.type()), 0);
  tape_.count_kernel(parameter.whole.bytes());
}

// _allgather_params_sequential and _allgather_params_coalesced: each parameter in memory of its own.
void Zero3Parameters::gather(Zero3Parameter& parameter) {
  allocate(parameter);
  parameter.availability = Availability::kWhole;
}

// free_param
void Zero3Parameters::partition(Zero3Parameter& parameter) {
  VRAMWISE_CHECK(parameter.users.empty());
  tape_.record_stream(*parameter.whole->storage, tape_.stream());
  set_data(parameter.whole, tape_.empty({0}, parameter.whole.type()), 0);
  parameter.availability = Availability::kPartitioned;
}

}  // namespace vramwise::tape
