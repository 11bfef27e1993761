// Reading what is known about token files.
#include "data/token_meta.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "data/pickle.h"
#include "io/files.h"

namespace vramwise {
namespace {

constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 32;

Result<TokenMeta> read_meta_json(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string text, read_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, path));
  const auto wrong = [&](const std::string& what) {
    return world_error(fmt::format("{}: {}", path, what),
                       "It takes {\"dtype\": \"uint16\" or \"uint32\", \"vocab_size\": a positive number}.");
  };
  TokenMeta meta;
  meta.file = "meta.json";
  const Result<std::string> dtype = json_get_or<std::string>(json, "dtype", "");
  const Result<std::int64_t> vocab_size = json_get_or<std::int64_t>(json, "vocab_size", 0);
  if (!json.is_object()) return wrong("not a JSON object");
  if (!dtype.ok()) return wrong(dtype.error().what);
  if (!vocab_size.ok()) return wrong(vocab_size.error().what);
  if (json.contains("vocab_size") && (*vocab_size <= 0 || *vocab_size > kMaxVocabulary))
    return wrong(fmt::format("vocab_size {} is out of range", *vocab_size));
  if (*dtype == "uint16") meta.type = TokenType::kUint16;
  if (*dtype == "uint32") meta.type = TokenType::kUint32;
  if (!dtype->empty() && !meta.type) return wrong(fmt::format("dtype \"{}\" is not known", *dtype));
  if (*vocab_size > 0) meta.vocab_size = *vocab_size;
  return meta;
}

TokenMeta read_meta_pickle(const std::string& path) {
  TokenMeta meta;
  const auto left_aside = [&](const Error& error) {
    meta.warning = fmt::format("{} is left aside: {}", path, error.what);
    return meta;
  };
  const Result<std::string> bytes = read_file(path);
  if (!bytes.ok()) return left_aside(bytes.error());
  Result<NanoGptMeta> parsed = parse_nanogpt_meta(*bytes);
  if (!parsed.ok()) return left_aside(parsed.error());
  meta.file = "meta.pkl";
  meta.vocab_size = parsed->vocab_size;
  meta.characters = std::move(parsed->characters);
  return meta;
}

}  // namespace

Result<TokenMeta> read_token_meta(const std::string& folder) {
  const std::string json = join_path(folder, "meta.json");
  if (path_exists(json)) return read_meta_json(json);
  const std::string pickle = join_path(folder, "meta.pkl");
  if (path_exists(pickle)) return read_meta_pickle(pickle);
  return TokenMeta{};
}

}  // namespace vramwise
