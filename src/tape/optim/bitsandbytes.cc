// AdamW and Lion of bitsandbytes 0.50 (optim/optimizer.py): one parameter after another, without temporaries. States of
// 8 bits come with a float32 scale for each block of 256 elements, and for fewer than 4096 elements they stay float32.
// Paged ones lie in managed memory (cudaMallocManaged), from 100,000 elements on: outside PyTorch's allocator.

#include "tape/ops/pointwise.h"
#include "tape/optim/optimizer.h"

namespace vramwise::tape {
namespace {

constexpr std::int64_t kBlock = 256;
constexpr std::int64_t kFewest8bit = 4096;     // min_8bit_size
constexpr std::int64_t kFewestPaged = 100000;  // get_state_buffer
constexpr std::int64_t kCodes = 256;           // entries of a quantization map

class Bitsandbytes final : public Optimizer {
 public:
  Bitsandbytes(std::vector<Tensor> parameters, const BitsandbytesOptions& options)
      : Optimizer(std::move(parameters)), options_(options), states_(parameters_.size()) {}

  void step() override {
    if (parameters_.empty()) return;
    const GradMode no_grad(parameters_.front().tape(), false);
    for (const std::size_t i : with_gradient()) {
      make_state(i);
      const Tensor& parameter = parameters_[i];
      const Tensor gradient = contiguous(parameter.grad());
      parameter.set_grad(gradient);
      const std::int64_t state_bytes = std::int64_t{options_.is_8bit ? 1 : 4} * state_count();
      parameter.tape().count_kernel(3 * parameter.bytes() + 2 * state_bytes * parameter.numel());
    }
  }

 private:
  struct State {
    bool is_made = false;
    Tensor moments[2];
    Tensor scales[2];
  };

  int state_count() const { return options_.kind == BitsandbytesKind::kLion ? 1 : 2; }

  void make_state(std::size_t i) {
    State& state = states_[i];
    if (state.is_made) return;
    state.is_made = true;
    const Tensor& parameter = parameters_[i];
    Tape& tape = parameter.tape();
    const bool is_8bit = options_.is_8bit && parameter.numel() >= kFewest8bit;
    if (is_8bit) {
      for (int k = 0; k < state_count(); ++k)
        if (!maps_[k].defined()) maps_[k] = tape.empty({kCodes}, DType::kFloat32);
    }
    for (int k = 0; k < state_count(); ++k)
      state.moments[k] = buffer(parameter, is_8bit ? DType::kUInt8 : DType::kFloat32);
    if (!is_8bit) return;
    const std::int64_t blocks = (parameter.numel() + kBlock - 1) / kBlock;
    for (int k = 0; k < state_count(); ++k) state.scales[k] = tape.empty({blocks}, DType::kFloat32);
  }

  Tensor buffer(const Tensor& parameter, DType type) const {
    Tape& tape = parameter.tape();
    if (options_.is_paged && parameter.numel() >= kFewestPaged) {
      tape.take_host_memory(HostMemory::kManaged, parameter.numel() * size_of(type));
      return tape.on_host(parameter.sizes(), type);
    }
    return tape.empty_strided(parameter.sizes(), parameter.strides(), type);
  }

  BitsandbytesOptions options_;
  std::vector<State> states_;
  Tensor maps_[2];
};

}  // namespace

std::unique_ptr<Optimizer> bitsandbytes(std::vector<Tensor> parameters, const BitsandbytesOptions& options) {
  return std::make_unique<Bitsandbytes>(std::move(parameters), options);
}

}  // namespace vramwise::tape
