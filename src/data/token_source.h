// TokenSource: a long row of token ids, read where it lies. Almost always a window onto files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/open_file.h"

namespace vramwise {

/// How one token lies in a file: unsigned, little-endian.
enum class TokenType { kUint8 = 1, kUint16 = 2, kUint32 = 4 };

const char* token_type_name(TokenType type);  ///< "uint8", "uint16", "uint32"
constexpr std::int64_t token_type_bytes(TokenType type) { return static_cast<std::int64_t>(type); }

/// Values that a type can hold: 256, 65,536 or 2^32.
constexpr std::int64_t token_type_values(TokenType type) { return std::int64_t{1} << (8 * token_type_bytes(type)); }

/// A token that is too large, and where it stands.
struct StrayToken {
  std::string file;           ///< path; empty for tokens that came from memory
  std::int64_t position = 0;  ///< in tokens, from the start of that file
  std::int64_t id = 0;
};

/// Cheap to copy (it shares the open files); reading is safe from several threads. Whatever reads may fail (kWorld): a
/// file was cut short since it was opened, or its disk fails.
class TokenSource {
 public:
  TokenSource() = default;

  /// The whole of a file. Its size must be a multiple of the token's.
  static TokenSource from_file(std::shared_ptr<const OpenFile> file, TokenType type);
  static TokenSource from_ids(std::vector<std::uint32_t> ids);

  /// Number of tokens.
  std::int64_t size() const { return size_; }

  /// Writes tokens [offset, offset + count) to `out`. The range must lie within [0, size()].
  Status read(std::int64_t offset, std::int64_t count, std::int64_t* out) const;

  /// Tokens [offset, offset + count) as a source of their own; nothing is copied.
  TokenSource slice(std::int64_t offset, std::int64_t count) const;

  /// This source followed by `tail`; nothing is copied.
  TokenSource then(const TokenSource& tail) const;

  /// The largest id; nullopt when there are no tokens. Reads everything.
  Result<std::optional<std::int64_t>> largest() const;

  /// The first token with an id of `limit` or more.
  Result<std::optional<StrayToken>> first_at_least(std::int64_t limit) const;

 private:
  /// Receives `count` tokens as they lie in the piece, from its token `skip` on; returns whether it wants more.
  using BlockUse = std::function<bool(std::int64_t skip, std::int64_t count, const std::byte* block)>;

  struct Piece {
    std::shared_ptr<const OpenFile> file;                   ///< null for tokens from memory
    std::shared_ptr<const std::vector<std::uint32_t>> ids;  ///< null for a file
    TokenType type = TokenType::kUint8;
    std::int64_t first = 0;  ///< place of the first token in the file, or in ids
    std::int64_t start = 0;  ///< position of the first token in the whole source
    std::int64_t count = 0;

    /// Tokens [skip, skip + wanted) of this piece, as they lie in it.
    Status read(std::int64_t skip, std::int64_t wanted, std::span<std::byte> out) const;
    /// Reads all of it, block by block.
    Status scan(const BlockUse& use) const;
  };

  void append(Piece piece);
  std::vector<Piece>::const_iterator piece_at(std::int64_t offset) const;

  std::vector<Piece> pieces_;  ///< none is empty; ordered by start, without gaps
  std::int64_t size_ = 0;
};

}  // namespace vramwise
