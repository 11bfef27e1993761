// torch.utils.checkpoint without reentrance (the default of transformers 5): a block keeps its inputs only and runs
// again when the backward pass asks for the first tensor that it would have saved.
#pragma once

#include <functional>
#include <vector>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

using Block = std::function<Tensor(const std::vector<Tensor>&)>;
/// A block of several results.
using BlockOfMany = std::function<std::vector<Tensor>(const std::vector<Tensor>&)>;

/// run(inputs), checkpointed. Whatever `run` captures lives until the backward pass has left the block. `is_selective`:
/// what the second run doesn't compute again is kept (selective.h).
Tensor checkpoint(Tape& tape, Block run, std::vector<Tensor> inputs, bool is_selective = false);
std::vector<Tensor> checkpoint_all(Tape& tape, BlockOfMany run, std::vector<Tensor> inputs, bool is_selective = false);

}  // namespace vramwise::tape
