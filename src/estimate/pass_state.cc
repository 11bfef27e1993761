// See pass_state.h.
#include "estimate/pass_state.h"

namespace vramwise {

void PassState::add(std::span<const tape::Tensor> parameters) {
  constexpr std::size_t kNumbersEach = 24;
  numbers_.reserve(numbers_.size() + kNumbersEach * parameters.size());
  for (const tape::Tensor& parameter : parameters) {
    add(*parameter.get());
    const tape::TensorData* const gradient = parameter->grad;
    numbers_.push_back(gradient != nullptr ? 1 : 0);
    if (gradient != nullptr) add(*gradient);
  }
}

// How many hold a tensor decides whether it is added to in place.
void PassState::add(const tape::TensorData& tensor) {
  const tape::Storage& storage = *tensor.storage;
  const auto flag = [](bool is_set, int place) { return is_set ? std::int64_t{1} << place : 0; };
  const std::int64_t flags = static_cast<std::int64_t>(tensor.type) + flag(tensor.requires_grad, 8) +
                             flag(tensor.on_host, 9) + flag(tensor.is_replicated, 10) +
                             flag(tensor.base != nullptr, 11) + flag(tensor.grad_fn != nullptr, 12) +
                             (std::int64_t{storage.stream} << 16) + (std::int64_t{tensor.sizes.size()} << 32);
  numbers_.insert(numbers_.end(),
                  {flags, tensor.references, storage.references, tensor.offset, storage.bytes, storage.pinned_bytes});
  for (int i = 0; i < tensor.sizes.size(); ++i) numbers_.insert(numbers_.end(), {tensor.sizes[i], tensor.strides[i]});
}

bool PassState::operator==(const PassState& other) const {
  return pinned_memory_ == other.pinned_memory_ && workspaces_ == other.workspaces_ && numbers_ == other.numbers_;
}

}  // namespace vramwise
