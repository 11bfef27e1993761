// What stands beside a token file about it: meta.json (ours), or meta.pkl (nanoGPT's).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/token_source.h"

namespace vramwise {

struct TokenMeta {
  std::optional<TokenType> type;
  std::optional<std::int64_t> vocab_size;
  std::vector<std::string> characters;  ///< text of each id; empty: not known
  std::string file;                     ///< the name it was read from; empty: there is none
  std::string warning;                  ///< why a meta.pkl was left aside; may be empty
};

/// meta.json, {"dtype": "uint16" or "uint32", "vocab_size": N}, each key optional and others allowed; where there is
/// none, meta.pkl. Errors: a meta.json that is broken or says something else. A meta.pkl that is no plain data is only
/// warned of: token files can be read without it.
Result<TokenMeta> read_token_meta(const std::string& folder);

}  // namespace vramwise
