// What is wanted of a meta.pkl: "vocab_size", and "itos" where it names every id.
#include "data/pickle.h"

#include <optional>

#include "base/pickle.h"

namespace vramwise {
namespace {

constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 24;

/// itos, {id: text}, as a row; empty where it is not that, or does not name every id.
std::vector<std::string> characters_of(const std::optional<PlainValue>& itos, std::int64_t vocab_size) {
  if (!itos || !itos->is_dict() || static_cast<std::int64_t>(itos->size()) != vocab_size) return {};
  std::vector<std::string> characters(static_cast<std::size_t>(vocab_size));
  for (std::size_t i = 0; i < itos->size(); ++i) {
    const auto id = itos->key(i).integer();
    const auto text = itos->value(i).text();
    if (!id || !text || *id < 0 || *id >= vocab_size) return {};
    characters[static_cast<std::size_t>(*id)] = *text;
  }
  return characters;
}

}  // namespace

Result<NanoGptMeta> parse_nanogpt_meta(std::string_view bytes) {
  VRAMWISE_ASSIGN_OR_RETURN(const PlainData data, parse_pickle(bytes));
  const PlainValue root = data.root();
  const auto vocab_size = root.integer_of("vocab_size");
  if (!vocab_size || *vocab_size <= 0 || *vocab_size > kMaxVocabulary)
    return world_error("no usable \"vocab_size\" in it");
  return NanoGptMeta{.vocab_size = *vocab_size, .characters = characters_of(root.find("itos"), *vocab_size)};
}

}  // namespace vramwise
