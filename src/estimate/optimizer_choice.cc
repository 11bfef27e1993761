// Which class of torch.optim, transformers or bitsandbytes a name stands for, and with which arguments.

#include "estimate/optimizer_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace vramwise {
namespace {

using tape::BitsandbytesKind;
using tape::StepKind;
using tape::Tensor;
using Parameters = std::vector<Tensor>;
using Make = std::unique_ptr<tape::Optimizer> (*)(const std::vector<NamedParameter>&);

Parameters tensors_of(const std::vector<NamedParameter>& named) {
  Parameters tensors;
  tensors.reserve(named.size());
  for (const NamedParameter& parameter : named) tensors.push_back(parameter.tensor);
  return tensors;
}

template <StepKind kind>
std::unique_ptr<tape::Optimizer> adamw(const std::vector<NamedParameter>& parameters) {
  return tape::adamw(tensors_of(parameters), kind);
}

template <BitsandbytesKind kind, bool is_8bit, bool is_paged>
std::unique_ptr<tape::Optimizer> bitsandbytes(const std::vector<NamedParameter>& parameters) {
  return tape::bitsandbytes(tensors_of(parameters), {.kind = kind, .is_8bit = is_8bit, .is_paged = is_paged});
}

std::unique_ptr<tape::Optimizer> muon(const std::vector<NamedParameter>& parameters) {
  Parameters matrices;
  Parameters others;
  for (const NamedParameter& parameter : parameters) {
    const bool is_layers_matrix = parameter.layer >= 0 && parameter.tensor.rank() == 2;
    (is_layers_matrix ? matrices : others).push_back(parameter.tensor);
  }
  std::vector<std::unique_ptr<tape::Optimizer>> both;
  both.push_back(tape::muon(std::move(matrices)));
  both.push_back(tape::adamw(std::move(others)));
  return tape::one_after_another(std::move(both));
}

struct Choice {
  TrainingOptimizer optimizer;
  const char* name;
  Make make;
};

constexpr auto kAdamW = BitsandbytesKind::kAdamW;
constexpr auto kLion = BitsandbytesKind::kLion;

constexpr std::array kChoices = {
    Choice{TrainingOptimizer::kAdamW, "adamw", adamw<StepKind::kForeach>},
    Choice{TrainingOptimizer::kAdamWFused, "adamw-fused", adamw<StepKind::kFused>},
    Choice{TrainingOptimizer::kAdamWLoop, "adamw-loop", adamw<StepKind::kLoop>},
    Choice{TrainingOptimizer::kSgd, "sgd", [](const auto& p) { return tape::sgd(tensors_of(p)); }},
    Choice{TrainingOptimizer::kSgdMomentum, "sgd-momentum",
           [](const auto& p) { return tape::sgd(tensors_of(p), {.momentum = 0.9}); }},
    Choice{TrainingOptimizer::kAdafactor, "adafactor", [](const auto& p) { return tape::adafactor(tensors_of(p)); }},
    Choice{TrainingOptimizer::kAdafactorTransformers, "adafactor-transformers",
           [](const auto& p) { return tape::transformers_adafactor(tensors_of(p)); }},
    Choice{TrainingOptimizer::kMuon, "muon", muon},
    Choice{TrainingOptimizer::kAdamW8bit, "adamw-8bit", bitsandbytes<kAdamW, true, false>},
    Choice{TrainingOptimizer::kPagedAdamW8bit, "paged-adamw-8bit", bitsandbytes<kAdamW, true, true>},
    Choice{TrainingOptimizer::kPagedAdamW, "paged-adamw", bitsandbytes<kAdamW, false, true>},
    Choice{TrainingOptimizer::kLion, "lion", bitsandbytes<kLion, false, false>},
    Choice{TrainingOptimizer::kLion8bit, "lion-8bit", bitsandbytes<kLion, true, false>},
    Choice{TrainingOptimizer::kPagedLion, "paged-lion", bitsandbytes<kLion, false, true>},
    Choice{TrainingOptimizer::kPagedLion8bit, "paged-lion-8bit", bitsandbytes<kLion, true, true>},
};

}  // namespace

const char* training_optimizer_name(TrainingOptimizer optimizer) {
  for (const Choice& choice : kChoices)
    if (choice.optimizer == optimizer) return choice.name;
  return "?";
}

std::string training_optimizer_names() {
  std::string names;
  for (const Choice& choice : kChoices) names += names.empty() ? choice.name : fmt::format(", {}", choice.name);
  return names;
}

Result<TrainingOptimizer> parse_training_optimizer(const std::string& name) {
  for (const Choice& choice : kChoices)
    if (name == choice.name) return choice.optimizer;
  return usage_error(fmt::format("the optimizer {} is not known", name),
                     fmt::format("known are {}", training_optimizer_names()));
}

std::unique_ptr<tape::Optimizer> make_host_optimizer(TrainingOptimizer kind,
                                                     const std::vector<NamedParameter>& parameters) {
  switch (kind) {
    case TrainingOptimizer::kAdamW:
    case TrainingOptimizer::kAdamWFused:
    case TrainingOptimizer::kAdamWLoop:
      return tape::on_host(tensors_of(parameters), 2);
    case TrainingOptimizer::kSgd:
      return tape::on_host(tensors_of(parameters), 0);
    case TrainingOptimizer::kSgdMomentum:
      return tape::on_host(tensors_of(parameters), 1);
    default:
      return nullptr;
  }
}

std::unique_ptr<tape::Optimizer> make_optimizer(TrainingOptimizer kind, const std::vector<NamedParameter>& parameters) {
  const auto choice =
      std::find_if(kChoices.begin(), kChoices.end(), [kind](const Choice& each) { return each.optimizer == kind; });
  VRAMWISE_CHECK_THAT(choice != kChoices.end(), "an optimizer without a name");
  std::vector<std::unique_ptr<tape::Optimizer>> optimizers;
  for (const auto& group : by_mesh(parameters)) optimizers.push_back(choice->make(group));
  return optimizers.size() == 1 ? std::move(optimizers.front()) : tape::one_after_another(std::move(optimizers));
}

}  // namespace vramwise
