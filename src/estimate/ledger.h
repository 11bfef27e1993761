// The ledger: what one training step of our decoder takes on one device, at its peak, and what that consists of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "estimate/step.h"
#include "models/decoder.h"

namespace vramwise {

/// Where the step runs: the operators of the two backends save and allocate differently.
enum class Backend { kCuda, kCpu };

/// The phase in which the peak occurs.
enum class Phase { kForward, kBackward, kOptimizerStep, kEvaluation };

const char* phase_name(Phase phase);

struct Target {
  Backend backend = Backend::kCuda;
  Bytes context{};     ///< CUDA context and libraries, outside the caching allocator; 0 on the CPU
  Bytes workspaces{};  ///< cuBLAS workspaces of the forward and the backward thread, together; 0 on the CPU
  /// Threads that the CPU's operators run on: each has scratch of its own. Not used for CUDA.
  std::int64_t threads = 1;
  bool has_avx512 = true;  ///< of the CPU: oneDNN computes bf16 products then, with scratch. Not used for CUDA.
  /// Whether this device's replica has the optimizer's states. Of several replicas only the first has; the others send
  /// it their gradients and receive weights.
  bool holds_optimizer = true;
  bool has_peers = false;  ///< whether there are other replicas
  /// Sequences of an optimizer step that this replica computes, in as few passes of even size as the micro-batch
  /// allows; absent: every pass is a whole micro-batch.
  std::optional<std::int64_t> sequences{};
  int capability = 86;  ///< compute capability of the CUDA device, major x 10 + minor: which kernels run
  int sm_count = 82;    ///< its multiprocessors: into how many parts some kernels cut their work
};

/// What a block is for; the fields of Breakdown.
enum class Owner : std::uint8_t {
  kWeights,
  kGradients,
  kOptimizerStates,
  kActivations,
  kLoss,
  kTemporaries,
  kWorkspaces
};
inline constexpr int kOwners = 7;
const char* owner_name(Owner owner);

/// Bytes of each owner, by its number.
using PartBytes = std::array<Bytes, kOwners>;

/// Live bytes by owner at the moment of the peak; their sum is `allocated`.
struct Breakdown {
  Bytes weights{};           ///< working weights, in the compute precision
  Bytes gradients{};         ///< the persistent gradient buffer
  Bytes optimizer_states{};  ///< fp32 master copy (16-bit runs) and the two Adam moments, where they are not offloaded
  Bytes activations{};       ///< saved for the backward pass, and the batch
  Bytes loss{};              ///< the logits of one chunk, and the gradients that the loss forms with them
  Bytes temporaries{};       ///< everything else that lives only within an operator
  Bytes workspaces;

  static Breakdown of(const PartBytes& bytes);
  Bytes total() const;
};

struct Ledger {
  Bytes allocated{};  ///< live tensors at the peak
  Bytes reserved{};   ///< what PyTorch's caching allocator comes to hold (src/allocator); on the CPU: allocated
  Bytes device{};     ///< reserved + context
  Bytes offloaded{};  ///< optimizer states of this device's replica, one tier below it
  Phase phase = Phase::kForward;
  Breakdown at_peak;
};

/// Steps of `config` as the trainer carries them out (src/train), until nothing new happens. `config` must be valid.
/// Where the device peak is above `enough`, it may be told too small, but not below that: for those who ask whether it
/// fits.
Ledger estimate_step(const DecoderConfig& config, const StepSettings& settings, const Target& target,
                     Bytes enough = Bytes(std::int64_t{1} << 60));

}  // namespace vramwise
