// The vocabulary that nanoGPT keeps beside its character-level data sets, in a pickle of plain data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vramwise {

/// What a meta.pkl beside train.bin says.
struct NanoGptMeta {
  std::int64_t vocab_size = 0;
  std::vector<std::string> characters;  ///< text of each id; empty when the file has no "itos"
};

/// Errors: not plain data, or no "vocab_size" in it.
Result<NanoGptMeta> parse_nanogpt_meta(std::string_view bytes);

}  // namespace vramwise
