// A replica and its optimizer without data files, progress or checkpoints: only what takes a step's memory.
#include "measured_run.h"

#include <random>

namespace vramwise::testing {
namespace {

std::int64_t sequences_of(const StepSettings& settings) {
  return settings.micro_batch * settings.gradient_accumulation_steps;
}

TokenSource random_tokens(const DecoderConfig& config, const StepSettings& settings) {
  std::mt19937 random(1);
  std::vector<std::uint32_t> ids(static_cast<std::size_t>(sequences_of(settings) * settings.seq_len + 1));
  for (std::uint32_t& id : ids) id = random() % static_cast<std::uint32_t>(config.vocab_size);
  return TokenSource::from_ids(std::move(ids));
}

}  // namespace

MeasuredRun::MeasuredRun(const DecoderConfig& config, const StepSettings& settings, torch::Device device)
    : settings_(settings),
      layout_(config),
      replica_(config, layout_, settings, device),
      tokens_(random_tokens(config, settings)) {
  const torch::NoGradGuard no_grad;
  replica_.flat().weights.normal_(0.0, 0.02);
  for (std::int64_t i = 0; i < sequences_of(settings); ++i) starts_.push_back(i * settings.seq_len);
}

void MeasuredRun::add_optimizer(const std::string& folder) {
  optimizer_ = make_optimizer(layout_, replica_.flat(), OptimizerSpec{},
                              {.offload = settings_.offload_optimizer, .folder = folder})
                   .value();
}

void MeasuredRun::step(int count) {
  for (int i = 0; i < count; ++i) {
    const auto tokens = static_cast<double>(sequences_of(settings_) * settings_.seq_len);
    replica_.accumulate({&tokens_, starts_}, settings_.micro_batch, 1.0 / tokens, nullptr).value();
    if (optimizer_) optimizer_->step({.number = ++steps_, .learning_rate = 1e-4, .gradient_divisor = 1.0});
    replica_.clear_gradients();
  }
}

}  // namespace vramwise::testing
