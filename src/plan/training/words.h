// What a knob's value is called in each trainer: where it is written, and the text. A trainer can carry out a value if
// and only if there are words for it here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/training/knobs.h"

namespace vramwise {

/// Where words go: a slot in the documents of a trainer (documents.h).
enum class Place : std::uint8_t {
  kFlag,           ///< of `vramwise train`
  kEnvironment,    ///< variables of the command
  kLaunch,         ///< what starts the processes
  kImport,         ///< lines at the top of train.py
  kModelArgument,  ///< of from_pretrained()
  kModelCode,      ///< lines once the model is made
  kLayers,         ///< lines behind those, which look at the model's layers
  kOptimizer,      ///< lines that make the optimizer
  kPrepare,        ///< lines that hand everything to Accelerator
  kPrepared,       ///< lines behind those
  kArgument,       ///< of TrainingArguments, or of Accelerator
  kTrainer,        ///< of Trainer
  kShard,          ///< of fully_shard(layer)
  kPolicy,         ///< of every fully_shard()
  kBackend,        ///< of init_process_group()
  kCall,           ///< further arguments of model(**batch)
  kBackward,       ///< lines of the loop: the backward pass, …
  kUnscale,        ///< … before gradients are clipped, …
  kStep,           ///< … and the optimizer's step
  kLoader,         ///< of the DataLoader
  kLoop,           ///< a number of the training loop
  kLength,         ///< tokens a row of the data set
  kAccelerate,     ///< lines of accelerate's configuration
  kEngine,         ///< lines of ds_config.json
  kZero,           ///< of its "zero_optimization"
  kAdam,           ///< of its optimizer's "params"
  kRecipe,         ///< of a recipe of torchtune
};
const char* place_name(Place place);  ///< "argument": in a document's template a line "@argument"

/// A set of trainers, a bit each.
using Trainers = std::uint32_t;
constexpr Trainers only(Trainer trainer) { return Trainers{1} << static_cast<unsigned>(trainer); }

struct Words {
  const char* knob;
  const char* value;  ///< null: any; what is no value of the knob's own stands in setting_of() (documents.h)
  Trainers trainers;
  Place place;
  const char* text;  ///< "{}" stands for the number or the value; empty: nothing need be said
};

std::span<const Words> all_words();
bool is_for(const Words& words, Trainer trainer, std::string_view knob);
/// Whether they are those of the knob's plain value.
bool is_plain(const Knob& knob, const Words& words);
std::vector<const Words*> words_for(Trainer trainer, const char* knob, const std::string& value);
bool can_take(Trainer trainer, const Knob& knob, const std::string& value);
/// Any value beside the plain one.
bool can_turn(Trainer trainer, const Knob& knob);

/// Any such value that a search takes only if --allow names the knob.
bool can_free(Trainer trainer, const Knob& knob);

/// Whether the knob means something to that trainer on so many cards: DeepSpeed's engine is the same on one.
bool concerns(Trainer trainer, const Knob& knob, int cards);

/// Whether the trainer runs on Accelerate's wrapper of the model (TrainingSettings::copies_outputs).
bool copies_outputs(Trainer trainer);

/// NCCL communicators that a run on that many cards opens. Under the Trainer DeepSpeed's engine has two groups: ZeRO-3
/// talks in the second one only of gradients in float16 that overflow.
int communicators(const TrainingSettings& settings, int cards);

/// Why the trainer has no words for a value that it may be asked for. Errors: usage, or kIncomplete where the trainer
/// could but what that takes is not known.
Error no_words(Trainer trainer, const Knob& knob, const std::string& value);

/// Why the trainer cannot run this combination as it is estimated; null: it can.
const char* conflict(Trainer trainer, const TrainingConfiguration& configuration);

/// The table of docs/commands.md, in Markdown: knobs, what they change, and their words in each trainer.
std::string knob_table();

}  // namespace vramwise
