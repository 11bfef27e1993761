// Encoding and keeping. Chunks of text are gathered into batches; a batch is encoded by all processors and written in
// order, so memory stays at one batch whatever the size of the text. A lock on the cache folder makes the first process
// encode and the others wait; what a killed process left half written is found under the lock and removed.
#include "data/token_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <thread>

#include "data/documents.h"
#include "data/mapped_file.h"
#include "data/open_file.h"
#include "io/file_lock.h"
#include "io/files.h"
#include "io/output_file.h"

namespace vramwise {
namespace {

// Part of every fingerprint: a change of what is written under the same input needs another number.
constexpr int kCacheVersion = 1;
constexpr std::size_t kBatchBytes = std::size_t{8} << 20;
constexpr const char* kUnfinished = ".unfinished";

/// Writes ids in the width of their type.
class TokenWriter {
 public:
  TokenWriter(OutputFile& file, TokenType type) : file_(file), type_(type) {}

  Status write(const std::vector<std::int64_t>& ids) {
    const auto width = static_cast<std::size_t>(token_type_bytes(type_));
    buffer_.resize(ids.size() * width);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      VRAMWISE_CHECK(ids[i] >= 0);
      VRAMWISE_CHECK(ids[i] < token_type_values(type_));
      std::memcpy(buffer_.data() + i * width, &ids[i], width);  // little-endian, as token_source.cc asserts
    }
    return file_.write(buffer_.data(), buffer_.size());
  }

 private:
  OutputFile& file_;
  TokenType type_;
  std::vector<char> buffer_;
};

/// Gathers chunks and encodes them batch by batch.
class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, TokenWriter& writer) : tokenizer_(tokenizer), writer_(writer) {}

  Status add(TextChunk chunk) {
    pending_bytes_ += chunk.text.size();
    chunks_.push_back(std::move(chunk));
    return pending_bytes_ >= kBatchBytes ? flush() : Status(Done{});
  }

  Status flush() {
    std::vector<std::vector<std::int64_t>> encoded(chunks_.size());
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
      for (std::size_t i = next++; i < chunks_.size(); i = next++) encoded[i] = tokenizer_.encode(chunks_[i].text);
    };
    {
      const std::size_t processors = std::max(1U, std::thread::hardware_concurrency());
      std::vector<std::jthread> helpers;
      for (std::size_t i = 1; i < std::min(processors, chunks_.size()); ++i) helpers.emplace_back(work);
      work();
    }
    const std::vector<std::int64_t> separator = tokenizer_.separator();
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      VRAMWISE_RETURN_IF_ERROR(writer_.write(encoded[i]));
      if (chunks_[i].ends_document) VRAMWISE_RETURN_IF_ERROR(writer_.write(separator));
    }
    chunks_.clear();
    pending_bytes_ = 0;
    return Done{};
  }

 private:
  const Tokenizer& tokenizer_;
  TokenWriter& writer_;
  std::vector<TextChunk> chunks_;
  std::size_t pending_bytes_ = 0;
};

Status encode_files(const CacheRequest& request, const Tokenizer& tokenizer, TokenType type, OutputFile& out) {
  std::vector<std::shared_ptr<const MappedFile>> texts;
  std::int64_t total = 0;
  for (const SourceFile& source : request.files) {
    VRAMWISE_ASSIGN_OR_RETURN(texts.emplace_back(), MappedFile::open(source.path));
    total += texts.back()->size();
  }
  TokenWriter writer(out, type);
  Encoder encoder(tokenizer, writer);
  std::int64_t before = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    VRAMWISE_RETURN_IF_ERROR(
        read_documents(*texts[i], request.files[i].kind, [&](TextChunk chunk, std::int64_t read_bytes) -> Status {
          if (request.on_progress) request.on_progress({texts[i]->path(), Bytes(before + read_bytes), Bytes(total)});
          return encoder.add(std::move(chunk));
        }));
    before += texts[i]->size();
    texts[i]->release_pages(texts[i]->bytes());
  }
  return encoder.flush();
}

/// What the name of an entry is made of: which texts, and in which state with which tokenizer.
struct EntryName {
  std::string texts;
  std::string state;
  std::string file_name() const { return fmt::format("tokens-{}-{}.bin", texts, state); }
};

