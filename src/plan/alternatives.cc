// Every change is tried by planning: what is listed fits by the same replay as any plan.
#include "plan/alternatives.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "plan/catalogue_card.h"
#include "plan/guide_table.h"

namespace vramwise {
namespace {

constexpr std::int64_t kShortestSequence = 32;

class Trials {
 public:
  explicit Trials(const PlanRequest& request) : request_(request) { request_.strategy = Strategy::kFastest; }

  const PlanRequest& request() const { return request_; }

  /// Keeps the change if it fits.
  bool offer(std::string change, bool changes_training, std::string why, const PlanRequest& changed) {
    Result<Plan> plan = make_plan(changed);
    if (!plan.ok()) return false;
    found_.push_back({.change = std::move(change),
                      .changes_training = changes_training,
                      .why = std::move(why),
                      .plan = std::move(*plan)});
    return true;
  }
  std::vector<Alternative> take() { return std::move(found_); }

 private:
  PlanRequest request_;
  std::vector<Alternative> found_;
};

/// What the user fixed by flag, let go one by one.
void let_go(Trials& trials) {
  const auto without = [&](const char* flag, auto member, const char* why) {
    PlanRequest changed = trials.request();
    if (!(changed.overrides.*member)) return;
    // The batch stays that of the flags.
    if (changed.overrides.micro_batch && changed.overrides.gradient_accumulation_steps) {
      changed.overrides.effective_batch =
          *changed.overrides.micro_batch * *changed.overrides.gradient_accumulation_steps;
      changed.overrides.gradient_accumulation_steps.reset();
    }
    (changed.overrides.*member).reset();
    trials.offer(fmt::format("leave out {}", flag), false, why, changed);
  };
  without("--batch_size", &Overrides::micro_batch, "smaller passes, as many sequences a step");
  without("--gradient_accumulation_steps", &Overrides::gradient_accumulation_steps, "more and smaller passes");
  without("--gradient_checkpointing", &Overrides::checkpointed_blocks, "blocks may be computed again");
  without("--loss_chunk_tokens", &Overrides::loss_chunk_tokens, "logits of fewer tokens at a time");
  without("--cpu_offload", &Overrides::offload_optimizer, "optimizer states may leave the card");
}

void lower_precision(Trials& trials) {
  PlanRequest changed = trials.request();
  if (changed.overrides.precision != Precision::kFp32) return;
  const bool bf16 = changed.cards.front().has_bf16;
  changed.overrides.precision = bf16 ? Precision::kBf16 : Precision::kFp16;
  trials.offer(fmt::format("--precision {}", precision_name(*changed.overrides.precision)), false,
               "16-bit weights and activations, fp32 master copy: rounding differs", changed);
}

void smaller_margin(Trials& trials) {
  for (const std::int64_t margin : {512, 256}) {
    PlanRequest changed = trials.request();
    if (changed.safety_margin <= Bytes::mib(margin)) continue;
    changed.safety_margin = Bytes::mib(margin);
    if (trials.offer(fmt::format("--vram_safety_margin {}", margin), false, "less is kept free for other programs",
                     changed))
      return;
  }
}

void shorter_sequence(Trials& trials, std::int64_t seq_len) {
  for (std::int64_t shorter = seq_len / 2; shorter >= kShortestSequence; shorter /= 2) {
    PlanRequest changed = trials.request();
    changed.overrides.seq_len = shorter;
    if (trials.offer(fmt::format("--seq_len {}", shorter), true,
                     fmt::format("the model sees {} tokens at a time instead of {}", shorter, seq_len), changed))
      return;
  }
}

void smaller_model(Trials& trials) {
  const std::vector<std::string>& sizes = model_sizes();
  for (std::size_t i = sizes.size(); i-- > 0;) {
    PlanRequest changed = trials.request();
    DecoderConfig smaller = model_preset(sizes[i]).value();
    smaller.vocab_size = changed.model.vocab_size;
    if (parameter_count(smaller) >= parameter_count(changed.model)) continue;
    changed.model = smaller;
    changed.model_name = sizes[i];
    changed.overrides.checkpointed_blocks.reset();
    if (trials.offer(fmt::format("--model_size {}", sizes[i]), true,
                     fmt::format("{} parameters instead of {}", format_count(parameter_count(smaller)),
                                 format_count(parameter_count(trials.request().model))),
                     changed))
      return;
  }
}

/// The table's row for this request's cards.
const GuideRow& row_of(const PlanRequest& request) {
  Bytes largest;
  const std::vector<Bytes> shares = spread_target(request.target.total, request.cards);
  for (std::size_t i = 0; i < request.cards.size(); ++i) {
    const bool all = request.target.kind == VramTarget::Kind::kAuto;
    largest = std::max(largest, all ? request.cards[i].budget : shares[i]);
  }
  return guide_row(largest);
}

}  // namespace

void fix_training(PlanRequest& request, const GuideRow& row) {
  Overrides& fixed = request.overrides;
  fixed.seq_len = fixed.seq_len.value_or(row.seq_len);
  if (fixed.effective_batch) return;
  if (fixed.micro_batch && fixed.gradient_accumulation_steps) {
    fixed.effective_batch = *fixed.micro_batch * *fixed.gradient_accumulation_steps;
    fixed.gradient_accumulation_steps.reset();
  } else {
    fixed.effective_batch = row.micro_batch * row.gradient_accumulation_steps;
  }
}

std::vector<Alternative> changes_that_fit(const PlanRequest& request) {
  Trials trials(request);
  let_go(trials);
  lower_precision(trials);
  smaller_margin(trials);
  shorter_sequence(trials, request.overrides.seq_len.value_or(row_of(request).seq_len));
  smaller_model(trials);
  return trials.take();
}

PlanRequest request_on(const PlanRequest& request, const GpuModel& model) {
  PlanRequest other = request;
  other.target = VramTarget{};
  other.origin = CardOrigin::kChosen;
  other.offload_tier.reset();
  for (std::size_t i = 0; i < other.cards.size(); ++i) other.cards[i] = catalogue_card(model, i);
  return other;
}

std::vector<const GpuModel*> cards_that_fit(const PlanRequest& request, std::size_t most) {
  const std::vector<const GpuModel*> models = trainable_models();
  PlanRequest same = request;
  if (request.cards.size() == 1) {
    fix_training(same, row_of(request));
  } else {
    same.overrides.seq_len = request.overrides.seq_len.value_or(row_of(request).seq_len);
  }
  const auto fits = [&](const GpuModel& model) {
    PlanRequest other = request_on(same, model);
    other.strategy = Strategy::kFastest;
    return make_plan(other).ok();
  };
  std::vector<const GpuModel*> found;
  for (const GpuModel* model : models) {
    if (!found.empty() && found.back()->memory_gb == model->memory_gb) continue;
    if (!fits(*model)) continue;
    found.push_back(model);
    if (found.size() == most) break;
  }
  return found;
}

}  // namespace vramwise
