// Opening a data set: find the files, map or encode them, settle the vocabulary, hold out what validation needs.
#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/units.h"
#include "data/open_file.h"
#include "data/source_files.h"
#include "data/token_cache.h"
#include "data/token_meta.h"
#include "io/files.h"

namespace vramwise {
namespace {

// An unknown vocabulary is rounded up as nanoGPT rounds GPT-2's: 50,257 to 50,304. Matrices of such sizes are faster.
constexpr std::int64_t kVocabularyGranule = 64;
// The part held out for validation where there is no file for it: one in so many tokens.
constexpr std::int64_t kHeldOut = 20;

std::string base_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

Error empty_file(const std::string& path) {
  return world_error(fmt::format("{}: the file is empty", path), "Was it written to its end, on a disk with room?");
}

/// Whether tokens read as uint16 look like uint32 ones: every second value, the upper half of a token, is at most 7
/// (ids below 524,288), while the others are not all that small.
Result<bool> looks_like_uint32(const TokenSource& tokens) {
  constexpr std::int64_t kLookedAt = 8192;
  constexpr std::int64_t kMaxUpperHalf = 7;
  const std::int64_t count = std::min(tokens.size(), kLookedAt) / 2 * 2;
  std::vector<std::int64_t> head(static_cast<std::size_t>(count));
  VRAMWISE_RETURN_IF_ERROR(tokens.read(0, count, head.data()));
  std::int64_t largest_lower = 0;
  for (std::size_t i = 0; i + 1 < head.size(); i += 2) {
    if (head[i + 1] > kMaxUpperHalf) return false;
    largest_lower = std::max(largest_lower, head[i]);
  }
  return count >= 64 && largest_lower > 4 * kMaxUpperHalf;
}

Result<TokenSource> open_token_file(const std::string& path, TokenType type, bool type_is_given) {
  VRAMWISE_ASSIGN_OR_RETURN(std::shared_ptr<const OpenFile> file, OpenFile::open(path));
  if (file->size() == 0) return empty_file(path);
  if (file->size() % token_type_bytes(type) != 0)
    return world_error(fmt::format("{}: its {} bytes are no whole number of {} tokens", path, grouped(file->size()),
                                   token_type_name(type)),
                       "It is cut off, or its tokens are of another type: {\"dtype\": \"uint32\"} in a meta.json "
                       "beside it says so.");
  TokenSource tokens = TokenSource::from_file(std::move(file), type);
  VRAMWISE_ASSIGN_OR_RETURN(const bool doubtful, looks_like_uint32(tokens));
  if (!type_is_given && doubtful)
    return world_error(
        fmt::format("{}: read as uint16, every second token is close to 0, as in a file of uint32", path),
        "Put a meta.json beside it: {\"dtype\": \"uint32\"}, or \"uint16\" if that is what they are.");
  return tokens;
}

/// Whether a file begins with the byte order mark of UTF-16.
Result<bool> begins_as_utf16(const OpenFile& file) {
  std::array<std::byte, 2> head{};
  if (file.size() < 2) return false;
  VRAMWISE_RETURN_IF_ERROR(file.read(0, head));
  const std::array<std::byte, 2> little = {std::byte{0xFF}, std::byte{0xFE}};
  const std::array<std::byte, 2> big = {std::byte{0xFE}, std::byte{0xFF}};
  return head == little || head == big;
}

class Opener {
 public:
  explicit Opener(const DataOptions& options) : options_(options) {}

  Result<Dataset> open() {
    VRAMWISE_ASSIGN_OR_RETURN(files_, find_source_files(options_.data_dir));
    if (!options_.tokenizer.empty()) {
      VRAMWISE_ASSIGN_OR_RETURN(dataset_.tokenizer, load_sentence_piece(options_.tokenizer));
    }
    const bool tokens = files_.train.front().kind == SourceKind::kTokens;
    VRAMWISE_RETURN_IF_ERROR(tokens ? open_tokens() : open_texts());
    if (files_.val.empty()) hold_out();
    if (!files_.left_aside.empty()) warn(fmt::format("not used: {}", fmt::join(files_.left_aside, ", ")));
    describe();
    return std::move(dataset_);
  }

 private:
  void warn(std::string sentence) { dataset_.warnings.push_back(std::move(sentence)); }

  Status open_tokens() {
    VRAMWISE_ASSIGN_OR_RETURN(const TokenMeta meta, read_token_meta(files_.folder));
    if (!meta.warning.empty()) warn(meta.warning);
    const std::optional<TokenType> given = options_.token_type ? options_.token_type : meta.type;
    const TokenType type = given.value_or(TokenType::kUint16);
    kind_ = fmt::format("{} tokens", token_type_name(type));
    VRAMWISE_ASSIGN_OR_RETURN(dataset_.train, open_token_file(files_.train[0].path, type, given.has_value()));
    if (!files_.val.empty()) {
      VRAMWISE_ASSIGN_OR_RETURN(dataset_.val, open_token_file(files_.val[0].path, type, given.has_value()));
    }
    return settle_vocabulary(meta);
  }

