// From a source to files. All of them are written beside their places first and renamed at the end, one right after the
// other.
#include "synth/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/units.h"
#include "io/files.h"
#include "io/output_file.h"

namespace vramwise {
namespace {

constexpr const char* kTrain = "train.txt";
constexpr const char* kVal = "val.txt";
constexpr const char* kAbout = "synth.json";
constexpr const char* kUnfinished = ".unfinished";
constexpr Bytes kSmallest = Bytes::kib(4);
constexpr Bytes kSmallestVal = Bytes::kib(64);
// Part of synth.json: a change of the text under the same options needs another number.
constexpr int kFormat = 1;

struct Written {
  Bytes size;
  double nats_per_token = 0;
};

Result<Written> write_text(const WordSource& source, std::uint64_t seed, Bytes size, const std::string& path) {
  constexpr std::size_t kBlock = std::size_t{1} << 20;
  VRAMWISE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::create(path));
  WordStream stream(source, seed);
  std::string block;
  double nats = 0;
  std::int64_t length = 0;
  while (length < size.count()) {
    const std::size_t before = block.size();
    nats += stream.append_word(block);
    length += static_cast<std::int64_t>(block.size() - before);
    if (block.size() < kBlock) continue;
    VRAMWISE_RETURN_IF_ERROR(file.write(block.data(), block.size()));
    block.clear();
  }
  VRAMWISE_RETURN_IF_ERROR(file.write(block.data(), block.size()));
  VRAMWISE_RETURN_IF_ERROR(file.finish());
  return Written{Bytes(length), nats / static_cast<double>(length)};
}

/// Whether the folder may be written into: missing, empty, or an earlier corpus. Yields warnings.
Result<std::vector<std::string>> check_folder(const SynthOptions& options) {
  if (!path_exists(options.out_dir)) return std::vector<std::string>();
  VRAMWISE_ASSIGN_OR_RETURN(std::vector<std::string> names, list_folder(options.out_dir));
  const bool ours = std::find(names.begin(), names.end(), kAbout) != names.end();
  std::erase_if(names, [&](const std::string& name) {
    const bool is_corpus = name == kTrain || name == kVal || name == kAbout;
    return name.starts_with('.') || name.ends_with(kUnfinished) || (ours && is_corpus);
  });
  if (names.empty()) return names;
  if (!options.force)
    return usage_error(fmt::format("{} already holds something else: {}{}", options.out_dir, names.front(),
                                   names.size() > 1 ? fmt::format(" and {} more", names.size() - 1) : ""),
                       "Choose another folder, or add --force to write train.txt, val.txt and synth.json into it.");
  std::vector<std::string> warnings;
  // Token files go first when a data set is opened.
  for (const char* name : {"train.bin"})
    if (std::find(names.begin(), names.end(), name) != names.end())
      warnings.push_back(fmt::format("{} stays there, and training on this folder takes it rather than train.txt",
                                     join_path(options.out_dir, name)));
  return warnings;
}

Status write_files(const SynthOptions& options, const WordSource& source, SynthReport& report) {
  const auto unfinished = [&](const char* name) { return join_path(options.out_dir, name) + kUnfinished; };
  // The two texts are draws of their own: validation shares the language, and no sentence but by chance.
  VRAMWISE_ASSIGN_OR_RETURN(const Written train,
                            write_text(source, 2 * options.source.seed, options.size, unfinished(kTrain)));
  const Bytes val_size = std::max(options.size / 20, kSmallestVal);
  VRAMWISE_ASSIGN_OR_RETURN(const Written val,
                            write_text(source, 2 * options.source.seed + 1, val_size, unfinished(kVal)));
  report.train_size = train.size;
  report.train_nats_per_token = train.nats_per_token;
  report.val_size = val.size;
  report.val_nats_per_token = val.nats_per_token;
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(unfinished(kAbout), to_json(report).dump(2) + "\n"));
  for (const char* name : {kTrain, kVal, kAbout})
    VRAMWISE_RETURN_IF_ERROR(rename_path(unfinished(name), join_path(options.out_dir, name)));
  return sync_folder(options.out_dir);
}

std::string sample_of(const WordSource& source, std::uint64_t seed) {
  constexpr std::size_t kLength = 240;
  WordStream stream(source, seed);
  std::string text;
  while (text.size() < kLength || text[text.size() - 2] != '.') stream.append_word(text);
  return text;
}

}  // namespace

Result<SynthReport> write_synthetic_corpus(const SynthOptions& options) {
  if (options.size < kSmallest)
    return usage_error(fmt::format("a corpus of {} is too small", format_size(options.size)),
                       fmt::format("Take {} or more.", format_size(kSmallest)));
  VRAMWISE_ASSIGN_OR_RETURN(const WordSource source, WordSource::create(options.source));
  SynthReport report;
  VRAMWISE_ASSIGN_OR_RETURN(report.warnings, check_folder(options));
  report.out_dir = options.out_dir;
  report.source = options.source;
  report.floor_nats_per_token = source.nats_per_byte();
  report.floor_bits_per_byte = source.nats_per_byte() / std::numbers::ln2;
  report.nats_per_word = source.nats_per_word();
  report.bytes_per_word = source.bytes_per_word();
  report.sample = sample_of(source, 2 * options.source.seed);
  VRAMWISE_RETURN_IF_ERROR(make_folders(options.out_dir));
  if (const Status written = write_files(options, source, report); !written.ok()) {
    // The first failure is the one to tell.
    for (const char* name : {kTrain, kVal, kAbout})
      static_cast<void>(remove_path(join_path(options.out_dir, name) + kUnfinished).ok());
    return written.error();
  }
  return report;
}

Json to_json(const SynthReport& report) {
  return {{"format", kFormat},
          {"seed", report.source.seed},
          {"words", report.source.words},
          {"successors", report.source.successors},
          {"bytes", report.train_size.count() + report.val_size.count()},
          {"train_bytes", report.train_size.count()},
          {"val_bytes", report.val_size.count()},
          {"token", "byte"},
          {"floor_nats_per_token", report.floor_nats_per_token},
          {"floor_bits_per_byte", report.floor_bits_per_byte},
          {"train_nats_per_token", report.train_nats_per_token},
          {"val_nats_per_token", report.val_nats_per_token},
          {"nats_per_word", report.nats_per_word},
          {"bytes_per_word", report.bytes_per_word}};
}

std::string describe(const SynthReport& report) {
  return fmt::format(
      "Wrote {0}: train.txt ({1}), val.txt ({2}), synth.json\n"
      "The language: {3} words, each followed by {4} others; {5:.2f} bytes a word. It reads so:\n\n{6}\n"
      "No model can get below a loss of {7:.4f} nats a byte ({8:.4f} bits) on it.\n",
      report.out_dir, format_size(report.train_size), format_size(report.val_size), report.source.words,
      report.source.successors, report.bytes_per_word, report.sample, report.floor_nats_per_token,
      report.floor_bits_per_byte);
}

}  // namespace vramwise
