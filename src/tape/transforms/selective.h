// Selective checkpointing (torch.utils.checkpoint.create_selective_checkpoint_contexts): a checkpointed block keeps the
// results of its expensive ops, which its second run takes instead of computing them again. Which ones is a policy;
// this is torchtitan's (SelectiveAC of torchtitan/distributed/activation_checkpoint.py): the results of attention and
// of matrix products, but of plain mm only every second one. Its topk is left out, whose result routers of transformers
// change in place, at which PyTorch stops.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// The ops that the policy knows, by their names in ATen.
enum class KeptOp : std::uint8_t { kMm, kAddmm, kBmm, kAttention };
inline constexpr int kKeptOps = 4;

/// What one block keeps. Results come back in the order of the first run, each once.
class SelectiveCache {
 public:
  /// From now on results are taken, not put.
  void begin_second_run() { is_second_run_ = true; }
  /// The results of the next op of this kind; false where it is to be computed.
  bool take(KeptOp op, std::initializer_list<Tensor*> results);
  void put(KeptOp op, std::initializer_list<Tensor*> results);

 private:
  struct Kept {
    Tensor tensor;
    std::uint32_t changes = 0;  ///< of its storage when it was kept
  };
  struct Queue {
    std::vector<std::vector<Kept>> entries;  ///< one a call; empty: to be computed again
    std::size_t next = 0;
  };

  Queue queues_[kKeptOps];
  bool is_second_run_ = false;
};

/// `make` sets `results`, unless the block that runs a second time has kept them.
template <typename Make>
void make_or_take(Tape& tape, KeptOp op, std::initializer_list<Tensor*> results, Make make) {
  SelectiveCache* cache = tape.selective_cache();
  if (cache == nullptr) return make();
  if (cache->take(op, results)) return;
  make();
  cache->put(op, results);
}

}  // namespace vramwise::tape
