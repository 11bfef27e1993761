// Reading documents front to back out of a mapping.
#include "data/documents.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace vramwise {
namespace {

/// How much of `text` the next chunk takes: all of it when it is short.
std::size_t chunk_length(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text.size();
  const std::string_view head = text.substr(0, limit);
  if (const std::size_t newline = head.rfind('\n'); newline != std::string_view::npos) return newline + 1;
  // Before the space: tokenizers count a space to the word behind it.
  if (const std::size_t space = head.rfind(' '); space != std::string_view::npos && space > 0) return space;
  std::size_t length = limit;
  const auto within_character = [&] { return (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80; };
  while (length > limit - 4 && length > 1 && within_character()) --length;
  return length;
}

Status send_document(std::string_view text, std::size_t chunk_bytes, std::int64_t read_before, bool counts_text,
                     const ChunkSink& sink) {
  std::int64_t read_bytes = read_before;
  do {
    const std::size_t length = chunk_length(text, chunk_bytes);
    TextChunk chunk{std::string(text.substr(0, length)), length == text.size()};
    text.remove_prefix(length);
    if (counts_text) read_bytes += static_cast<std::int64_t>(length);
    VRAMWISE_RETURN_IF_ERROR(sink(std::move(chunk), read_bytes));
  } while (!text.empty());
  return Done{};
}

/// The "text" of one line; `where` is file:line.
Result<std::string> text_of_line(std::string_view line, const std::string& where) {
  const auto broken = [&](const std::string& what) {
    return world_error(fmt::format("{}: {}", where, what),
                       "Each line of a .jsonl file is one object such as {\"text\": \"…\"}; mend or remove this one.");
  };
  Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) return broken("not valid JSON");
  if (!object.is_object()) return broken("not a JSON object");
  const auto text = object.find("text");
  if (text == object.end()) {
    std::string keys;
    for (const auto& item : object.items()) keys += (keys.empty() ? "" : ", ") + item.key();
    return broken(fmt::format("no \"text\" in it (its keys: {})", keys.empty() ? "none" : keys));
  }
  if (!text->is_string()) return broken("\"text\" is not text");
  return std::move(text->get_ref<std::string&>());
}

Status read_lines(const MappedFile& file, const ChunkSink& sink, std::size_t chunk_bytes) {
  std::string_view rest = file.text();
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);  // a byte order mark, as some Windows programs write
  for (std::int64_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (trim(line).empty()) continue;
    VRAMWISE_ASSIGN_OR_RETURN(const std::string text, text_of_line(line, fmt::format("{}:{}", file.path(), number)));
    const std::int64_t read_bytes = file.size() - static_cast<std::int64_t>(rest.size());
    VRAMWISE_RETURN_IF_ERROR(send_document(text, chunk_bytes, read_bytes, /*counts_text=*/false, sink));
  }
  return Done{};
}

}  // namespace

Status read_documents(const MappedFile& file, SourceKind kind, const ChunkSink& sink, std::size_t chunk_bytes) {
  VRAMWISE_CHECK(kind != SourceKind::kTokens);
  VRAMWISE_CHECK(chunk_bytes > 4);  // the longest character, and progress beyond it
  if (kind == SourceKind::kJsonl) return read_lines(file, sink, chunk_bytes);
  return send_document(file.text(), chunk_bytes, 0, /*counts_text=*/true, sink);
}

}  // namespace vramwise
