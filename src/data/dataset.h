// Dataset: what a run trains and evaluates on, opened from a folder or a single file.
//
// Understood: token files (train.bin, val.bin: raw uint16 or uint32, little-endian, no header: the layout that nanoGPT
// writes), .txt, and .jsonl with a "text" field. Token files and byte tokens of .txt are read as they lie; other text
// is encoded once into a cache of token files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "data/token_source.h"
#include "data/tokenizer.h"

namespace vramwise {

struct EncodeProgress {
  std::string file;  ///< the one being encoded
  Bytes done;        ///< of the text of all files
  Bytes total;
};

/// Members have initialisers so that `{.data_dir = "data"}` is enough.
struct DataOptions {
  std::string data_dir{};   ///< a folder, or one file
  std::string tokenizer{};  ///< a SentencePiece model; empty: bytes, or the ids of a token file
  /// Where encoded text is kept if "<data folder>/.vramwise" cannot be written; empty: that is an error then.
  std::string other_cache_dir{};
  /// How token files are read. nullopt: as "dtype" of meta.json beside them says, else uint16.
  std::optional<TokenType> token_type{};
  std::int64_t min_val_tokens = 4096;  ///< held out where there is no val file: 5 %, at least this, at most half
  /// Called now and then while text is encoded, with a source file's name and how far it all is; may be empty.
  std::function<void(const EncodeProgress&)> on_progress{};
};

struct Dataset {
  TokenSource train{};
  TokenSource val{};
  std::int64_t vocab_size = 0;                   ///< what the model's vocabulary must at least be
  std::optional<std::int64_t> largest_token{};   ///< where opening had to look at every token
  std::shared_ptr<const Tokenizer> tokenizer{};  ///< never null
  std::string description{};  ///< one line for people: files, tokens, where vocab_size comes from, what is held out
  std::vector<std::string> warnings{};  ///< what was assumed or left aside, a sentence each
};

/// Errors (ErrorCode::kWorld): missing or empty folder (the remedy is exactly "vramwise synth --out <data_dir>"),
/// unreadable, nothing in it that is understood (found and understood are listed), an empty file, a size that is no
/// multiple of the token's, a broken line of .jsonl (file:line), a broken tokenizer.
Result<Dataset> open_dataset(const DataOptions& options);

/// Whether a model with `vocab_size` can be trained on sequences of `seq_len` tokens of it. Reads every token once
/// (bytes: none); takes no memory. Errors (kWorld): fewer than seq_len + 1 tokens in train or val; a token of
/// `vocab_size` or more (file and position).
Status validate_for_training(const Dataset& dataset, std::int64_t seq_len, std::int64_t vocab_size);

}  // namespace vramwise
