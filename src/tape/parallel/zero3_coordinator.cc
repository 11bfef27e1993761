// As deepspeed/runtime/zero/partitioned_param_coordinator.py and parameter_offload.py of DeepSpeed 0.19.8 have it.

#include "tape/parallel/zero3_coordinator.h"

#include <algorithm>
#include <set>

#include "tape/parallel/on_stream.h"
#include "tape/parallel/set_data.h"
#include "tape/record.h"

namespace vramwise::tape {

Zero3Coordinator::Gather::Gather(SavedHooks* hooks)
    : hooks(hooks != nullptr && hooks->is_kept_by_thread_state() ? hooks : nullptr) {
  if (this->hooks != nullptr) ++this->hooks->references;
}

Zero3Coordinator::Gather::~Gather() {
  if (hooks != nullptr && --hooks->references == 0) delete hooks;
}

void Zero3Coordinator::enter(ModuleId id, std::initializer_list<const Tensor*> parameters) {
  Module& module = modules_[id];
  if (module.own.empty())
    for (const Tensor* parameter : parameters)
      if (parameter->defined()) module.own.push_back(parameters_.index_of(*parameter));
  visit(id, true);
  module.gradients_left = 0;
}

// PostBackwardFunctionModule
Tensor Zero3Coordinator::input(ModuleId id, const Tensor& x) {
  Tensor seen = tape_.alias(x, x.sizes(), x.strides(), x->offset);
  if (!x.requires_grad()) return seen;
  ++module(id).gradients_left;
  return record(seen, {&x}, {}, [this, id](Backward& pass) {
    if (--module(id).gradients_left == 0) release(id, false);
    pass.give(0, pass.take_grad());
  });
}

void Zero3Coordinator::leave(ModuleId id) { release(id, true); }

// PreBackwardFunctionForModule
Tensor Zero3Coordinator::output(ModuleId id, const Tensor& x) {
  const Tensor seen = tape_.alias(x, x.sizes(), x.strides(), x->offset);
  ++module(id).runs;
  return record(seen, {&x}, {}, [this, id](Backward& pass) {
    if (module(id).runs > 0) {
      visit(id, false);
      --module(id).runs;
    }
    pass.give(0, pass.take_grad());
  });
}

void Zero3Coordinator::visit(ModuleId id, bool is_forward) {
  const GradMode no_grad(tape_, false);
  if (trace_ == Trace::kComplete)
    VRAMWISE_CHECK(step_ < std::ssize(order_) && order_[static_cast<std::size_t>(step_)] == id);
  if (trace_ == Trace::kRecording) order_.push_back(id);
  if (!is_forward && std::ranges::find(in_backward_, id) == in_backward_.end()) in_backward_.push_back(id);
  fetch(id);
}

// fetch_sub_module
void Zero3Coordinator::fetch(ModuleId id) {
  const Module& wanted = module(id);
  start_gather(wanted.own);
  for (const std::size_t index : wanted.own) {
    auto& users = parameters_[index].users;
    if (std::ranges::find(users, id) == users.end()) users.push_back(id);
    wait_for(index);
  }
  if (trace_ == Trace::kComplete) prefetch(wanted);
  ++step_;
}

void Zero3Coordinator::prefetch(const Module& current) {
  const auto wanted = std::ranges::count_if(current.own, [this](std::size_t i) { return fetched_for_[i] < step_; });
  std::set<std::size_t> seen;
  const auto pop = [this] {
    const Use use = queue_.front();
    queue_.pop_front();
    return use;
  };
  while (!queue_.empty() && std::ssize(seen) < wanted) {
    const Use use = pop();
    fetched_for_[use.parameter] = use.step;
    seen.insert(use.parameter);
  }
  if (options_.prefetch_bucket_size == 0) return;
  const std::int64_t most = std::min(options_.max_live_parameters - live_numel_, options_.prefetch_bucket_size);
  std::vector<std::size_t> ahead;
  std::int64_t numel = 0;
  while (!queue_.empty() && numel < most) {
    const Use use = pop();
    fetched_for_[use.parameter] = std::max(fetched_for_[use.parameter], use.step);
    if (!parameters_[use.parameter].is_partitioned() || std::ranges::find(ahead, use.parameter) != ahead.end())
      continue;
    ahead.push_back(use.parameter);
    numel += parameters_[use.parameter].numel;
  }
  start_gather(std::move(ahead));
}

// __all_gather_params: one parameter comes in memory of its own, several in one flat tensor.
void Zero3Coordinator::start_gather(std::vector<std::size_t> wanted) {
  std::erase_if(wanted, [this](std::size_t i) { return !parameters_[i].is_partitioned(); });
  if (wanted.empty()) return;
  std::ranges::sort(wanted);
  const OnStream stream(tape_, gather_stream_);
  auto gather = std::make_shared<Gather>(tape_.saved_hooks());
  std::int64_t numel = 0;
  for (const std::size_t index : wanted) {
    parameters_[index].availability = Availability::kInFlight;
    live_numel_ += parameters_[index].numel;
    numel += parameters_[index].part_numel;
    in_flight_[index] = gather;
  }
  if (wanted.size() == 1) {
    parameters_.allocate(parameters_[wanted.front()]);
  } else {
    parameters_.note_gathered();
    gather->flat = tape_.empty({numel * parameters_.ranks()}, parameters_.type());
    tape_.count_kernel(2 * gather->flat.bytes());
  }
  gather->parameters = std::move(wanted);
}

void Zero3Coordinator::wait_for(std::size_t index) {
  const auto found = in_flight_.find(index);
  if (found == in_flight_.end()) return;
  const std::shared_ptr<Gather> gather = found->second;
  in_flight_.erase(found);
  complete(*gather);
}

// AllGatherCoalescedHandle.wait: out of the flat tensor, in which ranks follow each other, each parameter is copied.
void Zero3Coordinator::complete(Gather& gather) {
  if (std::exchange(gather.is_complete, true)) return;
  const OnStream stream(tape_, gather_stream_);
  for (const std::size_t index : gather.parameters) {
    Zero3Parameter& parameter = parameters_[index];
    if (gather.flat.defined()) {
      parameters_.note_gathered();
      set_data(parameter.whole, tape_.empty({parameter.numel}, parameter.whole.type()), 0);
      tape_.count_kernel(2 * parameter.whole.bytes());
    }
    parameter.availability = Availability::kWhole;
  }
}

// release_sub_module
void Zero3Coordinator::release(ModuleId id, bool is_forward) {
  const GradMode no_grad(tape_, false);
  const std::vector<std::size_t>& released = trace_ == Trace::kComplete ? to_release(id) : module(id).own;
  if (!is_forward) std::erase(in_backward_, id);
  for (const std::size_t index : module(id).own) {
    std::erase(parameters_[index].users, id);
    if (std::ranges::find(released, index) != released.end()) release(index);
  }
}

void Zero3Coordinator::release(std::size_t index) {
  Zero3Parameter& parameter = parameters_[index];
  if (!parameter.is_whole() || !parameter.users.empty()) return;
  parameters_.partition(parameter);
  live_numel_ -= parameter.numel;
}

// __params_to_release, which remembers its answers for all later passes.
const std::vector<std::size_t>& Zero3Coordinator::to_release(ModuleId id) {
  const auto [place, is_new] = releases_.try_emplace({id, step_});
  if (is_new) place->second = not_used_soon(module(id));
  return place->second;
}

std::vector<std::size_t> Zero3Coordinator::not_used_soon(const Module& leaving) {
  std::vector<std::size_t> released;
  for (const std::size_t index : leaving.own)
    if (!parameters_[index].persists && fetched_for_[index] <= step_) released.push_back(index);
  std::int64_t distance = 0;
  for (auto i = static_cast<std::size_t>(step_); i < order_.size() && distance < options_.max_reuse_distance; ++i)
    for (const std::size_t index : module(order_[i]).own) {
      std::erase(released, index);
      distance += parameters_[index].numel;
    }
  return released;
}

// assert_ints_same_as_other_ranks: how many numbers there are, then the numbers.
void Zero3Coordinator::compare_over_ranks(std::size_t count) {
  tape_.empty({}, DType::kInt64).reset();
  tape_.empty({static_cast<std::int64_t>(count)}, DType::kInt64).reset();
}

void Zero3Coordinator::end_recording() {
  for (std::size_t step = 0; step < order_.size(); ++step) {
    std::vector<std::size_t> own = module(order_[step]).own;
    std::ranges::sort(own);
    for (const std::size_t index : own) uses_.push_back({.parameter = index, .step = static_cast<std::int64_t>(step)});
  }
}

void Zero3Coordinator::finish_in_flight() {
  while (!in_flight_.empty()) {
    const std::size_t index = in_flight_.begin()->first;
    wait_for(index);
    release(index);
  }
}

void Zero3Coordinator::reset_step() {
  const GradMode no_grad(tape_, false);
  finish_in_flight();
  if (trace_ != Trace::kComplete) {
    compare_over_ranks(order_.size());
    if (trace_ == Trace::kRecording) {
      end_recording();
      compare_over_ranks(uses_.size());
      compare_over_ranks(uses_.size());
      trace_ = Trace::kComplete;
    } else {
      trace_ = Trace::kRecording;
    }
  }
  queue_.assign(uses_.begin(), uses_.end());
  fetched_for_.assign(parameters_.size(), std::numeric_limits<std::int64_t>::min());
  step_ = 0;
  live_numel_ = 0;
}

void Zero3Coordinator::release_leftovers() {
  const GradMode no_grad(tape_, false);
  while (!in_backward_.empty()) {
    const ModuleId id = in_backward_.back();
    in_backward_.pop_back();
    for (const std::size_t index : module(id).own) {
      std::erase(parameters_[index].users, id);
      if (!parameters_[index].persists) release(index);
    }
  }
}

// release_and_reset_all
void Zero3Coordinator::partition_all() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    wait_for(i);
    parameters_[i].users.clear();
    release(i);
  }
}

}  // namespace vramwise::tape
