// Runs whose equal layers and steps are repeated, against the same runs with every one really run: the same events
// under other ids, and the same estimate.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "allocator/reserved_within.h"
#include "allocator/size_rules.h"
#include "estimate/training.h"
#include "estimate/training_owners.h"
#include "models/catalogue/model_catalogue.h"

namespace vramwise {
namespace {

using Random = std::mt19937_64;

template <typename T>
T one_of(Random& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

bool happens(Random& random, unsigned one_in) { return random() % one_in == 0; }

// Of a catalogue's model, often with fewer layers than it has.
ModelConfig draw_model(Random& random, std::string& name) {
  while (true) {
    const CatalogueModel& drawn = model_catalogue()[random() % model_catalogue().size()];
    std::string text = drawn.config;
    name = drawn.names.front();
    for (const char* key : {"\"num_hidden_layers\":", "\"n_layer\":"}) {
      const std::size_t at = text.find(key);
      if (at == std::string::npos || happens(random, 3)) continue;
      const std::size_t value = text.find_first_of("0123456789", at);
      const std::size_t end = text.find_first_not_of("0123456789", value);
      const auto layers = 1 + random() % 14;
      text.replace(value, end - value, std::to_string(layers));
      name += fmt::format(" of {} layers", layers);
    }
    // A list of the layers' types that has another length is refused.
    if (auto model = parse_model_config(text, name); model.ok()) return std::move(*model);
  }
}

TrainingSettings draw_settings(Random& random) {
  using enum TrainingOptimizer;
  using enum TrainingPrecision;
  TrainingSettings settings;
  settings.micro_batch = 1 + static_cast<std::int64_t>(random() % 3);
  settings.seq_len = one_of<std::int64_t>(random, {1, 17, 128, 333, 1024});
  settings.gradient_accumulation_steps = one_of<std::int64_t>(random, {1, 1, 1, 2, 3, 5, 8});
  settings.precision = one_of(random, {kFp32, kBf16, kBf16, kFp16, kBf16Mixed, kBf16Mixed, kFp16Mixed});
  settings.optimizer =
      one_of(random, {kAdamW, kAdamW, kAdamWFused, kAdamWLoop, kSgd, kSgdMomentum, kAdafactor, kAdafactorTransformers,
                      kMuon, kAdamW8bit, kPagedAdamW8bit, kPagedAdamW, kLion, kLion8bit, kPagedLion, kPagedLion8bit});
  settings.attention = one_of(random, {Attention::kSdpa, Attention::kSdpa, Attention::kEager, Attention::kFlash2});
  if (happens(random, 3)) {
    settings.checkpointing.layers = one_of(random, {kAllLayers, kAllLayers, 1, 3, 8});
    settings.checkpointing.every = one_of(random, {1, 1, 2});
    settings.checkpointing.is_selective = happens(random, 3);
  }
  settings.clips_gradients = !happens(random, 4);
  settings.loss = one_of(random, {LossKind::kWhole, LossKind::kWhole, LossKind::kWhole, LossKind::kWhole,
                                  LossKind::kLiger, LossKind::kChunked});
  if (happens(random, 4)) {
    settings.lora.rank = 8;
    settings.lora.dropout = one_of(random, {0.0, 0.1});
    settings.lora.uses_dora = happens(random, 3);
    if (happens(random, 3)) settings.lora.modules_to_save = {"lm_head"};
    settings.quantization = one_of(random, {Quantization::kNone, Quantization::kNf4, Quantization::kNf4Double});
  }
  if (happens(random, 4)) {
    settings.parallel.kind =
        one_of(random, {Parallel::kDataParallel, Parallel::kFullyShard, Parallel::kFullyShard, Parallel::kDeepSpeed});
    settings.parallel.deepspeed.stage = one_of(random, {1, 2});
    settings.parallel.deepspeed.overlaps = happens(random, 2);
    settings.parallel.ranks = 4;
    settings.parallel.gradients_are_views = happens(random, 2);
    settings.parallel.offloads = settings.parallel.kind == Parallel::kFullyShard && happens(random, 3);
    settings.parallel.shares_states = settings.parallel.kind == Parallel::kDataParallel && happens(random, 2);
  }
  settings.steps = one_of(random, {1, 2, 3, 3, 3, 5});
  return settings;
}

std::string described(const TrainingSettings& s) {
  return fmt::format(
      "{} x {} tokens, {} passes, {}, {}, attention {}, {} layers checkpointed, each {}. one{}, rank {}{}, 4 bits {}, "
      "parallel {}, {} steps",
      s.micro_batch, s.seq_len, s.gradient_accumulation_steps, training_precision_name(s.precision),
      training_optimizer_name(s.optimizer), static_cast<int>(s.attention), s.checkpointing.layers,
      s.checkpointing.every, s.checkpointing.is_selective ? " selectively" : "", s.lora.rank,
      s.lora.uses_dora ? " DoRA" : "", static_cast<int>(s.quantization), static_cast<int>(s.parallel.kind), s.steps);
}

// Both lists do the same in the same order; `names` becomes the other's name of each of this one's ids.
testing::AssertionResult are_same(const EventList& events, const EventList& others, std::vector<AllocationId>& names) {
  if (events.size() != others.size())
    return testing::AssertionFailure() << events.size() << " events, the other has " << others.size();
  for (std::size_t i = 0; i < events.size(); ++i) {
    const AllocationEvent& event = events[i];
    const AllocationEvent& other = others[i];
    const bool is_alike = event.kind == other.kind && event.bytes == other.bytes && event.stream == other.stream;
    if (event.id >= names.size()) names.resize(std::size_t{event.id} + 1);
    if (event.kind == EventKind::kAllocate) names[event.id] = other.id;
    const bool is_named_so = event.kind == EventKind::kMark ? event.id == other.id : names[event.id] == other.id;
    const bool has_id = event.kind != EventKind::kEmptyCache;
    if (!is_alike || (has_id && !is_named_so)) {
      return testing::AssertionFailure() << "event " << i << ": kind " << static_cast<int>(event.kind) << ", "
                                         << event.bytes << " bytes, the other " << static_cast<int>(other.kind) << ", "
                                         << other.bytes << " bytes";
    }
  }
  return testing::AssertionSuccess();
}

void expect_same(const Breakdown& a, const Breakdown& b) {
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.gradients, b.gradients);
  EXPECT_EQ(a.optimizer_states, b.optimizer_states);
  EXPECT_EQ(a.activations, b.activations);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.temporaries, b.temporaries);
  EXPECT_EQ(a.workspaces, b.workspaces);
}

void expect_same_host(const TrainingEstimate& a, const TrainingEstimate& b) {
  EXPECT_EQ(a.host_managed, b.host_managed);
  EXPECT_EQ(a.host_pinned, b.host_pinned);
  EXPECT_EQ(a.host_pageable, b.host_pageable);
}

void expect_same(const TrainingEstimate& a, const TrainingEstimate& b) {
  EXPECT_EQ(a.allocated, b.allocated);
  EXPECT_EQ(a.reserved, b.reserved);
  EXPECT_EQ(a.phase, b.phase);
  expect_same(a.at_peak, b.at_peak);
  EXPECT_EQ(a.unsplit, b.unsplit);
  for (int i = 0; i < kTrainingPhases; ++i) EXPECT_EQ(a.phase_allocated[i], b.phase_allocated[i]);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.trained_parameters, b.trained_parameters);
  expect_same_host(a, b);
  EXPECT_EQ(a.has_estimates, b.has_estimates);
  EXPECT_EQ(a.step_work, b.step_work);
}

