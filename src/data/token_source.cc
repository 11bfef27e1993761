// Tokens in pieces. A source is a list of windows onto files (or small rows in memory), so holding out the end of a
// file, or joining several files, copies nothing. The scans are written as plain loops over blocks that compilers
// vectorise.
#include "data/token_source.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "base/check.h"

namespace vramwise {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and mapped as they lie");

// Scanned in blocks, whose pages are given back at once: a scan shall not look like memory taken.
constexpr std::int64_t kScanBlock = std::int64_t{1} << 22;

/// Calls use(pointer to tokens of the right type) for the type that is known only at run time.
template <typename Use>
auto with_type(TokenType type, const std::byte* data, Use use) {
  switch (type) {
    case TokenType::kUint8:
      return use(reinterpret_cast<const std::uint8_t*>(data));
    case TokenType::kUint16:
      return use(reinterpret_cast<const std::uint16_t*>(data));
    case TokenType::kUint32:
      break;
  }
  return use(reinterpret_cast<const std::uint32_t*>(data));
}

template <typename T>
T largest_in(const T* tokens, std::int64_t count) {
  T largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, tokens[i]);
  return largest;
}

std::int64_t block_largest(TokenType type, const std::byte* data, std::int64_t count) {
  return with_type(type, data,
                   [&](const auto* tokens) { return static_cast<std::int64_t>(largest_in(tokens, count)); });
}

std::span<const std::byte> block_bytes(TokenType type, const std::byte* data, std::int64_t count) {
  return {data, static_cast<std::size_t>(count * token_type_bytes(type))};
}

}  // namespace

const char* token_type_name(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
      return "uint8";
    case TokenType::kUint16:
      return "uint16";
    case TokenType::kUint32:
      break;
  }
  return "uint32";
}

TokenSource TokenSource::from_file(std::shared_ptr<const MappedFile> file, TokenType type) {
  VRAMWISE_CHECK(file->size() % token_type_bytes(type) == 0);
  Piece piece;
  piece.data = file->bytes().data();
  piece.type = type;
  piece.count = file->size() / token_type_bytes(type);
  piece.file = std::move(file);
  TokenSource source;
  source.append(std::move(piece));
  return source;
}

TokenSource TokenSource::from_ids(std::vector<std::uint32_t> ids) {
  const auto shared = std::make_shared<const std::vector<std::uint32_t>>(std::move(ids));
  Piece piece;
  piece.data = reinterpret_cast<const std::byte*>(shared->data());
  piece.type = TokenType::kUint32;
  piece.count = static_cast<std::int64_t>(shared->size());
  piece.ids = shared;
  TokenSource source;
  source.append(std::move(piece));
  return source;
}

void TokenSource::append(Piece piece) {
  if (piece.count == 0) return;
  piece.start = size_;
  size_ += piece.count;
  pieces_.push_back(std::move(piece));
}

std::vector<TokenSource::Piece>::const_iterator TokenSource::piece_at(std::int64_t offset) const {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                      [](std::int64_t position, const Piece& piece) { return position < piece.start; });
  return std::prev(after);
}

void TokenSource::read(std::int64_t offset, std::int64_t count, std::int64_t* out) const {
  VRAMWISE_CHECK(offset >= 0 && count >= 0 && offset <= size_ && count <= size_ - offset);
  if (count == 0) return;
  for (auto piece = piece_at(offset); count > 0; ++piece) {
    const std::int64_t skip = offset - piece->start;
    const std::int64_t part = std::min(count, piece->count - skip);
    with_type(piece->type, piece->data, [&](const auto* tokens) { std::copy_n(tokens + skip, part, out); });
    offset += part;
    count -= part;
    out += part;
  }
}

TokenSource TokenSource::slice(std::int64_t offset, std::int64_t count) const {
  VRAMWISE_CHECK(offset >= 0 && count >= 0 && offset <= size_ && count <= size_ - offset);
  TokenSource part;
  for (Piece piece : pieces_) {
    const std::int64_t first = std::max(offset, piece.start);
    const std::int64_t last = std::min(offset + count, piece.start + piece.count);
    if (first >= last) continue;
    piece.data += (first - piece.start) * token_type_bytes(piece.type);
    piece.count = last - first;
    part.append(std::move(piece));
  }
  return part;
}

TokenSource TokenSource::then(const TokenSource& tail) const {
  TokenSource joined = *this;
  for (const Piece& piece : tail.pieces_) joined.append(piece);
  return joined;
}

std::optional<std::int64_t> TokenSource::largest() const {
  std::optional<std::int64_t> largest;
  for (const Piece& piece : pieces_) {
    for (std::int64_t done = 0; done < piece.count; done += kScanBlock) {
      const std::int64_t count = std::min(kScanBlock, piece.count - done);
      const std::byte* block = piece.data + done * token_type_bytes(piece.type);
      largest = std::max(largest.value_or(0), block_largest(piece.type, block, count));
      if (piece.file) piece.file->release_pages(block_bytes(piece.type, block, count));
    }
  }
  return largest;
}

std::optional<StrayToken> TokenSource::first_at_least(std::int64_t limit) const {
  for (const Piece& piece : pieces_) {
    if (limit >= token_type_values(piece.type)) continue;
    for (std::int64_t done = 0; done < piece.count; done += kScanBlock) {
      const std::int64_t count = std::min(kScanBlock, piece.count - done);
      const std::byte* block = piece.data + done * token_type_bytes(piece.type);
      const bool fine = block_largest(piece.type, block, count) < limit;
      if (piece.file) piece.file->release_pages(block_bytes(piece.type, block, count));
      if (fine) continue;
      return with_type(piece.type, block, [&](const auto* tokens) {
        const auto* found =
            std::find_if(tokens, tokens + count, [&](auto token) { return static_cast<std::int64_t>(token) >= limit; });
        // Counted from the start of the file, wherever this piece begins in it.
        const std::byte* origin = piece.file ? piece.file->bytes().data() : piece.data;
        return StrayToken{piece.file ? piece.file->path() : std::string(),
                          (reinterpret_cast<const std::byte*>(found) - origin) / token_type_bytes(piece.type),
                          static_cast<std::int64_t>(*found)};
      });
    }
  }
  return std::nullopt;
}

}  // namespace vramwise
