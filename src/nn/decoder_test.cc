// The whole decoder against plain formulas in double precision, and its settings against one another.
#include "nn/decoder.h"

#include <gmock/gmock.h>

#include <cmath>

#include "nn/ops.h"
#include "nn/test_support.h"

namespace vramwise {
namespace {

using testing::relative_error;
using testing::Tensors;
using torch::Tensor;

DecoderConfig small_config(bool tied = true) {
  return {.vocab_size = 61,
          .hidden_size = 32,
          .n_layers = 3,
          .n_heads = 4,
          .n_kv_heads = 2,
          .head_dim = 8,
          .intermediate_size = 48,
          .tie_embeddings = tied};
}

Tensors fresh_weights(const DecoderConfig& config) {
  Tensors weights;
  for (const ParameterShape& shape : parameters(config)) weights.push_back(at::empty(shape.shape));
  initialize(config, weights, at::detail::createCPUGenerator(5));
  for (Tensor& weight : weights) weight.mul_(weight.dim() == 2 ? 6.0 : 1.0);  // far from linear
  return weights;
}

Tensors leaves(const Tensors& weights, torch::ScalarType type) {
  Tensors out;
  for (const Tensor& weight : weights) out.push_back(weight.detach().to(type, false, true).requires_grad_());
  return out;
}

struct Batch {
  Tensor ids;
  Tensor targets;
};

Batch make_batch(const DecoderConfig& config, std::int64_t batch, std::int64_t seq) {
  torch::manual_seed(1);
  const Tensor tokens = at::randint(0, config.vocab_size, {batch, seq + 1});
  Tensor targets = tokens.slice(1, 1).clone();
  targets[0][3] = kIgnoredTarget;
  return {tokens.slice(1, 0, seq).contiguous(), targets};
}

// The model by its definition, in double.
Tensor exact_nll(const DecoderConfig& c, const Tensors& w, const Batch& batch) {
  const std::int64_t b = batch.ids.size(0);
  const std::int64_t s = batch.ids.size(1);
  const std::int64_t half = c.head_dim / 2;
  const auto norm = [&](const Tensor& x, const Tensor& weight) {
    return x / (x.pow(2).mean(-1, true) + c.rms_norm_eps).sqrt() * weight;
  };
  const Tensor angle = at::outer(at::arange(s, torch::kDouble),
                                 at::pow(c.rope_theta, -at::arange(half, torch::kDouble) * 2 / c.head_dim));
  const auto rotate = [&](const Tensor& x) {  // (b, heads, s, head_dim)
    const Tensor first = x.slice(3, 0, half);
    const Tensor second = x.slice(3, half);
    return at::cat({first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()}, 3);
  };
  const auto heads = [&](const Tensor& x, std::int64_t n) { return x.view({b, s, n, c.head_dim}).transpose(1, 2); };
  const Tensor future = at::ones({s, s}, torch::kBool).triu(1);
  Tensor x = w[0].index_select(0, batch.ids.flatten()).view({b, s, c.hidden_size});
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    const Tensor* p = w.data() + 1 + 9 * layer;
    const Tensor n = norm(x, p[0]);
    const std::int64_t group = c.n_heads / c.n_kv_heads;
    const Tensor q = rotate(heads(at::matmul(n, p[1].t()), c.n_heads));
    const Tensor k = rotate(heads(at::matmul(n, p[2].t()), c.n_kv_heads)).repeat_interleave(group, 1);
    const Tensor v = heads(at::matmul(n, p[3].t()), c.n_kv_heads).repeat_interleave(group, 1);
    const Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(static_cast<double>(c.head_dim));
    const Tensor mixed = at::matmul(scores.masked_fill(future, -INFINITY).softmax(-1), v).transpose(1, 2);
    x = x + at::matmul(mixed.reshape({b, s, c.n_heads * c.head_dim}), p[4].t());
    const Tensor m = norm(x, p[5]);
    x = x + at::matmul(at::silu(at::matmul(m, p[6].t())) * at::matmul(m, p[7].t()), p[8].t());
  }
  const Tensor& head = c.tie_embeddings ? w.front() : w.back();
  const Tensor logits = at::matmul(norm(x, w[1 + 9 * c.n_layers]), head.t());
  return at::nll_loss(logits.view({b * s, c.vocab_size}).log_softmax(1), batch.targets.flatten(), {},
                      at::Reduction::Sum, kIgnoredTarget);
}

struct Outcome {
  double nll = 0;
  Tensors gradients;
};

Outcome run(const DecoderConfig& config, const Tensors& values, torch::ScalarType type, const Batch& batch,
            const LossSettings& settings) {
  const Tensors weights = leaves(values, type);
  Decoder decoder(config, weights);
  const LossOutput out = decoder.loss(batch.ids, batch.targets, settings);
  out.to_backward.backward();
  Outcome outcome{out.nll_sum.item<double>(), {}};
  for (const Tensor& weight : weights) outcome.gradients.push_back(weight.grad());
  return outcome;
}

void expect_close(const Outcome& actual, const Outcome& expected, double tolerance) {
  EXPECT_NEAR(actual.nll, expected.nll, tolerance * expected.nll);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i)
    EXPECT_LT(relative_error(actual.gradients[i], expected.gradients[i]), tolerance) << "parameter " << i;
}

