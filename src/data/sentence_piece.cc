// SentencePiece models, through a plugin that is loaded when a model is asked for (see sentence_piece_plugin.h).
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "data/sentence_piece_plugin.h"
#include "data/tokenizer.h"
#include "io/files.h"

namespace vramwise {
namespace {

constexpr const char* kPlugin = "libvramwise_sentencepiece.so";

// The plugin looks for symbols in itself first, so that those of libtorch, which are global, do not get in between.
// A sanitizer's runtime refuses that; programs built with one have no libtorch in them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kLoadFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kLoadFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

const VramwiseSentencePieceApi* api_of(void* library) {
  void* symbol = ::dlsym(library, "vramwise_sentence_piece_api");
  VRAMWISE_CHECK(symbol != nullptr);
  return reinterpret_cast<const VramwiseSentencePieceApi* (*)()>(symbol)();
}

/// Beside the program or the library that this code is part of, or in the lib folder of an installation.
std::vector<std::string> plugin_paths() {
  std::vector<std::string> paths;
  const auto add = [&](const std::filesystem::path& folder) {
    // Absolute, because dlopen looks for a bare name elsewhere.
    for (const char* place : {".", "../lib"})
      paths.push_back(std::filesystem::absolute(folder / place / kPlugin).lexically_normal().string());
  };
  Dl_info self{};
  if (::dladdr(kPlugin, &self) != 0 && self.dli_fname != nullptr)
    add(std::filesystem::path(self.dli_fname).parent_path());
  std::error_code failure;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (!failure) add(program.parent_path());
  return paths;
}

Result<const VramwiseSentencePieceApi*> sentence_piece_api() {
  // Never closed: tokenizers hold its code.
  for (const std::string& path : plugin_paths()) {
    if (!path_exists(path)) continue;
    if (void* library = ::dlopen(path.c_str(), kLoadFlags)) return api_of(library);
    return world_error(fmt::format("--tokenizer needs SentencePiece, which cannot be loaded: {}", ::dlerror()),
                       "Install Debian's package libsentencepiece0.");
  }
  return world_error(fmt::format("--tokenizer needs {} beside the program, and it is not there", kPlugin),
                     "Build or install vramwise again.");
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(const VramwiseSentencePieceApi& api, void* model, std::string name)
      : api_(api), model_(model, api.free), name_(std::move(name)) {}

  std::int64_t vocab_size() const override { return api_.vocab_size(model_.get()); }
  std::string description() const override {
    return fmt::format("SentencePiece model {} ({} tokens)", name_, vocab_size());
  }
  std::vector<std::int64_t> separator() const override {
    if (const std::int32_t eos = api_.eos_id(model_.get()); eos >= 0) return {eos};
    if (const std::int32_t bos = api_.bos_id(model_.get()); bos >= 0) return {bos};
    return {};
  }
  std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    const bool done = api_.encode(model_.get(), text.data(), text.size(), &ids,
                                  [](void* context, const std::int32_t* first, std::size_t count) {
                                    static_cast<std::vector<std::int64_t>*>(context)->assign(first, first + count);
                                  });
    VRAMWISE_CHECK_THAT(done, "SentencePiece failed to encode");
    return ids;
  }
  std::string decode(const std::vector<std::int64_t>& ids) const override {
    std::vector<std::int32_t> known;
    for (const std::int64_t id : ids)
      if (id >= 0 && id < vocab_size()) known.push_back(static_cast<std::int32_t>(id));
    std::string text;
    const bool done = api_.decode(model_.get(), known.data(), known.size(), &text,
                                  [](void* context, const char* first, std::size_t size) {
                                    static_cast<std::string*>(context)->assign(first, size);
                                  });
    VRAMWISE_CHECK_THAT(done, "SentencePiece failed to decode");
    return displayable(text);
  }

 private:
  const VramwiseSentencePieceApi& api_;
  std::unique_ptr<void, void (*)(void*)> model_;
  std::string name_;
};

}  // namespace

Result<std::shared_ptr<const Tokenizer>> load_sentence_piece(const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const std::string bytes, read_file(path));
  VRAMWISE_ASSIGN_OR_RETURN(const VramwiseSentencePieceApi* api, sentence_piece_api());
  char reason[256] = "";
  void* model = bytes.empty() ? nullptr : api->load(bytes.data(), bytes.size(), reason, sizeof reason);
  if (model == nullptr)
    return world_error(fmt::format("{}: not a SentencePiece model", path),
                       "--tokenizer takes the .model file that SentencePiece's trainer writes (tokenizer.model of "
                       "Llama 2 and Gemma; a tokenizer.json is another format).");
  return std::shared_ptr<const Tokenizer>(
      std::make_shared<SentencePieceTokenizer>(*api, model, std::filesystem::path(path).filename().string()));
}

}  // namespace vramwise
