// Whether a data set can be trained on, found out before a model is built: lengths, and every token against the
// vocabulary.
#include <fmt/format.h>

#include "base/units.h"
#include "data/dataset.h"

namespace vramwise {
namespace {

Status check_length(const TokenSource& tokens, const char* part, std::int64_t seq_len) {
  // One token more than a sequence: the last position needs a next token to predict.
  if (tokens.size() > seq_len) return Done{};
  return world_error(
      fmt::format("the {} data are too short: {} tokens, and a sequence of {} takes {}", part, grouped(tokens.size()),
                  grouped(seq_len), grouped(seq_len + 1)),
      tokens.size() > 1 ? fmt::format("Use more data, or --seq_len {} at most.", tokens.size() - 1) : "Use more data.");
}

Status check_vocabulary(const TokenSource& tokens, std::int64_t vocab_size) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::optional<StrayToken> stray, tokens.first_at_least(vocab_size));
  if (!stray) return Done{};
  return world_error(
      fmt::format("{}: token {} at position {} is beyond the vocabulary of {}",
                  stray->file.empty() ? "the data" : stray->file, grouped(stray->id), grouped(stray->position),
                  grouped(vocab_size)),
      "Is the vocabulary right, and the type of the tokens (\"vocab_size\" and \"dtype\" of a meta.json beside the "
      "file)? If both are, the file is damaged or made with another tokenizer.");
}

}  // namespace

Status validate_for_training(const Dataset& dataset, std::int64_t seq_len, std::int64_t vocab_size) {
  VRAMWISE_CHECK(seq_len > 0 && vocab_size > 0);
  VRAMWISE_RETURN_IF_ERROR(check_length(dataset.train, "training", seq_len));
  VRAMWISE_RETURN_IF_ERROR(check_length(dataset.val, "validation", seq_len));
  if (dataset.largest_token && *dataset.largest_token < vocab_size) return Done{};
  VRAMWISE_RETURN_IF_ERROR(check_vocabulary(dataset.train, vocab_size));
  return check_vocabulary(dataset.val, vocab_size);
}

}  // namespace vramwise