Outcome exact(const DecoderConfig& config, const Tensors& values, const Batch& batch, double scale) {
  const Tensors weights = leaves(values, torch::kDouble);
  const Tensor nll = exact_nll(config, weights, batch);
  (nll * scale).backward();
  Outcome outcome{nll.item<double>(), {}};
  for (const Tensor& weight : weights) outcome.gradients.push_back(weight.grad());
  return outcome;
}

TEST(Decoder, EqualsItsDefinition) {
  for (const bool tied : {true, false}) {
    const DecoderConfig config = small_config(tied);
    const Tensors weights = fresh_weights(config);
    const Batch batch = make_batch(config, 2, 33);
    const LossSettings settings{.scale = 1.0 / 65};
    expect_close(run(config, weights, torch::kFloat, batch, settings), exact(config, weights, batch, 1.0 / 65), 1e-5);
    const PathGuard aten(Path::kAten);
    expect_close(run(config, weights, torch::kFloat, batch, settings), exact(config, weights, batch, 1.0 / 65), 1e-5);
  }
}

TEST(Decoder, SixteenBitsComeClose) {
  const DecoderConfig config = small_config();
  const Tensors weights = fresh_weights(config);
  const Batch batch = make_batch(config, 2, 33);
  for (const auto& [type, tolerance] : {std::pair{torch::kBFloat16, 0.1}, {torch::kHalf, 0.015}}) {
    Tensors rounded;
    for (const Tensor& weight : weights) rounded.push_back(weight.to(type).to(torch::kFloat));
    const Outcome wanted = exact(config, rounded, batch, 1.0);
    for (const std::int64_t chunk : {20, 1000})
      expect_close(run(config, rounded, type, batch, {.loss_chunk_tokens = chunk}), wanted, tolerance);
  }
}

TEST(Decoder, CheckpointingAndChunksChangeNothing) {
  const DecoderConfig config = small_config();
  const Tensors weights = fresh_weights(config);
  const Batch batch = make_batch(config, 3, 21);
  for (const torch::ScalarType type : {torch::kFloat, torch::kBFloat16}) {
    const Outcome plain = run(config, weights, type, batch, {.loss_chunk_tokens = 1000});
    for (const std::int64_t blocks : {1, 2, 3}) {
      const Outcome same =
          run(config, weights, type, batch, {.checkpointed_blocks = blocks, .loss_chunk_tokens = 1000});
      EXPECT_EQ(same.nll, plain.nll);
      for (std::size_t i = 0; i < plain.gradients.size(); ++i)
        EXPECT_TRUE(at::equal(same.gradients[i], plain.gradients[i])) << "parameter " << i;
    }
    for (const std::int64_t chunk : {1, 8, 62}) {
      expect_close(run(config, weights, type, batch, {.checkpointed_blocks = 1, .loss_chunk_tokens = chunk}), plain,
                   type == torch::kFloat ? 2e-6 : 1e-2);
    }
  }
}

