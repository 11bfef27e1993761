// tape_models: trains models on a tape and prints the allocations of the first steps; model_side.py does the same with
// transformers.
//
//   tape_models 86 82 < runs.json

#include <iostream>
#include <memory>
#include <optional>

#include "allocator/replay.h"
#include "estimate/deepspeed_config.h"
#include "estimate/optimizer_choice.h"
#include "estimate/tune_recipe.h"
#include "models/config.h"
#include "models/parallel_model.h"
#include "models/torchtune/config.h"
#include "op_table.h"
#include "support.h"
#include "tape/engine.h"
#include "tape/optim/grad_scaler.h"
#include "tape/transforms/autocast.h"

namespace vramwise::tape {
namespace {

// A run's configuration; one that isn't read ends the program.
ModelConfig config_of(const Json& run) {
  Result<ModelConfig> config = parse_model_config(run.at("config").dump(), "config");
  VRAMWISE_CHECK_THAT(config.ok(), config.error().what);
  return std::move(config).value();
}

// The tensors of a batch; where the run lists those of the other side, they must be the same.
std::vector<BatchTensor> inputs_of(const Model& model, const Json& run) {
  const BatchSize defaults;
  const std::vector<BatchTensor> inputs =
      model.inputs({.samples = run.at("batch").get<std::int64_t>(),
                    .tokens = run.value("length", defaults.tokens),
                    .target_tokens = run.value("target_length", defaults.target_tokens),
                    .image_size = run.value("image_size", defaults.image_size)});
  if (!run.contains("inputs")) return inputs;
  VRAMWISE_CHECK(inputs.size() == run.at("inputs").size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Json& other = run.at("inputs").at(i);
    const std::vector<std::int64_t> sizes(inputs[i].sizes.begin(), inputs[i].sizes.end());
    VRAMWISE_CHECK_THAT(other.at("name") == inputs[i].name, inputs[i].name);
    VRAMWISE_CHECK_THAT(other.at("size") == Json(sizes), inputs[i].name);
    VRAMWISE_CHECK_THAT(dtype_named(other.at("dtype")) == inputs[i].type, inputs[i].name);
  }
  return inputs;
}

// The names of a training loop, here in `batch`, keep their tensors until they get the next ones.
void run_passes(Tape& tape, ParallelModel& model, const Json& run, const std::vector<BatchTensor>& inputs, Batch& batch,
                GradScaler* scaler) {
  const int passes = run.value("accumulate", 1);
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t i = 0; i < inputs.size(); ++i) batch[i] = tape.empty(inputs[i].sizes, inputs[i].type);
    Tensor loss;
    {
      std::optional<Autocast> autocast;
      if (run.contains("autocast")) autocast.emplace(tape, dtype_named(run.at("autocast")));
      loss = model.loss(batch, pass + 1 == passes);
    }
    if (DeepSpeedEngine* engine = model.engine()) {
      engine->backward(loss, pass + 1 == passes);
    } else {
      backward(scaler != nullptr ? scaler->scale(loss) : loss);
    }
  }
}

std::unique_ptr<Optimizer> optimizer_of(const Json& described, const ParallelModel& model) {
  if (described.at("name") == "muon") return vramwise::make_optimizer(TrainingOptimizer::kMuon, model.optimized());
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  for (const auto& group : by_mesh(model.optimized())) {
    std::vector<Tensor> parameters;
    parameters.reserve(group.size());
    for (const NamedParameter& parameter : group) parameters.push_back(parameter.tensor);
    optimizers.push_back(make_optimizer(described, std::move(parameters)));
  }
  return optimizers.size() == 1 ? std::move(optimizers.front()) : one_after_another(std::move(optimizers));
}

Quantization quantization_named(const std::string& name) {
  if (name == "nf4") return Quantization::kNf4;
  return name == "nf4-double" ? Quantization::kNf4Double : Quantization::kNone;
}

// "checkpoint": true for every layer, or how many of the first ones; "every": n for the n-th, 2n-th, … of all.
Checkpointing checkpointing_of(const Json& run) {
  const Json described = run.value("checkpoint", Json(false));
  const int all = described == true ? kAllLayers : 0;
  return {.layers = described.is_boolean() ? all : described.get<int>(),
          .every = run.value("every", 1),
          .is_selective = run.value("selective", false)};
}

LossKind loss_of(const Json& run) {
  if (run.value("chunked", false)) return LossKind::kChunked;
  return run.value("liger", false) ? LossKind::kLiger : LossKind::kWhole;
}

// Of deepspeed the "rank", and the "config" of a file.
DeepSpeedOptions deepspeed_options(const Json& described) {
  if (!described.contains("config")) return {};
  Result<DeepSpeedConfig> config = parse_deepspeed_config(described.at("config").dump(), "config");
  VRAMWISE_CHECK_THAT(config.ok(), config.error().what);
  DeepSpeedOptions options = config->options;
  options.rank = described.at("rank").get<int>();
  options.passes = config->passes.value_or(1);
  options.clips = config->clips.value_or(false);
  options.card_bytes = described.value("card_bytes", std::int64_t{0});
  return options;
}

