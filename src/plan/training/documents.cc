// Templates with slots: a line that is only "@place" becomes the words for that place, each on a line of its own with
// the slot's indentation, or goes away where there are none; elsewhere "@place" becomes them with commas between.
#include "plan/training/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "base/text.h"

namespace vramwise {
namespace {

using Slots = std::map<std::string, std::vector<std::string>>;

struct Template {
  Trainer trainer;
  const char* name;
  const char* text;
};

constexpr Template kTemplates[] = {
    {Trainer::kTransformers, "train.py", R"(import torch
from transformers import @class, Trainer, TrainingArguments
@import

model = @class.from_pretrained(
    "@model",
    use_cache=False,
    @model_argument
)
@model_code
@layers
@optimizer
arguments = TrainingArguments(
    output_dir="out",
    @argument
)
# dataset: rows of @length tokens, with labels
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=dataset,
    @trainer
)
trainer.train()
trainer.save_model()
)"},
    {Trainer::kAccelerate, "train.py", R"(import torch
from accelerate import Accelerator
from transformers import @class
@import

accelerator = Accelerator(
    @argument
)
model = @class.from_pretrained(
    "@model",
    @model_argument
)
@model_code
@layers
@optimizer
# dataset: rows of @length tokens, with labels, as tensors
loader = torch.utils.data.DataLoader(dataset, shuffle=True, @loader)
@prepare
@prepared
model.train()
for batch in loader:
    with accelerator.accumulate(model):
        loss = model(**batch, use_cache=False@call).loss
        accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
accelerator.unwrap_model(model).save_pretrained("out", is_main_process=accelerator.is_main_process)
)"},
    {Trainer::kAccelerate, "accelerate.yaml", R"(compute_environment: LOCAL_MACHINE
@accelerate
num_machines: 1
num_processes: @cards
)"},
    {Trainer::kFsdp2, "train.py", R"(import os

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import @class
from transformers.modeling_layers import GradientCheckpointingLayer
@import

torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("@backend")
model = @class.from_pretrained(
    "@model",
    @model_argument
)
model.train()
@model_code
@layers
sharded = dict(
    mesh=init_device_mesh("cuda", (dist.get_world_size(),)),
    @policy
)
for layer in [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]:
    fully_shard(layer, @shard, **sharded)
fully_shard(model, **sharded)
@optimizer
# dataset: rows of @length tokens, with labels, as tensors
sampler = torch.utils.data.DistributedSampler(dataset)
loader = torch.utils.data.DataLoader(dataset, @loader, sampler=sampler)
accumulation = @loop
for number, batch in enumerate(loader, start=1):
    batch = {name: tensor.cuda() for name, tensor in batch.items()}
    loss = model(**batch, use_cache=False@call).loss
    @backward
    if number % accumulation == 0:
        @unscale
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        @step
        optimizer.zero_grad()
weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
if dist.get_rank() == 0:
    model.save_pretrained("out", state_dict=weights)
dist.destroy_process_group()
)"},
    // from_pretrained() looks whether there are arguments that name ZeRO-3, and shares weights out as it makes them.
    {Trainer::kDeepSpeed, "train.py", R"(import torch
from transformers import @class, Trainer, TrainingArguments
@import

arguments = TrainingArguments(
    output_dir="out",
    deepspeed="ds_config.json",
    @argument
)
model = @class.from_pretrained(
    "@model",
    use_cache=False,
    @model_argument
)
@model_code
@layers
# dataset: rows of @length tokens, with labels
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=dataset,
)
trainer.train()
trainer.save_model()
)"},
    {Trainer::kDeepSpeed, "ds_config.json", R"({
  @engine
  "zero_optimization": {
    @zero
  },
  "optimizer": {
    "type": "AdamW",
    "params": {
      "torch_adam": true,
      @adam
      "lr": "auto",
      "betas": "auto",
      "eps": "auto",
      "weight_decay": "auto"
    }
  },
  "gradient_clipping": "auto",
  "train_batch_size": "auto"
}
)"},
    {Trainer::kTorchtune, "recipe.yaml", R"(model: {_component_: @builder, @arguments}@unsaid
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
  checkpoint_dir: @model  # a folder, in which output_dir does not lie
  checkpoint_files: [model.safetensors]  # all that are there
  model_type: @checkpoint
  output_dir: ${output_dir}
resume_from_checkpoint: False
tokenizer: {@tokenizer, @length}  # takes @tokenizer_files of the checkpoint's folder
dataset: {_component_: torchtune.datasets.alpaca_dataset, packed: False}  # or another, of rows up to max_seq_len tokens
seed: null
shuffle: True
epochs: 1
max_steps_per_epoch: null
@recipe
optimizer_in_bwd: False
clip_grad_norm: null
compile: False
device: cuda
enable_activation_offloading: False
output_dir: out
metric_logger: {_component_: torchtune.training.metric_logging.DiskLogger, log_dir: "${output_dir}/logs"}
log_every_n_steps: 1
log_peak_memory_stats: True
)"},
    {Trainer::kTransformers, "command", "@environment @launch\n"},
    {Trainer::kAccelerate, "command", "@environment accelerate launch --config_file accelerate.yaml train.py\n"},
    {Trainer::kDeepSpeed, "command", "@environment @launch\n"},
    {Trainer::kTorchtune, "command", "@environment tune run full_finetune_single_device --config recipe.yaml\n"},
    {Trainer::kFsdp2, "command", "@environment torchrun --nproc_per_node @cards train.py\n"},
};

