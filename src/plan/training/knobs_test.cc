#include "plan/training/knobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "estimate/deepspeed_config.h"
#include "plan/training/documents.h"
#include "plan/training/space.h"

namespace vramwise {
namespace {

constexpr Trainer kSearched[] = {Trainer::kTransformers, Trainer::kAccelerate, Trainer::kFsdp2, Trainer::kDeepSpeed,
                                 Trainer::kTorchtune};

constexpr const char* kLlama =
    R"({"model_type": "llama", "vocab_size": 2000, "hidden_size": 256, "num_hidden_layers": 3,
  "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 704, "max_position_embeddings": 4096})";

ModelConfig llama() { return parse_model_config(kLlama, "test").value(); }

TrainingConfiguration start(std::int64_t seq_len) {
  TrainingConfiguration c;
  c.settings.seq_len = seq_len;
  c.settings.optimizer = TrainingOptimizer::kAdamWFused;
  c.settings.checkpointing.layers = 2;
  return c;
}

using Figures = std::array<Bytes, 3 + kTrainingPhases>;

Result<Figures> figures_of(const TrainingConfiguration& c) {
  const TrainingCard card{.hardware = tape::Hardware::of(90, 132), .total = {}};
  VRAMWISE_ASSIGN_OR_RETURN(const TrainingEstimate e, estimate_training(llama(), c.settings, card, c.allocator));
  Figures figures = {e.allocated, e.reserved, e.host_managed};
  std::copy(std::begin(e.phase_allocated), std::end(e.phase_allocated), figures.begin() + 3);
  return figures;
}

// Each value of each knob, switched alone, changes some figure of the estimate, or is refused.
TEST(Knobs, EachValueAloneChangesTheEstimate) {
  for (const Knob& knob : training_knobs()) {
    for (const KnobValue& value : knob.values) {
      TrainingConfiguration plain = start(512);
      if (knob.is_for_several_cards) plain.settings.parallel.ranks = 4;
      knob.values.front().set(plain);
      if (value_of(knob, plain) == nullptr) {  // something of DeepSpeed's
        plain.settings.parallel = {.kind = Parallel::kDeepSpeed, .ranks = 4};
        knob.values.front().set(plain);
      }
      if (value.holds(plain)) continue;
      TrainingConfiguration changed = plain;
      value.set(changed);
      EXPECT_TRUE(value.holds(changed)) << knob.name << ": " << value.name;
      EXPECT_FALSE(knob.values.front().holds(changed)) << knob.name << ": " << value.name;
      const Result<Figures> before = figures_of(plain), after = figures_of(changed);
      if (before.ok() && after.ok()) {
        EXPECT_NE(*before, *after) << knob.name << ": " << value.name;
      } else {
        EXPECT_FALSE((before.ok() ? after : before).error().what.empty());
      }
    }
  }
}

TEST(Knobs, NumbersChangeTheEstimate) {
  const Figures before = figures_of(start(512)).value();
  TrainingConfiguration c = start(512);
  c.settings.micro_batch = 2;
  EXPECT_NE(figures_of(c).value(), before);
  c = start(512);
  c.settings.gradient_accumulation_steps = 2;
  EXPECT_NE(figures_of(c).value(), before);
  c = start(512);
  c.settings.checkpointing.layers = 1;
  EXPECT_NE(figures_of(c).value(), before);
  EXPECT_NE(figures_of(start(256)).value(), before);
}

std::string all_text(const Told& told) {
  std::string all;
  for (const Document& document : documents_of(told)) all += document.text;
  return all;
}

TEST(Knobs, AKnobOfATrainerHasWordsForEveryValueThatItCanTake) {
  for (const Trainer trainer : kSearched) {
    for (const Knob& knob : training_knobs()) {
      for (const KnobValue& value : knob.values) {
        if (!can_take(trainer, knob, value.name)) continue;
        Told told{.trainer = trainer, .configuration = start(512), .model = "a/model", .cards = 4};
        told.configuration.settings.parallel.ranks = 4;
        for (const Knob& other : training_knobs()) {
          for (const KnobValue& plain : other.values) {
            if (!can_take(trainer, other, plain.name)) continue;
            plain.set(told.configuration);
            break;
          }
        }
        const std::string before = all_text(told);
        const bool is_plain = value.holds(told.configuration);
        value.set(told.configuration);
        const std::string all = all_text(told);
        EXPECT_THAT(all, ::testing::Not(::testing::HasSubstr("@"))) << trainer_name(trainer) << ", " << knob.name;
        EXPECT_THAT(all, ::testing::Not(::testing::HasSubstr("{}"))) << trainer_name(trainer) << ", " << knob.name;
        EXPECT_EQ(before == all, is_plain) << trainer_name(trainer) << ", " << knob.name << ": " << value.name;
      }
    }
  }
}

/// Configurations that plans for this trainer on so many cards can have, as far as the words tell them apart.
std::vector<TrainingConfiguration> plannable(Trainer trainer, int cards) {
  std::vector<TrainingConfiguration> all;
  for (const Checkpointing& checkpointing :
       {Checkpointing{}, Checkpointing{.layers = kAllLayers}, Checkpointing{.layers = 2},
        Checkpointing{.layers = kAllLayers, .every = 2}}) {
    TrainingConfiguration c = start(512);
    c.settings.parallel.ranks = cards;
    c.settings.checkpointing = checkpointing;
    all.push_back(c);
  }
  for (const Knob& knob : training_knobs()) {
    if (!concerns(trainer, knob, cards)) continue;
    std::vector<TrainingConfiguration> product;
    for (const TrainingConfiguration& each : all)
      for (const KnobValue& value : knob.values)
        if (can_take(trainer, knob, value.name)) value.set(product.emplace_back(each));
    if (!product.empty()) all = std::move(product);
  }
  std::erase_if(all, [&](const TrainingConfiguration& c) {
    return conflict(trainer, c) != nullptr ||
           (c.settings.checkpointing.every > 1 && c.settings.checkpointing.is_selective);
  });
  return all;
}

TEST(Words, ARowIsOneThatSomePlanPrints) {
  std::set<const Words*> printed;
  for (const Trainer trainer : kSearched)
    for (const int cards : {1, 4})
      for (const TrainingConfiguration& c : plannable(trainer, cards))
        for (const Knob& knob : training_knobs())
          for (const Words* words : words_for(trainer, knob.name, setting_of(knob, c).value)) printed.insert(words);
  for (const Words& words : all_words()) {
    if ((words.trainers & ~only(Trainer::kOwn)) == 0) continue;
    EXPECT_TRUE(printed.contains(&words)) << words.knob << ": " << words.text;
  }
}

// Gradients of float16 weights cannot be unscaled (torch.amp.GradScaler), so nobody trains them.
// DeepSpeed's engine scales by itself.
TEST(Words, NoTrainerOfPythonTakesFloat16Weights) {
  EXPECT_TRUE(can_take(Trainer::kDeepSpeed, *find_knob("precision"), "fp16"));
  EXPECT_EQ(no_words(Trainer::kDeepSpeed, *find_knob("precision"), "bf16-mixed").code, ErrorCode::kIncomplete);
  for (const Trainer trainer : {Trainer::kTransformers, Trainer::kAccelerate, Trainer::kFsdp2}) {
    EXPECT_FALSE(can_take(trainer, *find_knob("precision"), "fp16")) << trainer_name(trainer);
    EXPECT_THAT(no_words(trainer, *find_knob("precision"), "fp16").what, ::testing::HasSubstr("without loss scaling"));
  }
  EXPECT_TRUE(can_take(Trainer::kFsdp2, *find_knob("precision"), "fp16-mixed"));
}

TEST(Words, TheTableHasWordsForWhatIsRecomputed) {
  const std::string table = knob_table();
  const std::string row = table.substr(table.find("| recomputed |"));
  EXPECT_THAT(row.substr(0, row.find('\n')), ::testing::HasSubstr("context_fn"));
}

TEST(Knobs, AllowNamesOnlyWhatTheTrainerCanTurn) {
  EXPECT_THAT(allow_names(Trainer::kTransformers),
              ::testing::UnorderedElementsAre("8bit_adam", "precision", "lora", "seq_len"));
  EXPECT_THAT(allow_names(Trainer::kDeepSpeed), ::testing::UnorderedElementsAre("precision", "seq_len"));
  EXPECT_THAT(allow_names(Trainer::kOwn), ::testing::UnorderedElementsAre("precision", "seq_len"));
  for (const std::string& name : trainer_names()) EXPECT_EQ(trainer_name(parse_trainer(name).value()), name);
  EXPECT_FALSE(parse_trainer("somebody").ok());
}

TEST(Documents, NameTheFolderOfAConfiguration) {
  Told told{.configuration = start(512), .model = "models/mine/config.json"};
  EXPECT_THAT(documents_of(told)[0].text, ::testing::HasSubstr("\"models/mine\",\n"));
  told.model = "config.json";
  EXPECT_THAT(documents_of(told)[0].text, ::testing::HasSubstr("\".\",\n"));
}

// The form only: what a plan says stands where the trainer looks for it.
TEST(Documents, OfTransformers) {
  Told told{.configuration = start(2048), .model = "a/model", .cards = 2};
  told.configuration.settings.micro_batch = 4;
  told.configuration.settings.gradient_accumulation_steps = 2;
  told.configuration.settings.parallel = {.kind = Parallel::kDataParallel, .ranks = 2};
  told.configuration.allocator.expandable_segments = true;
  const std::vector<Document> documents = documents_of(told);
  ASSERT_EQ(documents.size(), 2);
  EXPECT_EQ(documents[0].name, "train.py");
  EXPECT_EQ(documents[0].text, R"(import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers.modeling_layers import GradientCheckpointingLayer

model = AutoModelForCausalLM.from_pretrained(
    "a/model",
    use_cache=False,
    attn_implementation="sdpa",
    dtype=torch.bfloat16,
)
enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
enable()
for layer in [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)][2:]:
    layer.gradient_checkpointing = False
arguments = TrainingArguments(
    output_dir="out",
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    optim="adamw_torch_fused",
    ddp_find_unused_parameters=False,
)
# dataset: rows of 2048 tokens, with labels
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=dataset,
)
trainer.train()
trainer.save_model()
)");
  EXPECT_EQ(documents[1].text,
            "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True torchrun --nproc_per_node 2 train.py\n");
}

