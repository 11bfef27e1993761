// The token cache: text that was encoded once, as token files. An entry's name holds a fingerprint of the texts' paths,
// sizes and times and of the tokenizer's bytes, so changed input is encoded again and an old entry of the same texts is
// removed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/dataset.h"
#include "data/source_files.h"
#include "data/token_source.h"
#include "data/tokenizer.h"

namespace vramwise {

struct CacheRequest {
  std::string cache_dir;          ///< made where it is missing
  std::string other_cache_dir;    ///< taken where cache_dir cannot be written; empty: that is an error then
  std::vector<SourceFile> files;  ///< texts, in their order
  std::string tokenizer_path;     ///< its bytes are part of the fingerprint; empty for bytes
  std::function<void(const EncodeProgress&)> on_progress;
};

/// The type in which ids of such a vocabulary are kept.
TokenType token_type_for(std::int64_t vocab_size);

/// The encoded files as one source, documents with the tokenizer's separator behind each. Taken from the cache, or
/// encoded (on all processors) and put there; a second process that asks for the same waits for the first. Errors:
/// those of reading documents, a full disk, a cache folder that cannot be written.
Result<TokenSource> encoded_tokens(const CacheRequest& request, const Tokenizer& tokenizer);

}  // namespace vramwise
