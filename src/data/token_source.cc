// Tokens in pieces. A source is a list of windows onto files (or small rows in memory), so holding out the end of a
// file, or joining several files, copies nothing. What is read goes through a small buffer, in which it lies as in the
// file. The scans are written as plain loops over blocks that compilers vectorise.
#include "data/token_source.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace vramwise {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and read as they lie");

constexpr std::int64_t kScanBlock = std::int64_t{1} << 18;  // tokens: at most 1 MiB at a time
constexpr std::size_t kReadBlock = std::size_t{1} << 14;    // bytes

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

std::size_t byte_count(TokenType type, std::int64_t count) {
  return static_cast<std::size_t>(count * token_type_bytes(type));
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

Status TokenSource::Piece::read(std::int64_t skip, std::int64_t wanted, std::span<std::byte> out) const {
  const std::int64_t offset = (first + skip) * token_type_bytes(type);
  if (file) return file->read(offset, out.first(byte_count(type, wanted)));
  std::memcpy(out.data(), reinterpret_cast<const std::byte*>(ids->data()) + offset, byte_count(type, wanted));
  return Done{};
}

TokenSource TokenSource::from_file(std::shared_ptr<const OpenFile> file, TokenType type) {
  VRAMWISE_CHECK(file->size() % token_type_bytes(type) == 0);
  Piece piece;
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

Status TokenSource::read(std::int64_t offset, std::int64_t count, std::int64_t* out) const {
  VRAMWISE_CHECK(offset >= 0);
  VRAMWISE_CHECK(count >= 0);
  VRAMWISE_CHECK(count <= size_ - offset);
  if (count == 0) return Done{};
  alignas(std::uint32_t) std::array<std::byte, kReadBlock> block{};
  auto piece = piece_at(offset);
  while (count > 0) {
    const std::int64_t skip = offset - piece->start;
    if (skip == piece->count) {
      ++piece;
      continue;
    }
    const auto fitting = static_cast<std::int64_t>(kReadBlock) / token_type_bytes(piece->type);
    const std::int64_t part = std::min({count, piece->count - skip, fitting});
    VRAMWISE_RETURN_IF_ERROR(piece->read(skip, part, block));
    with_type(piece->type, block.data(), [&](const auto* tokens) { std::copy_n(tokens, part, out); });
    offset += part;
    count -= part;
    out += part;
  }
  return Done{};
}

TokenSource TokenSource::slice(std::int64_t offset, std::int64_t count) const {
  VRAMWISE_CHECK(offset >= 0);
  VRAMWISE_CHECK(count >= 0);
  VRAMWISE_CHECK(count <= size_ - offset);
  TokenSource part;
  for (Piece piece : pieces_) {
    const std::int64_t first = std::max(offset, piece.start);
    const std::int64_t last = std::min(offset + count, piece.start + piece.count);
    if (first >= last) continue;
    piece.first += first - piece.start;
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

Status TokenSource::Piece::scan(const BlockUse& use) const {
  std::vector<std::byte> block(byte_count(type, std::min(kScanBlock, count)));
  for (std::int64_t done = 0; done < count; done += kScanBlock) {
    const std::int64_t part = std::min(kScanBlock, count - done);
    VRAMWISE_RETURN_IF_ERROR(read(done, part, block));
    if (!use(done, part, block.data())) break;
  }
  return Done{};
}

Result<std::optional<std::int64_t>> TokenSource::largest() const {
  std::optional<std::int64_t> largest;
  for (const Piece& piece : pieces_) {
    VRAMWISE_RETURN_IF_ERROR(piece.scan([&](std::int64_t /*skip*/, std::int64_t count, const std::byte* block) {
      largest = std::max(largest.value_or(0), block_largest(piece.type, block, count));
      return true;
    }));
  }
  return largest;
}

Result<std::optional<StrayToken>> TokenSource::first_at_least(std::int64_t limit) const {
  std::optional<StrayToken> stray;
  for (const Piece& piece : pieces_) {
    if (stray || limit >= token_type_values(piece.type)) continue;
    VRAMWISE_RETURN_IF_ERROR(piece.scan([&](std::int64_t skip, std::int64_t count, const std::byte* block) {
      if (block_largest(piece.type, block, count) < limit) return true;
      with_type(piece.type, block, [&](const auto* tokens) {
        const auto* found =
            std::find_if(tokens, tokens + count, [&](auto token) { return static_cast<std::int64_t>(token) >= limit; });
        // Counted from the start of the file, wherever this piece begins in it.
        stray = StrayToken{piece.file ? piece.file->path() : std::string(), piece.first + skip + (found - tokens),
                           static_cast<std::int64_t>(*found)};
      });
      return false;
    }));
  }
  return stray;
}

}  // namespace vramwise
