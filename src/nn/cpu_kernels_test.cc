// What the operators' tests don't reach: extreme values, and exact counts.
#include "nn/cpu_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace vramwise {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(CpuKernels, SwigluAtExtremes) {
  const std::vector<float> gate = {-kInf, -1e4F, -100.0F, -88.0F, 0.0F, 1e-30F, 100.0F, 1e4F, NAN};
  std::vector<float> out(gate.size());
  const std::vector<float> up(gate.size(), 2.0F);
  const auto n = static_cast<std::int64_t>(gate.size());
  cpu::swiglu(gate.data() + 1, up.data() + 1, out.data() + 1, {0, 1}, n - 1);
  for (std::size_t i = 1; i + 1 < gate.size(); ++i) {
    const double exact = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * 2.0;
    EXPECT_NEAR(out[i], exact, std::abs(exact) * 1e-6 + 1e-30) << gate[i];
  }
  EXPECT_TRUE(std::isnan(out.back()));
}

TEST(CpuKernels, SigmoidIsAccurateEverywhere) {
  std::vector<float> gate(11'679);  // from -80 to 80
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = -80.0F + 0.0137F * static_cast<float>(i);
  const std::vector<float> up(gate.size(), 1.0F);
  std::vector<float> out(gate.size());
  cpu::swiglu(gate.data(), up.data(), out.data(), {0, 1}, static_cast<std::int64_t>(gate.size()));
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double exact = gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i])));
    ASSERT_NEAR(out[i], exact, std::abs(exact) * 4e-7) << gate[i];
  }
}

TEST(CpuKernels, LossOfLargeLogits) {
  std::vector<float> logits = {1e4F, -1e4F, 0.0F, -1e4F};
  const std::vector<std::int64_t> targets = {0, 1};
  std::vector<float> nll(2);
  const float scale = 3.0F;
  cpu::negative_log_likelihood(logits.data(), targets.data(), nll.data(), {0, 2},
                               {.vocab = 2, .gradient_scale = &scale});
  EXPECT_FLOAT_EQ(nll[0], 0.0F);
  EXPECT_FLOAT_EQ(nll[1], 1e4F);
  EXPECT_NEAR(logits[0], 0.0F, 1e-30F);
  EXPECT_FLOAT_EQ(logits[2], 3.0F);
  EXPECT_FLOAT_EQ(logits[3], -3.0F);
}

// fp16's overflow must reach the trainer, which skips such a step.
TEST(CpuKernels, OverflowIsVisible) {
  std::vector<float> logits = {kInf, 0.0F};
  const std::vector<std::int64_t> targets = {1};
  std::vector<float> nll(1);
  cpu::negative_log_likelihood(logits.data(), targets.data(), nll.data(), {0, 1}, {.vocab = 2});
  EXPECT_FALSE(std::isfinite(nll[0]));
  std::vector<float> x = {kInf, 1.0F};
  const std::vector<float> weight = {1.0F, 1.0F};
  std::vector<float> y(2);
  float rstd = 0;
  cpu::rms_norm(x.data(), weight.data(), y.data(), &rstd, {0, 1}, 2, 1e-5F);
  EXPECT_TRUE(std::isnan(y[0]));
}

TEST(CpuKernels, BFloat16RoundsToNearestEven) {
  // One unit in the last place of bf16 at 1 is 2^-7; sums of 1 and halves of it are ties.
  const float unit = 0.0078125F;
  std::vector<c10::BFloat16> in = {c10::BFloat16(1.0F), c10::BFloat16(1.0F + unit)};
  std::vector<float> sum = {0.5F * unit, 0.5F * unit};
  cpu::add_to_float(in.data(), sum.data(), 2);
  EXPECT_FLOAT_EQ(sum[0], 1.0F + 0.5F * unit);
  const std::vector<float> no_turn = {1.0F + 0.5F * unit};
  const std::vector<float> zero = {0.0F};
  std::vector<c10::BFloat16> out(2);
  cpu::rotate(in.data(), out.data(), {0, 1},
              {.cosines = no_turn.data(), .sines = zero.data(), .seq_len = 1, .heads = 1, .half = 1});
  EXPECT_EQ(static_cast<float>(out[0]), 1.0F);  // the tie goes to the even neighbour
}

TEST(CpuKernels, EmbeddingGradientByColumns) {
  const std::vector<float> gradient = {1, 2, 3, 10, 20, 30};
  const std::vector<std::int64_t> ids = {1, 1};
  std::vector<float> table(6, 0.0F);
  cpu::embedding_backward(gradient.data(), ids.data(), table.data(), 2, {0, 2}, 3);
  cpu::embedding_backward(gradient.data(), ids.data(), table.data(), 2, {2, 3}, 3);
  EXPECT_EQ(table, (std::vector<float>{0, 0, 0, 11, 22, 33}));
}

}  // namespace
}  // namespace vramwise