TEST(Decoder, PartsOfABatchAddUp) {
  const DecoderConfig config = small_config();
  const Tensors weights = leaves(fresh_weights(config), torch::kFloat);
  const Batch batch = make_batch(config, 4, 21);
  const LossSettings settings{.scale = 1.0 / 83};
  Decoder decoder(config, weights);
  Tensors whole;
  const LossOutput all = decoder.loss(batch.ids, batch.targets, settings);
  all.to_backward.backward();
  // As the trainer has it: gradients are views into a flat buffer, and autograd adds in place.
  const Tensor flat = at::zeros({parameter_count(config)});
  std::int64_t at = 0;
  for (const Tensor& weight : weights) {
    whole.push_back(weight.grad().clone());
    weight.mutable_grad() = flat.narrow(0, at, weight.numel()).view(weight.sizes());
    at += weight.numel();
  }
  double nll = 0;
  for (const auto& [first, count] : {std::pair{0, 1}, {1, 3}}) {
    const LossOutput part =
        decoder.loss(batch.ids.narrow(0, first, count), batch.targets.narrow(0, first, count), settings);
    part.to_backward.backward();
    nll += part.nll_sum.item<double>();
  }
  EXPECT_NEAR(nll, all.nll_sum.item<double>(), 1e-6 * nll);
  at = 0;
  for (const Tensor& expected : whole) {
    EXPECT_LT(relative_error(flat.narrow(0, at, expected.numel()).view(expected.sizes()), expected), 2e-6);
    at += expected.numel();
  }
}

TEST(Decoder, WithoutGradientsOnlyTheLoss) {
  const DecoderConfig config = small_config();
  const Tensors weights = leaves(fresh_weights(config), torch::kFloat);
  const Batch batch = make_batch(config, 2, 33);
  Decoder decoder(config, weights);
  const LossOutput with = decoder.loss(batch.ids, batch.targets, {});
  const torch::NoGradGuard no_grad;
  const LossOutput without = decoder.loss(batch.ids, batch.targets, {.checkpointed_blocks = 2});
  EXPECT_FALSE(without.to_backward.defined());
  EXPECT_TRUE(at::equal(without.nll_sum, with.nll_sum));
}

TEST(Decoder, GenerationEqualsTheFullPass) {
  const DecoderConfig config = small_config();
  for (const torch::ScalarType type : {torch::kFloat, torch::kBFloat16}) {
    Decoder decoder(config, leaves(fresh_weights(config), type));
    const Tensor ids = at::randint(0, config.vocab_size, {2, 300});
    KvCache cache;
    // A prompt, single tokens, and several at once on top of what is there; past the first capacity of the cache.
    for (const auto& [first, count] : {std::pair{0, 250}, {250, 1}, {251, 1}, {252, 30}, {282, 18}}) {
      const Tensor logits = decoder.next_token_logits(ids.narrow(1, first, count), cache);
      EXPECT_EQ(cache.length, first + count);
      const torch::NoGradGuard no_grad;
      const Tensor states = decoder.hidden(ids.narrow(1, 0, first + count), 0).view({2, first + count, -1});
      const Tensor wanted = at::mm(states.select(1, first + count - 1), decoder.weights()[0].t());
      EXPECT_LT(relative_error(logits, wanted), type == torch::kFloat ? 1e-5 : 3e-2);
      EXPECT_EQ(logits.scalar_type(), torch::kFloat);
    }
  }
}

TEST(Initialize, DrawsWhatIsWanted) {
  DecoderConfig config = small_config();
  config.hidden_size = 256;
  config.intermediate_size = 512;
  const Tensors a = fresh_weights(config);
  const Tensors b = fresh_weights(config);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i]));
  Tensors weights;
  for (const ParameterShape& shape : parameters(config)) weights.push_back(at::empty(shape.shape));
  initialize(config, weights, at::detail::createCPUGenerator(1));
  const std::vector<ParameterShape> shapes = parameters(config);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (weights[i].dim() == 1) {
      EXPECT_EQ(weights[i].min().item<float>(), 1.0F);
      continue;
    }
    const bool residual =
        shapes[i].name.find("o_proj") != std::string::npos || shapes[i].name.find("down_proj") != std::string::npos;
    EXPECT_NEAR(weights[i].std().item<double>(), residual ? 0.02 / std::sqrt(6.0) : 0.02, 0.001) << shapes[i].name;
  }
}

TEST(AddGradient, WidensWithoutLoss) {
  torch::manual_seed(2);
  for (const torch::ScalarType type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
    const Tensor gradient = at::randn({77, 129}).to(type);
    Tensor sum = at::randn({77, 129});
    const Tensor wanted = sum + gradient.to(torch::kFloat);
    add_gradient(sum, gradient);
    EXPECT_TRUE(at::equal(sum, wanted));
  }
}

}  // namespace
}  // namespace vramwise
