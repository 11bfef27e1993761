// TokenSource: a long row of token ids, read where it lies. Almost always a window onto mapped files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/mapped_file.h"

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

/// Cheap to copy (it shares the mappings); reading is safe from several threads. A mapped file must not be cut short
/// while it is in use: the system answers that with SIGBUS.
class TokenSource {
 public:
  TokenSource() = default;

  /// The whole of a mapped file. The file's size must be a multiple of the token's.
  static TokenSource from_file(std::shared_ptr<const MappedFile> file, TokenType type);
  static TokenSource from_ids(std::vector<std::uint32_t> ids);

  /// Number of tokens.
  std::int64_t size() const { return size_; }

  /// Writes tokens [offset, offset + count) to `out`. The range must lie within [0, size()].
  void read(std::int64_t offset, std::int64_t count, std::int64_t* out) const;

  /// Tokens [offset, offset + count) as a source of their own; nothing is copied.
  TokenSource slice(std::int64_t offset, std::int64_t count) const;

  /// This source followed by `tail`; nothing is copied.
  TokenSource then(const TokenSource& tail) const;

  /// The largest id; nullopt when there are no tokens. Reads everything, at the speed of memory once the file is
  /// cached.
  std::optional<std::int64_t> largest() const;

  /// The first token with an id of `limit` or more.
  std::optional<StrayToken> first_at_least(std::int64_t limit) const;

 private:
  struct Piece {
    std::shared_ptr<const MappedFile> file;                 ///< null for tokens from memory
    std::shared_ptr<const std::vector<std::uint32_t>> ids;  ///< null for a file
    const std::byte* data = nullptr;                        ///< of the first token
    TokenType type = TokenType::kUint8;
    std::int64_t start = 0;  ///< position of the first token in the whole source
    std::int64_t count = 0;
  };

  void append(Piece piece);
  std::vector<Piece>::const_iterator piece_at(std::int64_t offset) const;

  std::vector<Piece> pieces_;  ///< none is empty; ordered by start, without gaps
  std::int64_t size_ = 0;
};

}  // namespace vramwise
