// The decoder's differentiable operators, each made to save as little as its backward pass can do with.
//
// Activations are (tokens, width), tokens = batch * seq; weights are (out, in). On the CPU the elementwise parts are
// cpu_kernels.h; elsewhere they are ATen operators (`Path` lets a test run those on the CPU too).
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <vector>

namespace vramwise {

enum class Path { kFastest, kAten };

/// Which implementation the operators of this thread take; for tests.
class PathGuard {
 public:
  explicit PathGuard(Path path);
  ~PathGuard();
  PathGuard(const PathGuard&) = delete;
  PathGuard& operator=(const PathGuard&) = delete;

 private:
  Path previous_;
};

/// Rows of `table` (vocab, width) for ids (tokens). The gradient is summed in fp32. Saves the ids.
torch::Tensor embed(const torch::Tensor& table, const torch::Tensor& ids);

/// x / sqrt(mean(x^2) + eps) * weight by rows. Saves x and one fp32 a row.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& weight, double eps);

/// How queries and keys are turned by their position.
struct RopeTables {
  torch::Tensor cosines;  ///< (seq, head_dim / 2) fp32
  torch::Tensor sines;    ///< as cosines
};

/// Makes the tables of positions [0, positions), in the convention of transformers' Llama (fp32 throughout).
RopeTables make_rope_tables(std::int64_t positions, std::int64_t head_dim, double theta, torch::Device device);

/// x: (tokens, heads * head_dim), token t at row t % seq of the tables → x rotated, or rotated back.
torch::Tensor rotate(const torch::Tensor& x, const RopeTables& tables, bool back);

/// Query, key and value, (tokens, heads * head_dim) each, of norm(x), the first two rotated. Saves x and one fp32 a
/// row: the norm's output is computed again in the backward pass.
std::array<torch::Tensor, 3> project_qkv(const torch::Tensor& x, const torch::Tensor& norm_weight,
                                         const std::array<torch::Tensor, 3>& weights, const RopeTables& tables,
                                         double eps);

/// norm(x) times two weights: the inputs of swiglu_down. Saves x and one fp32 a row.
std::array<torch::Tensor, 2> project_gate_up(const torch::Tensor& x, const torch::Tensor& norm_weight,
                                             const torch::Tensor& gate_weight, const torch::Tensor& up_weight,
                                             double eps);

/// residual + (silu(gate) * up) down_weight^T. Saves gate and up, whose storage the backward pass reuses for their
/// gradients: nobody else may read them afterwards, and backward runs once.
torch::Tensor swiglu_down(const torch::Tensor& residual, const torch::Tensor& gate, const torch::Tensor& up,
                          const torch::Tensor& down_weight);

/// Causal attention of q (tokens, n_heads * head_dim) on k, v (tokens, n_kv_heads * head_dim) → like q. Memory is
/// linear in the length. Saves q, k, v, the result and one fp32 a token and head.
struct HeadLayout {
  std::int64_t batch = 0;
  std::int64_t seq = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
};
torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                               const HeadLayout& layout);

}  // namespace vramwise
