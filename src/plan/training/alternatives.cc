// Every change is tried by planning: what is listed fits by the same replay as any plan.
#include "plan/training/alternatives.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/catalogue_card.h"
#include "plan/training/card.h"
#include "plan/training/search.h"
#include "plan/training/take_trainer.h"
#include "plan/training/words.h"

namespace vramwise {
namespace {

constexpr std::int64_t kShortestSequence = 32;
constexpr int kMostCards = 64;

class Trials {
 public:
  bool offer(std::string change, Mathematics mathematics, std::string why, TrainingRequest changed) {
    changed.only_best = true;
    Result<TrainingPlan> plan = plan_training(changed);
    if (!plan.ok()) return false;
    found_.push_back({std::move(change), mathematics, std::move(why), std::move(*plan)});
    return true;
  }
  std::vector<TrainingAlternative> take() { return std::move(found_); }

 private:
  std::vector<TrainingAlternative> found_;
};

struct Flag {
  const char* knob;
  const char* flag;
};
constexpr Flag kFlags[] = {{"micro_batch", "--batch_size"},
                           {"accumulation", "--gradient_accumulation_steps"},
                           {"checkpointing", "--gradient_checkpointing"}};

void let_go(Trials& trials, const TrainingRequest& request) {
  for (const Flag& each : kFlags) {
    if (!request.fixes(each.knob)) continue;
    TrainingRequest changed = request;
    std::erase(changed.fixed, each.knob);
    trials.offer(fmt::format("leave out {}", each.flag), Mathematics::kRounding,
                 fmt::format("the plan chooses {}", each.knob), changed);
  }
}

void allow_more(Trials& trials, const TrainingRequest& request) {
  for (const Knob& knob : training_knobs()) {
    if (knob.values.empty() || !can_free(request.trainer, knob)) continue;
    if (request.allows(knob.allow) || request.fixes(knob.name)) continue;
    TrainingRequest changed = request;
    changed.allowed.emplace_back(knob.allow);
    trials.offer(fmt::format("--allow {}", knob.allow), knob.mathematics, knob.changes, changed);
  }
}

void shorter_sequence(Trials& trials, const TrainingRequest& request) {
  const std::int64_t seq_len = request.start.settings.seq_len;
  for (std::int64_t shorter = seq_len / 2; shorter >= kShortestSequence; shorter /= 2) {
    TrainingRequest changed = request;
    changed.start.settings.seq_len = shorter;
    if (trials.offer(fmt::format("--seq_len {}", shorter), Mathematics::kObjective,
                     fmt::format("the model sees {} tokens at a time instead of {}", shorter, seq_len), changed))
      return;
  }
}

void smaller_margin(Trials& trials, const TrainingRequest& request, Bytes margin) {
  for (const std::int64_t mib : {512, 256}) {
    if (margin <= Bytes::mib(mib)) continue;
    TrainingRequest changed = request;
    changed.usable += margin - Bytes::mib(mib);
    if (trials.offer(fmt::format("--vram_safety_margin {}", mib), Mathematics::kSame,
                     "less is kept free for other programs", changed))
      return;
  }
}

struct OtherTrainer {
  Trainer trainer;
  const char* why;
  const char* on_one_card;  ///< null: it takes no less there
};
constexpr OtherTrainer kOtherTrainers[] = {
    {Trainer::kFsdp2, "fully_shard divides weights, gradients and states, and gathers weights layer by layer", nullptr},
    {Trainer::kDeepSpeed, "its ZeRO divides states, gradients and, in stage 3, weights", nullptr},
    {Trainer::kAccelerate, "ZeroRedundancyOptimizer divides states; the loss can be taken in chunks",
     "the loss can be taken in chunks"},
    {Trainer::kTransformers, "no engine's buffers lie beside the model", "no engine's buffers lie beside the model"}};

bool is_16bit(TrainingPrecision precision) {
  return precision == TrainingPrecision::kBf16 || precision == TrainingPrecision::kFp16;
}

/// DeepSpeed's engine steps a float32 copy of 16-bit weights; the other trainers step the weights themselves.
bool keeps_float32_copy(const TrainingRequest& request) {
  return request.trainer == Trainer::kDeepSpeed && is_16bit(request.start.settings.precision);
}

// What is fixed of how cards share the model has another name there; models of torchtune are others.
void other_trainers(Trials& trials, const TrainingRequest& request) {
  if (request.trainer == Trainer::kTorchtune) return;
  for (const char* knob : {"sharing", "bucket", "overlap"})
    if (request.fixes(knob)) return;
  for (const OtherTrainer& other : kOtherTrainers) {
    const char* why = request.cards == 1 ? other.on_one_card : other.why;
    if (other.trainer == request.trainer || why == nullptr) continue;
    TrainingRequest changed = request;
    take_trainer(changed, other.trainer);
    const TrainingPrecision precision = changed.start.settings.precision;
    std::string text = why;
    if (precision != request.start.settings.precision)
      text += fmt::format("; in {}", training_precision_name(precision));
    if (keeps_float32_copy(request) && !keeps_float32_copy(changed)) text += "; no float32 copy of the weights";
    if (!keeps_float32_copy(request) && keeps_float32_copy(changed)) text += "; a float32 copy of the weights";
    const bool is_precise_alike =
        precision == request.start.settings.precision && keeps_float32_copy(request) == keeps_float32_copy(changed);
    trials.offer(fmt::format("--for {}", trainer_name(other.trainer)),
                 is_precise_alike ? Mathematics::kRounding : Mathematics::kArithmetic, std::move(text), changed);
  }
}

void more_cards(Trials& trials, const TrainingRequest& request) {
  if (!can_turn(request.trainer, *find_knob("sharing"))) return;
  for (int cards = 2 * request.cards; cards <= kMostCards; cards *= 2) {
    TrainingRequest changed = request;
    changed.cards = cards;
    if (request.sequences % cards != 0) return;
    if (trials.offer(fmt::format("{} such cards", cards), Mathematics::kRounding, "each holds a smaller share",
                     changed))
      return;
  }
}

}  // namespace

std::vector<TrainingAlternative> changes_that_fit(const TrainingRequest& request, Bytes margin) {
  Trials trials;
  let_go(trials, request);
  allow_more(trials, request);
  smaller_margin(trials, request, margin);
  more_cards(trials, request);
  other_trainers(trials, request);
  shorter_sequence(trials, request);
  return trials.take();
}

std::vector<const GpuModel*> cards_that_fit(const TrainingRequest& request, Bytes margin, std::size_t most) {
  std::vector<const GpuModel*> found;
  for (const GpuModel* model : trainable_models()) {
    if (found.size() == most) break;
    // Less memory than what did not suffice does not suffice elsewhere.
    if (model->cuda_total && *model->cuda_total - margin <= request.usable) continue;
    if (!found.empty() && found.back()->memory_gb == model->memory_gb) continue;
    TrainingRequest other = request;
    if (!put_on(other, *model, std::nullopt, margin).ok()) continue;
    if (can_train(other)) found.push_back(model);
  }
  return found;
}

}  // namespace vramwise
