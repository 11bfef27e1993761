// The only translation unit that includes SentencePiece. See the header for why it is built apart.
#include "sentence_piece_plugin.h"

#include <sentencepiece_processor.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Processor = sentencepiece::SentencePieceProcessor;

const Processor& as_model(const void* model) { return *static_cast<const Processor*>(model); }

void* load(const char* bytes, std::size_t size, char* reason, std::size_t reason_size) {
  try {
    auto processor = std::make_unique<Processor>();
    const auto status = processor->LoadFromSerializedProto(std::string_view(bytes, size));
    if (status.ok()) return processor.release();
    std::snprintf(reason, reason_size, "%s", status.ToString().c_str());
  } catch (const std::exception& exception) {
    std::snprintf(reason, reason_size, "%s", exception.what());
  }
  return nullptr;
}

void free_model(void* model) { delete static_cast<Processor*>(model); }
std::int32_t vocab_size(const void* model) { return as_model(model).GetPieceSize(); }
std::int32_t eos_id(const void* model) { return as_model(model).eos_id(); }
std::int32_t bos_id(const void* model) { return as_model(model).bos_id(); }

bool encode(const void* model, const char* text, std::size_t size, void* context,
            void (*sink)(void* context, const std::int32_t* ids, std::size_t count)) {
  try {
    std::vector<int> ids;
    if (!as_model(model).Encode(std::string_view(text, size), &ids).ok()) return false;
    sink(context, ids.data(), ids.size());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

bool decode(const void* model, const std::int32_t* ids, std::size_t count, void* context,
            void (*sink)(void* context, const char* text, std::size_t size)) {
  try {
    std::string text;
    if (!as_model(model).Decode(std::vector<int>(ids, ids + count), &text).ok()) return false;
    sink(context, text.data(), text.size());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

constexpr VramwiseSentencePieceApi kApi = {load, free_model, vocab_size, eos_id, bos_id, encode, decode};

}  // namespace

extern "C" __attribute__((visibility("default"))) const VramwiseSentencePieceApi* vramwise_sentence_piece_api() {
  return &kApi;
}