  Status settle_vocabulary(const TokenMeta& meta) {
    if (dataset_.tokenizer) {
      dataset_.vocab_size = dataset_.tokenizer->vocab_size();
      vocabulary_source_ = dataset_.tokenizer->description();
      return Done{};
    }
    if (meta.vocab_size) {
      dataset_.vocab_size = *meta.vocab_size;
      vocabulary_source_ = meta.file;
    } else {
      // Validation may hold a token that training doesn't.
      VRAMWISE_ASSIGN_OR_RETURN(const auto in_train, dataset_.train.largest());
      VRAMWISE_ASSIGN_OR_RETURN(const auto in_val, dataset_.val.largest());
      dataset_.largest_token = std::max(in_train.value_or(0), in_val.value_or(0));
      dataset_.vocab_size = (*dataset_.largest_token / kVocabularyGranule + 1) * kVocabularyGranule;
      vocabulary_source_ = fmt::format("the largest token, {}, rounded up to a multiple of {}",
                                       grouped(*dataset_.largest_token), kVocabularyGranule);
    }
    dataset_.tokenizer =
        meta.characters.empty() ? make_id_printer(dataset_.vocab_size) : make_character_tokenizer(meta.characters);
    return Done{};
  }

  Status open_texts() {
    if (!dataset_.tokenizer) dataset_.tokenizer = make_byte_tokenizer();
    dataset_.vocab_size = dataset_.tokenizer->vocab_size();
    kind_ = dataset_.tokenizer->description();
    VRAMWISE_ASSIGN_OR_RETURN(dataset_.train, open_text_files(files_.train));
    if (!files_.val.empty()) {
      VRAMWISE_ASSIGN_OR_RETURN(dataset_.val, open_text_files(files_.val));
    }
    return Done{};
  }

  Result<TokenSource> open_text_files(const std::vector<SourceFile>& files) {
    const bool bytes = options_.tokenizer.empty();
    const bool as_they_lie = bytes && std::all_of(files.begin(), files.end(), [](const SourceFile& file) {
                               return file.kind == SourceKind::kText;
                             });
    VRAMWISE_ASSIGN_OR_RETURN(TokenSource tokens, as_they_lie ? texts_as_they_lie(files) : encode_texts(files));
    if (tokens.size() == 0) return empty_file(files.front().path);
    return tokens;
  }

  /// Bytes need no encoding: each file is its own token file.
  Result<TokenSource> texts_as_they_lie(const std::vector<SourceFile>& files) {
    const TokenSource separator = TokenSource::from_ids({0});
    TokenSource tokens;
    for (const SourceFile& source : files) {
      VRAMWISE_ASSIGN_OR_RETURN(std::shared_ptr<const OpenFile> file, OpenFile::open(source.path));
      VRAMWISE_ASSIGN_OR_RETURN(const bool utf16, begins_as_utf16(*file));
      if (utf16)
        warn(fmt::format("{} looks like UTF-16; its bytes are taken as they are (iconv -t UTF-8 converts it)",
                         source.path));
      if (tokens.size() > 0) tokens = tokens.then(separator);
      tokens = tokens.then(TokenSource::from_file(std::move(file), TokenType::kUint8));
    }
    return tokens;
  }

  Result<TokenSource> encode_texts(const std::vector<SourceFile>& files) {
    CacheRequest request;
    request.cache_dir = join_path(files_.folder, ".vramwise");
    request.other_cache_dir = options_.other_cache_dir;
    request.files = files;
    request.tokenizer_path = options_.tokenizer;
    request.on_progress = options_.on_progress;
    return encoded_tokens(request, *dataset_.tokenizer);
  }

  void hold_out() {
    const std::int64_t total = dataset_.train.size();
    const std::int64_t held = std::min(std::max(total / kHeldOut, options_.min_val_tokens), total / 2);
    dataset_.val = dataset_.train.slice(total - held, held);
    dataset_.train = dataset_.train.slice(0, total - held);
  }

  void describe() {
    std::vector<std::string> names;
    for (const auto* list : {&files_.train, &files_.val})
      for (const SourceFile& file : *list) names.push_back(base_name(file.path));
    const std::string shown =
        names.size() <= 4 ? fmt::format("{}", fmt::join(names, ", ")) : fmt::format("{} files", names.size());
    dataset_.description = fmt::format(
        "{} in {}: {}; {} for training, {} for validation{}; vocabulary {}{}", shown, files_.folder, kind_,
        grouped(dataset_.train.size()), grouped(dataset_.val.size()), files_.val.empty() ? " (the end, held out)" : "",
        grouped(dataset_.vocab_size), vocabulary_source_.empty() ? "" : fmt::format(" ({})", vocabulary_source_));
  }

  const DataOptions& options_;
  SourceFiles files_;
  Dataset dataset_;
  std::string kind_;
  std::string vocabulary_source_;
};

}  // namespace

Result<Dataset> open_dataset(const DataOptions& options) { return Opener(options).open(); }

}  // namespace vramwise
