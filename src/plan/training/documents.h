// A configuration as its trainer takes it: programs and files with every knob said in the trainer's own words.
#pragma once

#include <string>
#include <vector>

#include "plan/training/words.h"

namespace vramwise {

struct Document {
  std::string name;  ///< "train.py", "accelerate.yaml"; "command": what is typed
  std::string text;
};

struct Told {
  Trainer trainer = Trainer::kTransformers;
  TrainingConfiguration configuration;
  std::string model;                                ///< as from_pretrained takes it
  const char* auto_class = "AutoModelForCausalLM";  ///< of transformers
  int cards = 1;
  std::vector<NamedText> named = {};  ///< what else is told of the model, by slot
};

/// The value's name in the table of words, and what stands for "{}" there.
struct KnobSetting {
  std::string value;
  std::string number;
};
KnobSetting setting_of(const Knob& knob, const TrainingConfiguration& configuration);

std::vector<Document> documents_of(const Told& told);

}  // namespace vramwise
