// What the SentencePiece plugin offers to tokenizer code: plain C, so that no C++ object of either side crosses.
//
// The plugin is a shared library of its own because Debian's libsentencepiece and libtorch's libc10 both define a
// global FLAGS_minloglevel, one a 32-byte object and the other a 4-byte integer: linked into one program, whichever is
// loaded second writes over its neighbours in the first. sentence_piece.cc loads the plugin so that it keeps to its own
// symbols.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct VramwiseSentencePieceApi {
  /// A model from the bytes of its file, or null, with the reason in `reason` (zero-terminated).
  void* (*load)(const char* bytes, std::size_t size, char* reason, std::size_t reason_size);
  void (*free)(void* model);
  std::int32_t (*vocab_size)(const void* model);
  std::int32_t (*eos_id)(const void* model);  ///< -1: the model has none
  std::int32_t (*bos_id)(const void* model);  ///< -1: the model has none
  /// Calls `sink` once with the result, and returns true; false, without a call, when the library fails.
  bool (*encode)(const void* model, const char* text, std::size_t size, void* context,
                 void (*sink)(void* context, const std::int32_t* ids, std::size_t count));
  bool (*decode)(const void* model, const std::int32_t* ids, std::size_t count, void* context,
                 void (*sink)(void* context, const char* text, std::size_t size));
};

/// The name under which the plugin exports its function table.
const VramwiseSentencePieceApi* vramwise_sentence_piece_api();
}