Result<EntryName> entry_name(const CacheRequest& request, TokenType type) {
  Checksum texts;
  Checksum state;
  const auto add = [](Checksum& sum, const std::string& part) {
    sum.add(std::as_bytes(std::span(part.c_str(), part.size() + 1)));
  };
  for (const SourceFile& source : request.files) {
    struct stat status{};
    if (::stat(source.path.c_str(), &status) != 0) return file_error("read", source.path, errno);
    add(texts, std::filesystem::absolute(source.path).lexically_normal().string());
    add(state, fmt::format("{} {}.{}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec));
  }
  add(state, fmt::format("{} {}", kCacheVersion, token_type_name(type)));
  if (!request.tokenizer_path.empty()) {
    VRAMWISE_ASSIGN_OR_RETURN(const std::string model, read_file(request.tokenizer_path));
    add(state, model);
  }
  return EntryName{fmt::format("{:016x}", texts.value()), fmt::format("{:016x}", state.value())};
}

/// Under the lock: what nobody writes any more, and older states of the same texts.
Status remove_stale(const std::string& cache_dir, const EntryName& name) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::vector<std::string> entries, list_folder(cache_dir));
  for (const std::string& entry : entries) {
    const bool same_texts = entry.starts_with(fmt::format("tokens-{}-", name.texts)) && entry != name.file_name();
    if (entry.starts_with("tokens-") && (same_texts || entry.ends_with(kUnfinished)))
      VRAMWISE_RETURN_IF_ERROR(remove_path(join_path(cache_dir, entry)));
  }
  return Done{};
}

Status fill(const CacheRequest& request, const Tokenizer& tokenizer, TokenType type, const std::string& path) {
  const std::string unfinished = path + kUnfinished;
  const auto write = [&]() -> Status {
    VRAMWISE_ASSIGN_OR_RETURN(OutputFile out, OutputFile::create(unfinished));
    VRAMWISE_RETURN_IF_ERROR(encode_files(request, tokenizer, type, out));
    return out.finish();
  };
  if (const Status written = write(); !written.ok()) {
    // The first failure is the one to tell; the remains are found by the next run if this fails too.
    static_cast<void>(remove_path(unfinished));
    return written.error();
  }
  VRAMWISE_RETURN_IF_ERROR(rename_path(unfinished, path));
  return sync_folder(parent_folder(path));
}

bool can_write(const std::string& folder) {
  return make_folders(folder).ok() && ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

/// Where the entry is; where it is nowhere, the first of the two folders that can be written.
std::string choose_folder(const CacheRequest& request, const EntryName& name) {
  const auto holds_it = [&](const std::string& folder) { return path_exists(join_path(folder, name.file_name())); };
  if (request.other_cache_dir.empty() || holds_it(request.cache_dir)) return request.cache_dir;
  const bool other = holds_it(request.other_cache_dir) || !can_write(request.cache_dir);
  return other ? request.other_cache_dir : request.cache_dir;
}

}  // namespace

TokenType token_type_for(std::int64_t vocab_size) {
  if (vocab_size <= token_type_values(TokenType::kUint8)) return TokenType::kUint8;
  return vocab_size <= token_type_values(TokenType::kUint16) ? TokenType::kUint16 : TokenType::kUint32;
}

Result<TokenSource> encoded_tokens(const CacheRequest& request, const Tokenizer& tokenizer) {
  const TokenType type = token_type_for(tokenizer.vocab_size());
  VRAMWISE_ASSIGN_OR_RETURN(const EntryName name, entry_name(request, type));
  const std::string folder = choose_folder(request, name);
  const std::string path = join_path(folder, name.file_name());
  if (!path_exists(path)) {
    VRAMWISE_RETURN_IF_ERROR(make_folders(folder));
    VRAMWISE_ASSIGN_OR_RETURN(const FileLock lock, FileLock::wait(join_path(folder, "lock")));
    if (!path_exists(path)) {
      VRAMWISE_RETURN_IF_ERROR(remove_stale(folder, name));
      VRAMWISE_RETURN_IF_ERROR(fill(request, tokenizer, type, path));
    }
  }
  VRAMWISE_ASSIGN_OR_RETURN(std::shared_ptr<const OpenFile> file, OpenFile::open(path));
  if (file->size() % token_type_bytes(type) != 0)
    return world_error(fmt::format("{}: broken", path), "Remove this file; it is made again.");
  return TokenSource::from_file(std::move(file), type);
}

}  // namespace vramwise
