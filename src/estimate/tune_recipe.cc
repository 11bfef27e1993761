// torchtune 0.6.1: recipes/full_finetune_single_device.py, train() line by line. Its names keep numbers on the card
// from pass to pass, and from one step to the next.
#include "estimate/tune_recipe.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tape/engine.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/reduce.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

namespace {

// A number divided by a count of tokens.
Tensor over_count(const Tensor& count) {
  const Tensor reciprocal = count.tape().empty({}, DType::kFloat32);
  return reciprocal * 1.0;
}

}  // namespace

TuneRecipe::TuneRecipe(Tape& tape, Model& model, const TrainingSettings& settings)
    : tape_(tape),
      model_(model),
      inputs_(model.inputs({.samples = settings.micro_batch, .tokens = settings.seq_len})),
      ignored_(full(tape, {settings.micro_batch, 1}, DType::kInt64)) {}

void TuneRecipe::pass() {
  tape_.mark(static_cast<std::uint32_t>(TrainingPhase::kForward));
  tokens_.reset();
  tokens_ = tape_.empty(inputs_[0].sizes, inputs_[0].type);
  Tensor labels = tape_.empty(inputs_[1].sizes, inputs_[1].type);
  current_count_ = count_true(compare(labels, -100));
  if (count_.defined())
    add_(count_, current_count_);
  else
    count_ = current_count_ + 0;
  {
    Batch batch = {tokens_, std::move(labels), ignored_};
    Tensor loss = model_.loss_of_taken(batch);
    current_loss_ = std::move(loss) * current_count_;
  }
  {
    // Its graph has nothing left to keep once the backward pass is over.
    const GradMode no_grad(tape_, false);
    if (running_loss_.defined())
      add_(running_loss_, current_loss_);
    else
      running_loss_ = current_loss_ + 0;
  }
  tape_.mark(static_cast<std::uint32_t>(TrainingPhase::kBackward));
  backward(current_loss_);
}

void TuneRecipe::update(Optimizer& optimizer) {
  const GradMode no_grad(tape_, false);
  {
    const Tensor scale = over_count(count_);
    for (const Tensor& parameter : model_.parameters()) tape_.count_kernel(2 * parameter.bytes());
  }
  optimizer.step();
  optimizer.zero_grad();
  shown_loss_ = over_count(count_);
  std::vector<Tensor> logged = {shown_loss_, count_ / 1.0};
  logged_ = std::move(logged);
  running_loss_.reset();
  count_.reset();
}

// Hugging Face's Llama and Mistral have the rows of these in another order; Qwen2's, which have biases, are alike.
void TuneRecipe::save() {
  const auto is_turned = [](const NamedParameter& parameter) {
    const std::string_view name = parameter.name;
    return name == "attn.q_proj" || name == "attn.k_proj";
  };
  const std::vector<NamedParameter>& parameters = model_.named_parameters();
  const auto is_bias = [&](const NamedParameter& each) { return is_turned(each) && each.tensor.rank() == 1; };
  if (std::ranges::any_of(parameters, is_bias)) return;
  for (const NamedParameter& each : parameters)
    if (is_turned(each)) converted_.push_back(empty_like(each.tensor));
}

namespace {

std::vector<AllocationId> ids_of(const std::vector<const Tensor*>& tensors) {
  std::vector<AllocationId> ids;
  for (const Tensor* each : tensors)
    if (each->defined()) ids.push_back((*each)->storage->id);
  return ids;
}

}  // namespace

std::vector<AllocationId> TuneRecipe::ids_of_pass() const {
  return ids_of({&tokens_, &current_count_, &current_loss_});
}

std::vector<AllocationId> TuneRecipe::ids_of_step() const {
  std::vector<const Tensor*> kept = {&tokens_, &current_count_, &current_loss_};
  for (const Tensor& each : logged_) kept.push_back(&each);
  return ids_of(kept);
}

void TuneRecipe::rename(const std::vector<AllocationId>& ids_of_pass) {
  auto id = ids_of_pass.begin();
  for (const Tensor* each : {&tokens_, &current_count_, &current_loss_}) (*each)->storage->id = *id++;
}

}  // namespace vramwise
