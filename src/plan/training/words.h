// What a knob's value is called in each trainer: where it is written, and the text. A trainer can carry out a value if
// and only if there are words for it here.
#pragma once

#include <cstdint>
#include <string>
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
  kOptimizer,      ///< lines that make the optimizer
  kArgument,       ///< of TrainingArguments, or of Accelerator
  kTrainer,        ///< of Trainer
  kShard,          ///< of fully_shard(layer)
  kPolicy,         ///< of every fully_shard()
  kLoader,         ///< of the DataLoader
  kLoop,           ///< a number of the training loop
  kLength,         ///< tokens a row of the data set
  kAccelerate,     ///< lines of accelerate's configuration
};
const char* place_name(Place place);  ///< "argument": in a document's template a line "@argument"

struct Words {
  const char* knob;
  const char* value;  ///< null: any; "first": of checkpointing, that many layers
  Trainer trainer;
  Place place;
  const char* text;  ///< "{}" stands for the number or the value; empty: nothing need be said
};

std::vector<const Words*> words_for(Trainer trainer, const char* knob, const std::string& value);
bool can_take(Trainer trainer, const Knob& knob, const std::string& value);
/// Any value beside the plain one.
bool can_turn(Trainer trainer, const Knob& knob);

/// Whether plans are made for it: its words are here, and what it does is modelled.
bool is_searched(Trainer trainer);

/// Why the trainer cannot run this combination as it is estimated; null: it can.
const char* conflict(Trainer trainer, const TrainingConfiguration& configuration);

/// The table of docs/commands.md, in Markdown: knobs, what they change, and their words in each trainer.
std::string knob_table();

}  // namespace vramwise