// {"kind": "ddp" | "fsdp" | "deepspeed", "ranks", "views"?, "keeps"?: not resharded after the forward pass, "stored"?,
// "reduced"?}
ParallelOptions parallel_options(const Json& run) {
  if (!run.contains("parallel")) return {};
  const Json& described = run.at("parallel");
  const DType type = dtype_named(run.at("dtype"));
  const auto named = [&](const char* key) { return described.contains(key) ? dtype_named(described.at(key)) : type; };
  const std::string kind = described.at("kind");
  return {.kind = kind == "ddp"         ? Parallel::kDataParallel
                  : kind == "fsdp"      ? Parallel::kFullyShard
                  : kind == "deepspeed" ? Parallel::kDeepSpeed
                                        : Parallel::kTensor,
          .ranks = described.at("ranks").get<int>(),
          .gradients_are_views = described.value("views", false),
          .shares_states = described.value("zero", false),
          .reshards_after_forward = !described.value("keeps", false),
          .offloads = described.value("offload", false),
          .stored = named("stored"),
          .reduced = named("reduced"),
          .deepspeed = deepspeed_options(described)};
}

// The allocations up to the end of the last step, while model and optimizer are still there.
struct Trained {
  EventList events;
  Json estimated;  // the numbers of those whose size is an estimate
  std::int64_t pinned_bytes = 0;
};

// "recipe": full_finetune_single_device of torchtune, up to the checkpoint that it saves.
Trained train_by_recipe(Tape& tape, const Json& run) {
  const Result<TuneModel> tuned = parse_tune_model(run.at("config").dump(), "config");
  VRAMWISE_CHECK_THAT(tuned.ok(), tuned.error().what);
  TrainingSettings settings;
  settings.micro_batch = run.at("batch").get<std::int64_t>();
  settings.seq_len = run.at("length").get<std::int64_t>();
  settings.gradient_accumulation_steps = run.value("accumulate", 1);
  const ForwardOptions options{
      .checkpointing = checkpointing_of(run), .uses_cache = false, .loss = loss_of(run), .loss_mark = {}};
  const auto model = tuned->model.architecture.make(tape, dtype_named(run.at("dtype")), options);
  std::unique_ptr<Optimizer> optimizer = make_optimizer(run.at("optimizer"), model->parameters());
  TuneRecipe recipe(tape, *model, settings);
  for (int step = 0; step < run.at("steps").get<int>(); ++step) {
    for (std::int64_t pass = 0; pass < settings.gradient_accumulation_steps; ++pass) recipe.pass();
    recipe.update(*optimizer);
  }
  recipe.save();
  return {tape.take_events(), Json::array(), 0};
}

Trained train(Tape& tape, const Json& run) {
  if (run.contains("recipe")) return train_by_recipe(tape, run);
  LoraOptions lora;
  if (run.contains("lora")) {
    lora.rank = run.at("lora").at("rank").get<std::int64_t>();
    lora.dropout = run.at("lora").value("dropout", 0.0);
    lora.targets = run.at("lora").at("targets").get<std::vector<std::string>>();
    lora.uses_dora = run.at("lora").value("dora", false);
    lora.modules_to_save = run.at("lora").value("save", std::vector<std::string>());
  }
  const ForwardOptions options{
      .attention = run.value("attention", "sdpa") == std::string("eager") ? Attention::kEager : Attention::kSdpa,
      .checkpointing = checkpointing_of(run),
      .loss = loss_of(run),
      .lora = lora,
      .quantization = quantization_named(run.value("quantize", "none")),
      .loss_mark = {}};
  ParallelModel model(tape, config_of(run).architecture, dtype_named(run.at("dtype")), options, parallel_options(run));
  const ParallelOptions parallel = parallel_options(run);
  std::unique_ptr<Optimizer> optimizer =
      parallel.offloads ? on_host(model.parameters(), 0) : optimizer_of(run.at("optimizer"), model);
  if (model.engine() != nullptr && model.engine()->has_fused_adam()) optimizer = model.engine()->make_fused_adam();
  if (parallel.shares_states) optimizer = zero_redundancy(std::move(optimizer));
  GradScaler scaler(model.has_shards());
  const bool scales = run.value("scaler", false);
  const std::vector<BatchTensor> inputs = inputs_of(model.model(), run);
  Batch batch(inputs.size());
  for (int step = 0; step < run.at("steps").get<int>(); ++step) {
    run_passes(tape, model, run, inputs, batch, scales ? &scaler : nullptr);
    if (DeepSpeedEngine* engine = model.engine()) {
      engine->step(*optimizer);
      continue;
    }
    if (run.value("clip", false) && !parallel.offloads) {
      if (scales) scaler.unscale(*optimizer);
      model.clip_gradients();
    }
    scales ? scaler.step(*optimizer) : optimizer->step();
    if (scales) scaler.update();
    for (const Tensor& parameter : model.parameters()) parameter.set_grad({});
  }
  Json estimated = numbers_of(tape.events(), tape.estimates());
  const std::int64_t pinned_bytes = parallel.offloads ? tape.pinned_memory().held_bytes() : 0;
  return {tape.take_events(), std::move(estimated), pinned_bytes};
}

}  // namespace
}  // namespace vramwise::tape

int main(int argc, char** argv) {
  using namespace vramwise;
  using namespace vramwise::tape;
  if (argc != 3) {
    std::cerr << "usage: tape_models CAPABILITY SM_COUNT < runs.json\n";
    return 2;
  }
  std::cout << "[";
  const char* separator = "";
  for (const auto& run : Json::parse(std::cin)) {
    Tape tape(Hardware::of(std::stoi(argv[1]), std::stoi(argv[2])));
    const auto [events, estimated, pinned_bytes] = train(tape, run);
    const Replay peaks = replay(events);
    const Json result = {{"events", numbered(events)},
                         {"estimated", estimated},
                         {"allocated", peaks.allocated.bytes},
                         {"reserved", peaks.reserved.bytes},
                         {"pinned", pinned_bytes}};
    std::cout << separator << result.dump();
    separator = ",\n";
  }
  std::cout << "]\n";
  return 0;
}
