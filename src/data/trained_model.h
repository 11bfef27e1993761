// For tests: a small SentencePiece model, trained on the spot.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <string>
#include <vector>

#include "data/temporary_folder.h"

namespace vramwise {

/// Trains a model on a few hundred made sentences and returns the path of its .model file.
inline std::string train_model(const TemporaryFolder& folder, int vocab_size) {
  const std::vector<std::string> subjects = {"river", "mountain", "teacher", "garden", "window", "engine", "letter"};
  const std::vector<std::string> verbs = {"runs to", "looks at", "stands beside", "remembers", "carries", "paints"};
  std::string text;
  for (const std::string& subject : subjects)
    for (const std::string& verb : verbs)
      for (const std::string& object : subjects) text += fmt::format("the {} {} the {}\n", subject, verb, object);
  text += "the river runs to the sea\n";
  const std::string corpus = folder.write("sentences.training", text);
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--minloglevel=2 --model_type=bpe --byte_fallback=true --vocab_size=" + std::to_string(vocab_size) +
      " --input=" + corpus + " --model_prefix=" + folder.at("model"));
  EXPECT_TRUE(status.ok()) << status.ToString();
  return folder.at("model.model");
}

}  // namespace vramwise
