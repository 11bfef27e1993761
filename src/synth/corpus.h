// Writes a synthetic corpus into a folder: train.txt, val.txt, and synth.json with the floor of its loss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"
#include "synth/word_source.h"

namespace vramwise {

struct SynthOptions {
  std::string out_dir{};
  Bytes size = Bytes::mib(4);  ///< of train.txt, to within a word; val.txt gets a twentieth of it, at least 64 KiB
  WordSourceOptions source{};  ///< its seed also draws the text
  bool force = false;          ///< write into a folder that holds other things
};

struct SynthReport {
  std::string out_dir;
  WordSourceOptions source;
  Bytes train_size;
  Bytes val_size;
  double floor_nats_per_token = 0;  ///< a token is a byte: the mean loss that no model can beat
  double floor_bits_per_byte = 0;
  double train_nats_per_token =
      0;  ///< what the source itself loses on these very files: the floor, give or take chance
  double val_nats_per_token = 0;
  double nats_per_word = 0;
  double bytes_per_word = 0;
  std::string sample;  ///< the first sentences
  std::vector<std::string> warnings;
};

/// The files appear when all of them are complete. A folder with an earlier corpus of ours is written anew. Errors:
/// kUsage: a size below 4 KiB, an option of the source, a folder that holds something else (without `force`); kWorld:
/// the folder cannot be made, the disk is full.
Result<SynthReport> write_synthetic_corpus(const SynthOptions& options);

/// The content of synth.json.
Json to_json(const SynthReport& report);

/// A few lines for people.
std::string describe(const SynthReport& report);

}  // namespace vramwise
