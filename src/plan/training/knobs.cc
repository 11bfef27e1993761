// A value's `set` leaves everything else alone; `holds` says whether a configuration has it.
#include "plan/training/knobs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "plan/training/words.h"

namespace vramwise {
namespace {

using Configuration = TrainingConfiguration;
using Optimizer = TrainingOptimizer;

template <Optimizer kind>
constexpr KnobValue optimizer(const char* name, Mathematics mathematics = Mathematics::kSame,
                              const char* allow = nullptr) {
  return {.name = name,
          .set = [](Configuration& c) { c.settings.optimizer = kind; },
          .holds = [](const Configuration& c) { return c.settings.optimizer == kind; },
          .mathematics = mathematics,
          .allow = allow};
}

constexpr KnobValue kOptimizers[] = {
    optimizer<Optimizer::kAdamWFused>("fused"),
    optimizer<Optimizer::kAdamW>("foreach"),
    optimizer<Optimizer::kAdamWLoop>("for-loop"),
    optimizer<Optimizer::kAdamW8bit>("8-bit", Mathematics::kArithmetic, "8bit_adam"),
    optimizer<Optimizer::kPagedAdamW8bit>("8-bit, paged", Mathematics::kArithmetic, "8bit_adam"),
};

template <Attention kind>
constexpr KnobValue attention(const char* name) {
  return {.name = name,
          .set = [](Configuration& c) { c.settings.attention = kind; },
          .holds = [](const Configuration& c) { return c.settings.attention == kind; },
          .mathematics = Mathematics::kRounding};
}

constexpr KnobValue kAttentions[] = {attention<Attention::kSdpa>("sdpa"), attention<Attention::kEager>("eager")};

constexpr KnobValue kLosses[] = {
    {.name = "whole",
     .set = [](Configuration& c) { c.settings.loss = LossKind::kWhole; },
     .holds = [](const Configuration& c) { return c.settings.loss == LossKind::kWhole; }},
    {.name = "liger",
     .set = [](Configuration& c) { c.settings.loss = LossKind::kLiger; },
     .holds = [](const Configuration& c) { return c.settings.loss == LossKind::kLiger; },
     .mathematics = Mathematics::kRounding},
    {.name = "chunked",
     .set = [](Configuration& c) { c.settings.loss = LossKind::kChunked; },
     .holds = [](const Configuration& c) { return c.settings.loss == LossKind::kChunked; },
     .mathematics = Mathematics::kRounding},
};

constexpr KnobValue kRecomputed[] = {
    {.name = "whole layers",
     .set = [](Configuration& c) { c.settings.checkpointing.is_selective = false; },
     .holds = [](const Configuration& c) { return !c.settings.checkpointing.is_selective; }},
    {.name = "selective",
     .set = [](Configuration& c) { c.settings.checkpointing.is_selective = true; },
     .holds = [](const Configuration& c) { return c.settings.checkpointing.is_selective; }},
};

template <TrainingPrecision kind>
constexpr KnobValue precision(const char* name) {
  return {.name = name,
          .set = [](Configuration& c) { c.settings.precision = kind; },
          .holds = [](const Configuration& c) { return c.settings.precision == kind; },
          .mathematics = Mathematics::kArithmetic,
          .allow = "precision"};
}

constexpr KnobValue kPrecisions[] = {
    precision<TrainingPrecision::kFp32>("fp32"), precision<TrainingPrecision::kBf16Mixed>("bf16-mixed"),
    precision<TrainingPrecision::kFp16Mixed>("fp16-mixed"), precision<TrainingPrecision::kBf16>("bf16"),
    precision<TrainingPrecision::kFp16>("fp16")};

constexpr KnobValue kLora[] = {
    {.name = "off",
     .set = [](Configuration& c) { c.settings.lora.rank = 0; },
     .holds = [](const Configuration& c) { return !c.settings.lora.is_on(); }},
    {.name = "on",
     .set = [](Configuration& c) { c.settings.lora.rank = kDefaultLoraRank; },
     .holds = [](const Configuration& c) { return c.settings.lora.is_on(); },
     .mathematics = Mathematics::kObjective,
     .allow = "lora"},
};

constexpr KnobValue kSegments[] = {
    {.name = "fixed",
     .set = [](Configuration& c) { c.allocator.expandable_segments = false; },
     .holds = [](const Configuration& c) { return !c.allocator.expandable_segments; }},
    {.name = "expandable",
     .set = [](Configuration& c) { c.allocator.expandable_segments = true; },
     .holds = [](const Configuration& c) { return c.allocator.expandable_segments; }},
};

/// How several cards share the model.
struct Layout {
  Parallel kind = Parallel::kNone;
  bool gradients_are_views = false;
  bool shares_states = false;
  bool reshards = true;
  bool offloads = false;
  int zero_stage = 0;  ///< of DeepSpeed
};

template <Layout layout>
constexpr KnobValue sharing(const char* name) {
  return {.name = name,
          .set =
              [](Configuration& c) {
                ParallelOptions& p = c.settings.parallel;
                p.kind = layout.kind;
                p.gradients_are_views = layout.gradients_are_views;
                p.shares_states = layout.shares_states;
                p.reshards_after_forward = layout.reshards;
                p.offloads = layout.offloads;
                if (layout.zero_stage > 0) p.deepspeed.stage = layout.zero_stage;
              },
          .holds =
              [](const Configuration& c) {
                const ParallelOptions& p = c.settings.parallel;
                return p.kind == layout.kind && p.gradients_are_views == layout.gradients_are_views &&
                       p.shares_states == layout.shares_states && p.reshards_after_forward == layout.reshards &&
                       p.offloads == layout.offloads &&
                       (layout.zero_stage == 0 || p.deepspeed.stage == layout.zero_stage);
              },
          .mathematics = Mathematics::kRounding};
}

constexpr KnobValue kSharing[] = {
    sharing<Layout{.kind = Parallel::kDataParallel}>("ddp"),
    sharing<Layout{.kind = Parallel::kDataParallel, .gradients_are_views = true}>("ddp, bucket views"),
    sharing<Layout{.kind = Parallel::kDataParallel, .shares_states = true}>("zero1"),
    sharing<Layout{.kind = Parallel::kDataParallel, .gradients_are_views = true, .shares_states = true}>(
        "zero1, bucket views"),
    sharing<Layout{.kind = Parallel::kFullyShard, .reshards = false}>("fsdp2, kept after forward"),
    sharing<Layout{.kind = Parallel::kFullyShard}>("fsdp2"),
    sharing<Layout{.kind = Parallel::kFullyShard, .offloads = true}>("fsdp2, on the host"),
    sharing<Layout{.kind = Parallel::kDeepSpeed, .zero_stage = 1}>("deepspeed zero1"),
    sharing<Layout{.kind = Parallel::kDeepSpeed, .zero_stage = 2}>("deepspeed zero2"),
    sharing<Layout{.kind = Parallel::kDeepSpeed, .zero_stage = 3}>("deepspeed zero3"),
};

bool has_engine(const Configuration& c) { return c.settings.parallel.kind == Parallel::kDeepSpeed; }

template <std::int64_t elements>
constexpr KnobValue bucket(const char* name) {
  return {.name = name,
          .set = [](Configuration& c) { c.settings.parallel.deepspeed.reduce_bucket_size = elements; },
          .holds =
              [](const Configuration& c) {
                return has_engine(c) && c.settings.parallel.deepspeed.reduce_bucket_size == elements;
              }};
}

// The first is DeepSpeed's own, which small models hardly fill.
constexpr KnobValue kBuckets[] = {bucket<500'000'000>("500M"), bucket<50'000'000>("50M"), bucket<5'000'000>("5M")};

constexpr KnobValue kOverlaps[] = {
    {.name = "off",
     .set = [](Configuration& c) { c.settings.parallel.deepspeed.overlaps = false; },
     .holds = [](const Configuration& c) { return has_engine(c) && !c.settings.parallel.deepspeed.overlaps; }},
    {.name = "on",
     .set = [](Configuration& c) { c.settings.parallel.deepspeed.overlaps = true; },
     .holds = [](const Configuration& c) { return has_engine(c) && c.settings.parallel.deepspeed.overlaps; }},
};

constexpr std::array kKnobs = {
    Knob{.name = "micro_batch",
         .changes = "activations; fewer, larger kernels are faster",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kRounding},
    Knob{.name = "accumulation",
         .changes = "makes up for a smaller micro-batch: gradients stay from pass to pass",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kRounding},
    Knob{.name = "checkpointing",
         .changes = "activations of a layer are computed again in the backward pass instead of kept",
         .part = StepPart::kPasses},
    Knob{.name = "recomputed",
         .changes = "of such a layer, the results of attention and of every second product are kept",
         .part = StepPart::kPasses,
         .values = kRecomputed},
    Knob{.name = "optimizer",
         .changes = "AdamW's temporaries, its kernels, the bytes of its states",
         .part = StepPart::kUpdate,
         .mathematics = Mathematics::kArithmetic,
         .allow = "8bit_adam",
         .values = kOptimizers},
    Knob{.name = "attention",
         .changes = "whether scores of all pairs of tokens exist",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kRounding,
         .values = kAttentions},
    Knob{.name = "loss",
         .changes = "whether the logits of all tokens exist",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kRounding,
         .values = kLosses},
    Knob{.name = "precision",
         .changes = "bytes of weights, gradients and activations; the units that multiply",
         .mathematics = Mathematics::kArithmetic,
         .allow = "precision",
         .values = kPrecisions},
    Knob{.name = "sharing",
         .changes = "what of weights, gradients and optimizer states every card holds; what travels between them",
         .mathematics = Mathematics::kRounding,
         .is_for_several_cards = true,
         .values = kSharing},
    Knob{.name = "bucket",
         .changes = "gradients of so many parameters are reduced at once; the bucket is there whether filled or not",
         .part = StepPart::kPasses,
         .values = kBuckets},
    Knob{.name = "overlap",
         .changes = "gradients are reduced beside the backward pass, out of a second bucket",
         .part = StepPart::kPasses,
         .values = kOverlaps},
    Knob{.name = "segments",
         .changes = "how much of the memory the allocator loses to gaps",
         .part = StepPart::kNone,
         .values = kSegments},
    Knob{.name = "lora",
         .changes = "only low-rank factors have gradients and optimizer states",
         .mathematics = Mathematics::kObjective,
         .allow = "lora",
         .values = kLora},
    Knob{.name = "seq_len",
         .changes = "activations; attention sees fewer tokens",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kObjective,
         .allow = "seq_len"},
    Knob{.name = "loss_chunks",
         .changes = "logits of so many tokens exist at a time",
         .part = StepPart::kPasses,
         .mathematics = Mathematics::kRounding},
    Knob{.name = "optimizer_offload",
         .changes = "optimizer states lie in host memory; they travel in every step",
         .part = StepPart::kUpdate},
};

constexpr std::pair<Trainer, const char*> kTrainerNames[] = {
    {Trainer::kOwn, "trainer"}, {Trainer::kTransformers, "transformers"}, {Trainer::kAccelerate, "accelerate"},
    {Trainer::kFsdp2, "fsdp2"}, {Trainer::kDeepSpeed, "deepspeed"},       {Trainer::kTorchtune, "torchtune"}};

}  // namespace

const char* trainer_name(Trainer trainer) {
  for (const auto& [each, name] : kTrainerNames)
    if (each == trainer) return name;
  return "?";
}

std::vector<std::string> trainer_names() {
  std::vector<std::string> names;
  for (const auto& [trainer, name] : kTrainerNames) names.emplace_back(name);
  return names;
}

Result<Trainer> parse_trainer(const std::string& name) {
  for (const auto& [trainer, known] : kTrainerNames)
    if (name == known) return trainer;
  return usage_error(fmt::format("--for {}: no such trainer", name),
                     fmt::format("Known: {}.", fmt::join(trainer_names(), ", ")));
}

const char* mathematics_text(Mathematics mathematics) {
  switch (mathematics) {
    case Mathematics::kSame:
      return "the same";
    case Mathematics::kRounding:
      return "rounding differs";
    case Mathematics::kArithmetic:
      return "precision changes";
    case Mathematics::kObjective:
      return "objective changes";
  }
  return "?";
}

std::span<const Knob> training_knobs() { return kKnobs; }

const Knob* find_knob(const std::string& name) {
  for (const Knob& knob : kKnobs)
    if (name == knob.name) return &knob;
  return nullptr;
}

const KnobValue* value_of(const Knob& knob, const TrainingConfiguration& configuration) {
  for (const KnobValue& value : knob.values)
    if (value.holds(configuration)) return &value;
  return nullptr;
}

std::vector<std::string> allow_names(Trainer trainer) {
  std::vector<std::string> names;
  for (const Knob& knob : kKnobs)
    if (can_free(trainer, knob)) names.emplace_back(knob.allow);
  return names;
}

}  // namespace vramwise
