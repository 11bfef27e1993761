// The text of .txt and .jsonl files as documents, cut into chunks that can be encoded one by one: however large a file
// is, one chunk of it is in memory.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "data/mapped_file.h"
#include "data/source_files.h"

namespace vramwise {

struct TextChunk {
  std::string text;
  bool ends_document = false;
};

/// Receives the next chunk, and how many bytes of the file have been read by then. An error ends the reading.
using ChunkSink = std::function<Status(TextChunk chunk, std::int64_t read_bytes)>;

/// A .txt file is one document; of a .jsonl file, each line's "text" is one. Chunks end at the end of a line where a
/// document has lines, otherwise before a space, and never within a character. Errors (kWorld): file:line of a line
/// that is no JSON object with a "text" that is text; those of `sink`.
Status read_documents(const MappedFile& file, SourceKind kind, const ChunkSink& sink,
                      std::size_t chunk_bytes = std::size_t{1} << 20);

}  // namespace vramwise