// What is alive at some moments is told alike by both functions that tell owners.
void expect_owners_agree(const TrainingTrace& trace) {
  const std::vector<Owner> owners = owners_of(trace);
  std::vector<std::size_t> births(trace.events.size());
  PartBytes sum{};
  for (std::size_t i = 0; i < trace.events.size(); ++i) {
    const AllocationEvent& event = trace.events[i];
    if (event.kind == EventKind::kAllocate) births[event.id] = i;
    if (event.kind == EventKind::kAllocate || event.kind == EventKind::kFree) {
      const std::size_t birth = births[event.id];
      const std::int64_t bytes = rounded_block_bytes({}, trace.events[birth].bytes);
      sum[static_cast<std::size_t>(owners[birth])] += Bytes(i == birth ? bytes : -bytes);
    }
    if (i % (trace.events.size() / 7 + 1) != 0) continue;
    EXPECT_EQ(owned_after(trace, i, {}), sum) << "after event " << i;
  }
}

struct Repeats {
  int layers_and_steps = 0;
  int passes = 0;
  int unwritten = 0;
};

// A trace that leaves out the events of what is repeated, against `whole`. Whether it left out any.
bool compare_unwritten(const TrainingTrace& whole, const ModelConfig& model, TrainingSettings settings,
                       const tape::Hardware& hardware) {
  settings.writes_repeats = false;
  const auto shorter = trace_training(model, settings, hardware);
  EXPECT_TRUE(shorter.ok());
  if (!shorter.ok()) return false;
  EXPECT_EQ(shorter->step_work, whole.step_work);
  EXPECT_EQ(shorter->first_pass, whole.first_pass);
  EXPECT_EQ(shorter->last_pass, whole.last_pass);
  EXPECT_EQ(least_reserved(shorter->events), least_reserved(whole.events));
  for (const bool expandable : {false, true}) {
    const AllocatorOptions options{.expandable_segments = expandable};
    const std::int64_t reserved = replay(whole.events, options).reserved.bytes;
    for (const std::int64_t most : {reserved, reserved - 1, reserved / 2})
      EXPECT_EQ(reserved_within(shorter->events, options, most, shorter->repeats.events),
                most == reserved ? std::optional(reserved) : std::nullopt);
  }
  return shorter->events.size() < whole.events.size();
}