struct Usual {
  Place place;
  const char* text;
};

/// What stands where no knob says another thing.
constexpr Usual kUsual[] = {
    {Place::kLaunch, "python train.py"},
    {Place::kPrepare, "model, optimizer, loader = accelerator.prepare(model, optimizer, loader)"},
    {Place::kBackend, "nccl"},
    {Place::kBackward, "(loss / accumulation).backward()"},
    {Place::kStep, "optimizer.step()"},
};

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& each : words)
    if (!each.empty()) all += (all.empty() ? "" : ", ") + each;
  return all;
}

bool is_of_slot(char c) { return c == '_' || (c >= 'a' && c <= 'z'); }

std::string filled(std::string_view line, const Slots& slots) {
  std::string result;
  for (std::size_t i = 0; i < line.size();) {
    if (line[i] != '@') {
      result += line[i++];
      continue;
    }
    std::size_t end = i + 1;
    while (end < line.size() && is_of_slot(line[end])) ++end;
    const auto found = slots.find(std::string(line.substr(i + 1, end - i - 1)));
    if (found != slots.end()) result += joined(found->second);
    i = end;
  }
  return result;
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? std::string() : text.substr(begin);
}

void add_line(std::string& text, std::string_view line, const Slots& slots) {
  const std::size_t begin = line.find_first_not_of(' ');
  const bool is_slot = begin != std::string_view::npos && line[begin] == '@' &&
                       std::all_of(line.begin() + static_cast<std::ptrdiff_t>(begin) + 1, line.end(), is_of_slot);
  if (!is_slot) {
    text += filled(line, slots) + "\n";
    return;
  }
  const auto found = slots.find(std::string(line.substr(begin + 1)));
  if (found == slots.end()) return;
  const std::string indent(line.substr(0, begin));
  for (const std::string& words : found->second)
    for (const std::string_view each : split(words, '\n'))
      if (!each.empty()) text += indent + std::string(each) + "\n";
}

std::string text_of(const Template& each, const Slots& slots) {
  std::string text;
  std::string_view rest = each.text;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    add_line(text, rest.substr(0, end), slots);
    rest.remove_prefix(end + 1);
  }
  return std::string_view(each.name) == "command" ? trimmed(text) : text;
}

// from_pretrained takes a folder or a name of the hub, an estimate the file in the folder as well.
std::string pretrained_name(const std::string& model) {
  constexpr std::string_view kFile = "config.json";
  if (model == kFile) return ".";
  if (!model.ends_with("/" + std::string(kFile))) return model;
  return model.substr(0, model.size() - kFile.size() - 1);
}

}  // namespace

KnobSetting setting_of(const Knob& knob, const TrainingConfiguration& configuration) {
  const TrainingSettings& s = configuration.settings;
  const std::string_view name = knob.name;
  const auto number = [](std::int64_t value) { return KnobSetting{"", std::to_string(value)}; };
  if (name == "micro_batch") return number(s.micro_batch);
  if (name == "accumulation") return number(s.gradient_accumulation_steps);
  if (name == "seq_len") return number(s.seq_len);
  if (name == "checkpointing") {
    if (!s.checkpointing.is_on()) return {"none", "0"};
    if (s.checkpointing.every > 1) return {"each", std::to_string(s.checkpointing.every)};
    std::string value = s.checkpointing.layers == kAllLayers ? "every" : "first";
    if (s.checkpointing.is_selective) value += ", selective";
    return {value, std::to_string(s.checkpointing.layers)};
  }
  if (name == "recomputed" && !s.checkpointing.is_on()) return {};
  const KnobValue* value = value_of(knob, configuration);
  if (value == nullptr) return {};
  if (name == "optimizer" && s.parallel.shares_states) return {fmt::format("{}, shared", value->name), ""};
  if (name == "sharing") return {value->name, std::to_string(s.parallel.ranks)};
  if (name == "bucket") return number(s.parallel.deepspeed.reduce_bucket_size);
  if (name == "overlap") return {value->name, s.parallel.deepspeed.overlaps ? "true" : "false"};
  if (name == "lora") return {value->name, std::to_string(s.lora.rank)};
  return {value->name, value->name};
}

std::vector<Document> documents_of(const Told& told) {
  Slots slots = {
      {"model", {pretrained_name(told.model)}}, {"class", {told.auto_class}}, {"cards", {std::to_string(told.cards)}}};
  for (const NamedText& each : told.named) slots[each.slot] = {each.text};
  if (told.cards == 1) slots[place_name(Place::kAccelerate)] = {"distributed_type: 'NO'"};
  for (const Knob& knob : training_knobs()) {
    const KnobSetting setting = setting_of(knob, told.configuration);
    if (setting.value.empty() && setting.number.empty()) continue;
    for (const Words* words : words_for(told.trainer, knob.name, setting.value)) {
      std::string text = words->text;
      if (const std::size_t hole = text.find("{}"); hole != std::string::npos) text.replace(hole, 2, setting.number);
      std::vector<std::string>& slot = slots[place_name(words->place)];
      if (std::find(slot.begin(), slot.end(), text) == slot.end()) slot.push_back(std::move(text));
    }
  }
  for (const auto& [place, text] : kUsual) {
    std::vector<std::string>& slot = slots[place_name(place)];
    if (slot.empty()) slot.emplace_back(text);
  }
  std::vector<Document> documents;
  for (const Template& each : kTemplates)
    if (each.trainer == told.trainer) documents.push_back({each.name, text_of(each, slots)});
  return documents;
}

}  // namespace vramwise
