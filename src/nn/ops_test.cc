#include "nn/ops.h"

#include <tuple>

#include "nn/checkpoint.h"
#include "nn/loss.h"
#include "nn/test_support.h"

namespace vramwise {
namespace {

using testing::expect_same_gradients;
using testing::random;
using testing::relative_error;
using testing::Tensors;
using testing::tolerance;
using torch::Tensor;

constexpr double kEps = 1e-5;

// Every operator, in every precision, by the CPU's own kernels and by the ATen operators that other devices use.
class Operators : public ::testing::TestWithParam<std::tuple<torch::ScalarType, Path>> {
 protected:
  Operators() : type_(std::get<0>(GetParam())), guard_(std::get<1>(GetParam())) { torch::manual_seed(7); }

  torch::ScalarType type_;
  PathGuard guard_;
};

Tensor exact_norm(const Tensor& x, const Tensor& weight) {
  return x * (x.pow(2).mean(-1, true) + kEps).rsqrt() * weight;
}

// transformers' rotate_half, written out: pairs are (i, i + half).
Tensor exact_rotation(const Tensor& x, std::int64_t seq, std::int64_t head_dim, double theta) {
  const std::int64_t half = head_dim / 2;
  const Tensor heads = x.view({x.size(0) / seq, seq, x.size(1) / head_dim, head_dim});
  const Tensor index = at::arange(half, torch::kDouble) * 2 / head_dim;
  const Tensor angle = at::outer(at::arange(seq, torch::kDouble), at::pow(theta, -index)).view({1, seq, 1, half});
  const Tensor a = heads.narrow(3, 0, half);
  const Tensor b = heads.narrow(3, half, half);
  return at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, 3).view(x.sizes());
}

TEST_P(Operators, RmsNorm) {
  for (const std::int64_t width : {1, 8, 37, 640}) {
    expect_same_gradients([](const Tensors& in) { return Tensors{rms_norm(in[0], in[1], kEps)}; },
                          [](const Tensors& in) { return Tensors{exact_norm(in[0], in[1])}; },
                          {random({129, width}, type_), random({width}, type_)}, tolerance(type_));
  }
}

TEST_P(Operators, Embedding) {
  // Token 3 occurs so often that a 16-bit sum of its gradients would lose digits.
  Tensor ids = at::randint(0, 11, {3000});
  ids.slice(0, 0, 2000).fill_(3);
  expect_same_gradients([&](const Tensors& in) { return Tensors{embed(in[0], ids)}; },
                        [&](const Tensors& in) { return Tensors{in[0].index_select(0, ids)}; },
                        {random({11, 24}, type_)},
                        std::get<1>(GetParam()) == Path::kFastest ? tolerance(type_) : 20 * tolerance(type_));
}

TEST_P(Operators, QueryKeyValueWithRotation) {
  const RopeTables tables = make_rope_tables(20, 8, 10000.0, torch::kCPU);
  expect_same_gradients(
      [&](const Tensors& in) {
        const auto out = project_qkv(in[0], in[1], {in[2], in[3], in[4]}, tables, kEps);
        return Tensors(out.begin(), out.end());
      },
      [](const Tensors& in) {
        const Tensor normed = exact_norm(in[0], in[1]);
        return Tensors{exact_rotation(at::mm(normed, in[2].t()), 20, 8, 10000.0),
                       exact_rotation(at::mm(normed, in[3].t()), 20, 8, 10000.0), at::mm(normed, in[4].t())};
      },
      {random({60, 24}, type_), random({24}, type_), random({32, 24}, type_), random({16, 24}, type_),
       random({16, 24}, type_)},
      2 * tolerance(type_));
}

TEST_P(Operators, FeedForward) {
  expect_same_gradients(
      [](const Tensors& in) {
        const auto [gate, up] = project_gate_up(in[0], in[1], in[2], in[3], kEps);
        return Tensors{swiglu_down(in[0], gate, up, in[4])};
      },
      [](const Tensors& in) {
        const Tensor normed = exact_norm(in[0], in[1]);
        const Tensor gate = at::mm(normed, in[2].t());
        const Tensor product = gate * at::sigmoid(gate) * at::mm(normed, in[3].t());
        return Tensors{in[0] + at::mm(product, in[4].t())};
      },
      {random({70, 24}, type_), random({24}, type_), random({50, 24}, type_, 0.2), random({50, 24}, type_, 0.2),
       random({24, 50}, type_, 0.2)},
      3 * tolerance(type_));
}

TEST_P(Operators, Attention) {
  for (const auto& [n_heads, n_kv_heads] : {std::pair<std::int64_t, std::int64_t>{4, 4}, {6, 2}, {4, 1}}) {
    const HeadLayout layout{.batch = 2, .seq = 45, .n_heads = n_heads, .n_kv_heads = n_kv_heads, .head_dim = 16};
    const auto exact = [&](const Tensors& in) {
      const auto heads = [&](const Tensor& x, std::int64_t n) { return x.view({2, 45, n, 16}).transpose(1, 2); };
      const Tensor k = heads(in[1], layout.n_kv_heads).repeat_interleave(layout.n_heads / layout.n_kv_heads, 1);
      const Tensor v = heads(in[2], layout.n_kv_heads).repeat_interleave(layout.n_heads / layout.n_kv_heads, 1);
      const Tensor future = at::ones({45, 45}, torch::kBool).triu(1);
      const Tensor scores = (at::matmul(heads(in[0], layout.n_heads), k.transpose(2, 3)) / 4.0)
                                .masked_fill(future, -std::numeric_limits<double>::infinity());
      return Tensors{at::matmul(scores.softmax(-1), v).transpose(1, 2).reshape({90, layout.n_heads * 16})};
    };
    expect_same_gradients(
        [&](const Tensors& in) { return Tensors{causal_attention(in[0], in[1], in[2], layout)}; }, exact,
        {random({90, n_heads * 16}, type_), random({90, n_kv_heads * 16}, type_), random({90, n_kv_heads * 16}, type_)},
        3 * tolerance(type_));
  }
}

TEST_P(Operators, ChunkedLoss) {
  Tensor targets = at::randint(0, 19, {53});
  targets.slice(0, 5, 9).fill_(-100);
  for (const std::int64_t chunk : {1, 20, 53, 1000}) {
    expect_same_gradients(
        [&](const Tensors& in) {
          const HeadLoss out =
              head_loss(in[0], in[1], in[2], targets, {.norm_eps = kEps, .chunk_tokens = chunk, .scale = 0.25});
          EXPECT_NEAR(out.nll_sum.item<double>(), 4 * out.scaled.item<double>(), 1e-3);
          return Tensors{out.scaled};
        },
        [&](const Tensors& in) {
          const Tensor logits = at::mm(exact_norm(in[0], in[1]), in[2].t());
          return Tensors{0.25 * at::nll_loss(logits.log_softmax(1), targets, {}, at::Reduction::Sum, -100)};
        },
        {random({53, 24}, type_), random({24}, type_), random({19, 24}, type_, 0.3)}, 3 * tolerance(type_));
  }
}

TEST_P(Operators, LossAlone) {
  const Tensor x = random({53, 24}, type_).requires_grad_();
  const Tensor norm = random({24}, type_).requires_grad_();
  const Tensor table = random({19, 24}, type_, 0.3).requires_grad_();
  const Tensor targets = at::randint(0, 19, {53});
  const HeadSettings settings{.norm_eps = kEps, .chunk_tokens = 20};
  const Tensor with_gradient = head_loss(x, norm, table, targets, settings).nll_sum;
  EXPECT_FALSE(with_gradient.requires_grad());
  const torch::NoGradGuard no_grad;
  const HeadLoss alone = head_loss(x, norm, table, targets, settings);
  EXPECT_FALSE(alone.scaled.defined());
  EXPECT_TRUE(at::equal(alone.nll_sum, with_gradient));
}

INSTANTIATE_TEST_SUITE_P(All, Operators,
                         ::testing::Combine(::testing::Values(torch::kFloat, torch::kBFloat16, torch::kHalf),
                                            ::testing::Values(Path::kFastest, Path::kAten)),
                         [](const auto& info) {
                           return std::string(torch::toString(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) == Path::kFastest ? "Own" : "Aten");
                         });

TEST(Loss, EverythingIgnored) {
  const Tensor x = random({6, 8}, torch::kFloat).requires_grad_();
  const Tensor table = random({5, 8}, torch::kFloat).requires_grad_();
  const HeadLoss out = head_loss(x, at::ones({8}), table, at::full({6}, -100, torch::kLong), {.chunk_tokens = 4});
  out.scaled.backward();
  EXPECT_EQ(out.nll_sum.item<float>(), 0.0F);
  EXPECT_EQ(x.grad().abs().max().item<float>(), 0.0F);
}

// Gradients of a mean over 2^24 tokens are below what fp16 can hold, unless the scale is in them from the start.
TEST(Loss, Fp16GradientsSurviveByTheScale) {
  torch::manual_seed(3);
  const Tensor table = random({19, 24}, torch::kHalf, 0.3).requires_grad_();
  const Tensor targets = at::randint(0, 19, {53});
  const Tensor norm = at::ones({24}, torch::kHalf);
  const auto gradient = [&](const Tensor& values, double scale) {
    const Tensor x = values.detach().clone().requires_grad_();
    head_loss(x, norm.to(values.scalar_type()), table.detach().to(values.scalar_type()), targets, {.scale = scale})
        .scaled.backward();
    return x.grad();
  };
  const Tensor x = random({53, 24}, torch::kHalf);
  const double tokens = 1 << 24;
  const Tensor exact = gradient(x.to(torch::kFloat), 1.0 / tokens);
  EXPECT_LT(relative_error(gradient(x, 8388608.0 / tokens).to(torch::kDouble) / 8388608.0, exact), 2e-2);
  EXPECT_GT(relative_error(gradient(x, 1.0 / tokens), exact), 0.2);
}

TEST(Backward, RunsOnlyOnce) {
  const Tensor x = random({6, 8}, torch::kFloat).requires_grad_();
  const Tensor gate = random({6, 10}, torch::kFloat).requires_grad_();
  const Tensor out = swiglu_down(x, gate * 1, gate * 2, random({8, 10}, torch::kFloat)).sum();
  out.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(out.backward(), c10::Error);
}

// The recomputation must see the random numbers of the first run, and leave the generator where it was.
TEST(Checkpoint, RestoresRandomState) {
  const Tensor weight = random({8, 8}, torch::kFloat).requires_grad_();
  const auto function = [&](const Tensor& x) { return at::dropout(at::mm(x, weight), 0.5, true).pow(2); };
  const Tensor values = random({32, 8}, torch::kFloat);
  Tensors gradients;
  Tensors after;
  for (const bool keep : {true, false}) {
    torch::manual_seed(11);
    weight.mutable_grad().reset();
    const Tensor x = values.clone().requires_grad_();
    Tensor y = keep ? function(x) : checkpoint(function, x);
    after.push_back(at::rand({3}));
    y.sum().backward();
    after.push_back(at::rand({3}));
    gradients.push_back(x.grad());
    gradients.push_back(weight.grad());
  }
  EXPECT_TRUE(at::equal(gradients[0], gradients[2]));
  EXPECT_TRUE(at::equal(gradients[1], gradients[3]));
  EXPECT_TRUE(at::equal(after[0], after[2]));
  EXPECT_TRUE(at::equal(after[1], after[3]));
}

TEST(Checkpoint, KeepsOnlyTheInput) {
  const Tensor x = random({4, 4}, torch::kFloat).requires_grad_();
  int runs = 0;
  const Tensor y = checkpoint(
      [&](const Tensor& in) {
        EXPECT_EQ(torch::GradMode::is_enabled(), ++runs == 2);
        return in.exp();
      },
      x);
  y.sum().backward();
  EXPECT_EQ(runs, 2);
  EXPECT_LT(relative_error(x.grad(), x.exp()), 1e-6);
}

}  // namespace
}  // namespace vramwise