// Whether the run is one that is modelled; if so, both ways must agree.
bool compare(const ModelConfig& model, const TrainingSettings& settings, const TrainingCard& card, Repeats& repeated) {
  TrainingSettings really = settings;
  really.repeats = false;
  const auto plain = trace_training(model, really, card.hardware);
  const auto fast = trace_training(model, settings, card.hardware);
  EXPECT_EQ(plain.ok(), fast.ok());
  if (!plain.ok() || !fast.ok()) return false;
  std::vector<AllocationId> names;
  const testing::AssertionResult same = are_same(plain->events, fast->events, names);
  EXPECT_TRUE(same);
  if (!same) return true;
  std::vector<AllocationId> workspaces;
  for (const AllocationId id : plain->workspaces) workspaces.push_back(names[id]);
  EXPECT_EQ(workspaces, fast->workspaces);
  EXPECT_EQ(plain->gathered, fast->gathered);
  EXPECT_EQ(plain->buckets, fast->buckets);
  EXPECT_EQ(plain->repeats.layers + plain->repeats.steps + plain->repeats.passes, 0);
  EXPECT_EQ(owners_of(*plain), owners_of(*fast));
  expect_owners_agree(*fast);
  expect_same(*estimate_training(model, really, card), *estimate_training(model, settings, card));
  repeated.layers_and_steps += fast->repeats.layers > 0 && fast->repeats.steps > 0 ? 1 : 0;
  repeated.passes += fast->repeats.passes > 0 ? 1 : 0;
  repeated.unwritten += compare_unwritten(*plain, model, settings, card.hardware) ? 1 : 0;
  return true;
}

/// So many drawn runs that are modelled, and more where few of them repeat layers and steps.
Repeats compare_drawn(int wanted, TrainingSettings (*draw)(Random&)) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  fmt::print("seed {}\n", seed);
  Random random(seed);
  int compared = 0;
  Repeats repeated;
  const auto are_few = [&] { return repeated.layers_and_steps <= wanted / 10 || repeated.passes == 0; };
  while (compared < wanted || (are_few() && compared < 4 * wanted)) {
    std::string name;
    const ModelConfig model = draw_model(random, name);
    TrainingSettings settings = draw(random);
    if (model.architecture.max_positions > 0)
      settings.seq_len = std::min(settings.seq_len, model.architecture.max_positions);
    const int capability = one_of(random, {75, 80, 86, 90, 100, 120});
    const TrainingCard card{.hardware = tape::Hardware::of(capability, 82), .total = {}};
    SCOPED_TRACE(name + ", " + described(settings) + ", on " + std::to_string(capability));
    compared += compare(model, settings, card, repeated) ? 1 : 0;
    if (testing::Test::HasFailure()) break;
  }
  return repeated;
}

TEST(RepeatedTraining, IsTheSameAsRunningEverything) {
  const int wanted = 40;
  const Repeats repeated = compare_drawn(wanted, draw_settings);
  EXPECT_GT(repeated.layers_and_steps, wanted / 10);
  EXPECT_GT(repeated.passes, 0);
  EXPECT_GT(repeated.unwritten, 0);
}

