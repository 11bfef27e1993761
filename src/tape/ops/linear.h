// Matrix products, in the ways in which ATen takes them apart: linear → addmm or matmul → mm or bmm.
#pragma once

#include <cstdint>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// (n, m) × (m, p).
Tensor mm(Tensor a, Tensor b);
/// (b, n, m) × (b, m, p).
Tensor bmm(Tensor a, Tensor b);
/// kShare: the product is this rank's share of a sum, and so becomes the bias, in a copy (DTensor, Replicate to
/// Partial).
enum class BiasUse : std::uint8_t { kWhole, kShare };
/// bias + a × b, where `bias` broadcasts.
Tensor addmm(Tensor bias, Tensor a, Tensor b, BiasUse use = BiasUse::kWhole);
/// torch.baddbmm: bias + a × b of batches.
Tensor baddbmm(Tensor bias, Tensor a, Tensor b);
/// torch.matmul of tensors of any rank.
Tensor matmul(Tensor a, Tensor b);
/// torch.nn.functional.linear: x · weightᵀ + bias. weight: (out, in). An undefined bias is none.
Tensor linear(Tensor x, Tensor weight, Tensor bias = {}, BiasUse use = BiasUse::kWhole);
/// The same as DeepSpeed's ZeRO-3 puts it in the place of torch.nn.functional.linear.
Tensor zero3_linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace vramwise::tape
