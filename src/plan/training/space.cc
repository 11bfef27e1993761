// See space.h.
#include "plan/training/space.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/training/words.h"

namespace vramwise {
namespace {

/// transformers stops at the model with that attention.
bool lacks_attention(const TrainingRequest& request, const TrainingConfiguration& option) {
  const Attention attention = option.settings.attention;
  const Architecture& architecture = request.model.architecture;
  return (attention == Attention::kSdpa && !architecture.has_sdpa) ||
         (attention == Attention::kEager && !architecture.has_eager);
}

bool may_take(const TrainingRequest& request, const Knob& knob, const KnobValue& value) {
  if (!can_take(request.trainer, knob, value.name)) return false;
  // What the configuration has already needs no leave.
  return value.allow == nullptr || value.holds(request.start) || request.allows(value.allow);
}

std::vector<const KnobValue*> values_of(const TrainingRequest& request, const Knob& knob) {
  std::vector<const KnobValue*> values;
  if (!concerns(request.trainer, knob, request.cards)) return values;
  for (const KnobValue& value : knob.values) {
    const bool is_kept = !request.fixes(knob.name) || value.holds(request.start);
    if (is_kept && may_take(request, knob, value)) values.push_back(&value);
  }
  return values;
}

Result<std::vector<TrainingConfiguration>> options_of(const TrainingRequest& request) {
  TrainingConfiguration start = request.start;
  start.settings.parallel.ranks = request.cards;
  if (!request.fixes("checkpointing")) start.settings.checkpointing = {};
  std::vector<TrainingConfiguration> options = {start};
  for (const Knob& knob : training_knobs()) {
    const std::vector<const KnobValue*> values = values_of(request, knob);
    const bool is_asked = !knob.values.empty() && concerns(request.trainer, knob, request.cards);
    const KnobValue* asked = value_of(knob, start);
    if (values.empty() && is_asked && asked != nullptr && asked != &knob.values.front())
      return no_words(request.trainer, knob, asked->name);
    std::vector<TrainingConfiguration> product;
    for (const TrainingConfiguration& option : options) {
      if (values.empty()) product.push_back(option);
      for (const KnobValue* value : values) {
        product.push_back(option);
        value->set(product.back());
      }
    }
    options = std::move(product);
  }
  std::erase_if(options, [&](const TrainingConfiguration& option) { return lacks_attention(request, option); });
  if (options.empty())
    return usage_error(fmt::format("{} has no {} attention in transformers", request.model.model_type,
                                   value_of(*find_knob("attention"), start)->name));
  const char* why = nullptr;
  std::erase_if(options, [&](const TrainingConfiguration& option) {
    const char* found = conflict(request.trainer, option);
    if (found != nullptr) why = found;
    return found != nullptr;
  });
  if (options.empty()) return incomplete(why, "`vramwise dryrun` measures it");
  return options;
}

std::vector<int> recomputed_counts(const TrainingRequest& request) {
  const Architecture& architecture = request.model.architecture;
  const int layers = architecture.layers;
  if (request.fixes("checkpointing")) return {std::min(request.start.settings.checkpointing.layers, layers)};
  const Knob& knob = *find_knob("checkpointing");
  std::vector<int> counts = {0};
  if (architecture.takes_layers_to_checkpoint && can_take(request.trainer, knob, "first"))
    for (int count = 1; count < layers; ++count) counts.push_back(count);
  if (architecture.takes_checkpoints && can_take(request.trainer, knob, "every")) counts.push_back(layers);
  return counts;
}

}  // namespace

bool TrainingRequest::allows(const char* what) const {
  return std::find(allowed.begin(), allowed.end(), what) != allowed.end();
}
bool TrainingRequest::fixes(const char* knob) const {
  return std::find(fixed.begin(), fixed.end(), knob) != fixed.end();
}

Result<TrainingSpace> training_space(const TrainingRequest& request) {
  TrainingSpace space;
  if (request.sequences % request.cards != 0)
    return usage_error(
        fmt::format("{} sequences a step cannot be shared by {} cards", request.sequences, request.cards),
        "These trainers give every card the same: --effective_batch must be a multiple of the cards.");
  space.sequences = request.sequences / request.cards;
  const TrainingSettings& start = request.start.settings;
  for (std::int64_t size = space.sequences; size >= 1; --size) {
    if (space.sequences % size != 0) continue;
    if (request.fixes("micro_batch") && size != start.micro_batch) continue;
    if (request.fixes("accumulation") && space.sequences / size != start.gradient_accumulation_steps) continue;
    space.micro_batches.push_back(size);
  }
  if (space.micro_batches.empty())
    return usage_error(fmt::format("{} sequences a step of a card do not divide as it is fixed", space.sequences),
                       "--batch_size x --gradient_accumulation_steps x cards must be --effective_batch.");
  VRAMWISE_ASSIGN_OR_RETURN(space.options, options_of(request));
  space.recomputed = recomputed_counts(request);
  return space;
}

TrainingConfiguration with_numbers(const TrainingConfiguration& option, std::int64_t micro_batch, std::int64_t passes,
                                   int recomputed, int layers) {
  TrainingConfiguration result = option;
  result.settings.micro_batch = micro_batch;
  result.settings.gradient_accumulation_steps = passes;
  result.settings.checkpointing.layers = recomputed > 0 && recomputed == layers ? kAllLayers : recomputed;
  return result;
}

}  // namespace vramwise