TrainingSettings draw_settings_with_hooks(Random& random) {
  TrainingSettings settings = draw_settings(random);
  settings.lora = {};
  settings.quantization = Quantization::kNone;
  ParallelOptions& parallel = settings.parallel;
  parallel = {.kind = one_of(random, {Parallel::kDataParallel, Parallel::kDeepSpeed, Parallel::kDeepSpeed}),
              .ranks = one_of(random, {1, 2, 5, 8})};
  if (parallel.kind == Parallel::kDataParallel) {
    parallel.ranks = 4;
    parallel.gradients_are_views = happens(random, 2);
    parallel.shares_states = happens(random, 2);
    return settings;
  }
  settings.precision = one_of(random, {TrainingPrecision::kFp32, TrainingPrecision::kBf16, TrainingPrecision::kFp16});
  settings.optimizer = one_of(random, {TrainingOptimizer::kAdamWFused, TrainingOptimizer::kAdamW});
  settings.loss = LossKind::kWhole;
  tape::DeepSpeedOptions& zero = parallel.deepspeed;
  zero.stage = parallel.ranks > 1 ? one_of(random, {1, 2, 3}) : 2;
  zero.rank = static_cast<int>(random() % static_cast<unsigned>(parallel.ranks));
  zero.reduce_bucket_size = one_of<std::int64_t>(random, {1000, 300'000, 5'000'000, 50'000'000, 500'000'000});
  zero.overlaps = happens(random, 2);
  zero.round_robin = happens(random, 3);
  zero.reduces_to_owner = !happens(random, 3);
  zero.reduces_at_once = happens(random, 2);
  zero.zero3.prefetch_bucket_size = one_of<std::int64_t>(random, {0, 100'000, 50'000'000});
  zero.zero3.persistence_threshold = one_of<std::int64_t>(random, {0, 1000, 100'000});
  zero.zero3.max_reuse_distance = one_of<std::int64_t>(random, {0, 20'000'000, 1'000'000'000});
  return settings;
}

// Of a bucket, a layer's gradients may be the first, the last, or all between.
TEST(RepeatedTraining, HooksOfGradientsRunForEveryLayer) {
  const int wanted = 30;
  const Repeats repeated = compare_drawn(wanted, draw_settings_with_hooks);
  EXPECT_GT(repeated.layers_and_steps, wanted / 10);
}

TEST(RepeatedTraining, OneStepAndThreeLayersAreReallyRun) {
  const ModelConfig model = parse_model_config(find_model("meta-llama/Llama-3.1-8B")->config, "config").value();
  for (const int checkpointed : {0, kAllLayers}) {
    // Liger's loss leaves the first product of the backward pass, and so its thread's workspace, to the last layer.
    for (const LossKind loss : {LossKind::kWhole, LossKind::kLiger}) {
      const TrainingSettings settings{.checkpointing = {.layers = checkpointed}, .loss = loss};
      const auto trace = trace_training(model, settings, tape::Hardware::of(90, 132));
      EXPECT_EQ(trace->repeats.layers, 2 * 29);
      EXPECT_EQ(trace->repeats.steps, 1);
    }
  }
}

// It records the first pass and looks at that in the second; the step gathers anew what stays whole.
TEST(RepeatedTraining, PassesAndStepsOfZero3AreRepeatedOnceItHasRecorded) {
  const ModelConfig model = parse_model_config(find_model("Qwen/Qwen2.5-0.5B")->config, "config").value();
  const TrainingCard card{.hardware = tape::Hardware::of(90, 132), .total = {}};
  for (const bool overlaps : {false, true}) {
    for (const std::int64_t tokens : {100, 700}) {
      TrainingSettings settings{.seq_len = tokens, .gradient_accumulation_steps = 9};
      settings.parallel = {.kind = Parallel::kDeepSpeed, .ranks = 4, .deepspeed = {.stage = 3, .overlaps = overlaps}};
      const auto trace = trace_training(model, settings, card.hardware);
      EXPECT_EQ(trace->repeats.steps, 1);
      EXPECT_GE(trace->repeats.passes, 6);  // what the record of the first step finds may not be there in the second
      Repeats repeated;
      EXPECT_TRUE(compare(model, settings, card, repeated));
    }
  }
}

}  // namespace
}  // namespace vramwise
