// Reads plain data out of a Python pickle (numbers, text, lists, dicts), and runs nothing: what would import or call is
// an error. nanoGPT keeps the vocabulary of its character-level data sets in such a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace vramwise {

struct PickleValue;
using PickleList = std::vector<PickleValue>;
using PickleDict = std::vector<std::pair<PickleValue, PickleValue>>;  ///< in the order of the file

struct PickleValue {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::shared_ptr<PickleList>,
               std::shared_ptr<PickleDict>>
      value;  ///< monostate: None. Tuples are lists.
};

/// Protocols 2 to 5. Errors: cut off, anything but plain data, a list or dict that stands in several places.
Result<PickleValue> parse_pickle(std::string_view bytes);

/// What a meta.pkl beside train.bin says.
struct NanoGptMeta {
  std::int64_t vocab_size = 0;
  std::vector<std::string> characters;  ///< text of each id; empty when the file has no "itos"
};

/// Errors: not plain data, or no "vocab_size" in it.
Result<NanoGptMeta> parse_nanogpt_meta(std::string_view bytes);

}  // namespace vramwise
