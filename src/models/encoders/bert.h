// BERT and RoBERTa (transformers 5: models/bert, models/roberta) with a masked language model's head or a classifier.
#pragma once

#include <cstdint>
#include <memory>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/parts/activation.h"

namespace vramwise {

enum class BertHead : std::uint8_t { kMaskedLm, kSequenceClassification };

struct BertConfig {
  BertHead head = BertHead::kMaskedLm;
  bool is_roberta = false;  ///< positions are counted from the token ids; a classifier of two layers without a pooler
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  int layers = 12;
  std::int64_t heads = 12;
  std::int64_t max_positions = 512;
  std::int64_t token_types = 2;
  std::int64_t labels = 2;
  Activation activation = Activation::kGelu;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
  double classifier_dropout = 0.1;
  bool ties_embeddings = true;
};

Architecture read_bert(ConfigReader& reader);
Architecture read_roberta(ConfigReader& reader);

/// BertFor… or RobertaFor… with weights of `type`, moved to the tape's device.
std::unique_ptr<Model> bert(tape::Tape& tape, const BertConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
