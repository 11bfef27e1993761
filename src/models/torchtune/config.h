// A Hugging Face config.json as torchtune trains it: which builder, with which arguments.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "models/config.h"
#include "models/torchtune/decoder.h"

namespace vramwise {

struct TuneModel {
  ModelConfig model;  ///< its architecture is torchtune's
  TuneDecoderConfig decoder;
  std::string builder;          ///< "torchtune.models.llama3_2.llama3_2"
  std::string tokenizer;        ///< component and path, as YAML
  std::string tokenizer_files;  ///< those of the checkpoint's folder that it takes, in words
  std::string checkpoint_type;  ///< model_type of FullModelHFCheckpointer
};

/// The same model with so many layers.
ModelConfig with_layers(const TuneModel& tuned, int layers);

/// ErrorCode::kIncomplete for what no builder of torchtune makes.
Result<TuneModel> parse_tune_model(std::string_view text, const std::string& where);

/// ErrorCode::kIncomplete where torchtune's tokenizer for the builder is not the model's own.
Status check_tokenizer(const TuneModel& tuned);

/// Numbers that a config.json does not say are what transformers takes for them. (The builders' own defaults differ.)
void take_unsaid(TuneDecoderConfig& config);

/// The builder's arguments by name, as YAML of one line: "vocab_size: 128256, num_layers: 16, …". Numbers that the
/// file does not say are left out.
std::string tune_arguments(const TuneDecoderConfig& config);
/// Of those "rope_base", "norm_eps", each with its key in config.json and what holds without; empty: none.
std::string left_out(const TuneDecoderConfig& config);

}  // namespace vramwise