/// What the documents say to DeepSpeed, by our own reader.
DeepSpeedConfig engine_of(const Told& told) {
  for (const Document& document : documents_of(told))
    if (document.name == "ds_config.json") return parse_deepspeed_config(document.text, document.name).value();
  return {};
}

TEST(Documents, OfDeepSpeedSayTheSettingsToItsReader) {
  for (const int cards : {1, 4}) {
    for (TrainingConfiguration& c : plannable(Trainer::kDeepSpeed, cards)) {
      c.settings.micro_batch = 3;
      c.settings.gradient_accumulation_steps = 5;
      const TrainingSettings& s = c.settings;
      const Told told{.trainer = Trainer::kDeepSpeed, .configuration = c, .model = "a/model", .cards = cards};
      const DeepSpeedConfig config = engine_of(told);
      EXPECT_EQ(config.options.stage, s.parallel.deepspeed.stage);
      EXPECT_EQ(config.options.reduce_bucket_size, s.parallel.deepspeed.reduce_bucket_size);
      EXPECT_EQ(config.options.overlaps, s.parallel.deepspeed.overlaps);
      const tape::Zero3Options& told_sizes = config.options.zero3;
      const tape::Zero3Options& planned_sizes = s.parallel.deepspeed.zero3;
      EXPECT_EQ(told_sizes.prefetch_bucket_size, planned_sizes.prefetch_bucket_size);
      EXPECT_EQ(told_sizes.persistence_threshold, planned_sizes.persistence_threshold);
      EXPECT_EQ(told_sizes.max_live_parameters, planned_sizes.max_live_parameters);
      EXPECT_EQ(told_sizes.max_reuse_distance, planned_sizes.max_reuse_distance);
      EXPECT_FALSE(config.options.has_fused_adam);
      EXPECT_EQ(config.optimizer, s.optimizer);
      EXPECT_EQ(config.micro_batch, 3);
      EXPECT_EQ(config.passes, 5);
      EXPECT_FALSE(config.clips || config.train_batch);  // "auto": the Trainer's, which clips
      const tape::DType computed = s.precision == TrainingPrecision::kFp32   ? tape::DType::kFloat32
                                   : s.precision == TrainingPrecision::kBf16 ? tape::DType::kBFloat16
                                                                             : tape::DType::kFloat16;
      EXPECT_EQ(config.computed, computed);
    }
  }
}

TEST(Documents, OfDeepSpeed) {
  Told told{.trainer = Trainer::kDeepSpeed, .configuration = start(2048), .model = "a/model", .cards = 1};
  told.configuration.settings.checkpointing = {};
  told.configuration.settings.parallel.kind = Parallel::kDeepSpeed;
  const std::vector<Document> documents = documents_of(told);
  ASSERT_EQ(documents.size(), 3);
  EXPECT_EQ(documents[0].text, R"(import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

arguments = TrainingArguments(
    output_dir="out",
    deepspeed="ds_config.json",
    per_device_train_batch_size=1,
    gradient_accumulation_steps=1,
    bf16=True,
)
model = AutoModelForCausalLM.from_pretrained(
    "a/model",
    use_cache=False,
    attn_implementation="sdpa",
    dtype=torch.bfloat16,
)
# dataset: rows of 2048 tokens, with labels
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=dataset,
)
trainer.train()
trainer.save_model()
)");
  EXPECT_EQ(documents[1].name, "ds_config.json");
  EXPECT_EQ(documents[2].text, "deepspeed --num_gpus 1 train.py\n");
}

}  // namespace
}  // namespace vramwise
