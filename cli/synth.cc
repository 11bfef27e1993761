// vramwise synth: a corpus with a known floor of its loss, to see a model learn.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "synth/corpus.h"

namespace vramwise::cli {
namespace {

struct SynthArguments {
  SynthOptions options;
  std::uint64_t size_bytes = static_cast<std::uint64_t>(SynthOptions().size.count());
  bool as_json = false;
};

Outcome synth(SynthArguments arguments) {
  if (arguments.size_bytes > std::uint64_t{1} << 50) return usage_error("--bytes is beyond a pebibyte");
  arguments.options.size = Bytes(static_cast<std::int64_t>(arguments.size_bytes));
  VRAMWISE_ASSIGN_OR_RETURN(const SynthReport report, write_synthetic_corpus(arguments.options));
  for (const std::string& warning : report.warnings) fmt::print(stderr, "warning: {}\n", warning);
  if (arguments.as_json) {
    fmt::print("{}\n", to_json(report).dump(2));
  } else {
    fmt::print("{}", describe(report));
  }
  return kExitDone;
}

}  // namespace

void add_synth_command(CLI::App& app, Outcome& outcome) {
  CLI::App* command = app.add_subcommand("synth", "Write a synthetic corpus whose loss has a known floor");
  auto arguments = std::make_shared<SynthArguments>();
  arguments->options.out_dir = "synthetic_data";
  command->add_option("--out", arguments->options.out_dir, "The folder to write train.txt, val.txt and synth.json into")
      ->capture_default_str();
  command->add_option("--bytes", arguments->size_bytes, "Size of train.txt: a number, also with kb, mb or gb")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->default_str("4mb");
  WordSourceOptions& source = arguments->options.source;
  command->add_option("--seed", source.seed, "Decides the language and the text")->capture_default_str();
  command->add_option("--words", source.words, "Words of the language, 8 to 4096")->capture_default_str();
  command->add_option("--successors", source.successors, "Words that may follow a word: more of them, a higher floor")
      ->capture_default_str();
  command->add_flag("--force", arguments->options.force, "Write into a folder that already holds other things");
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->callback([arguments, &outcome] { outcome = synth(*arguments); });
}

}  // namespace vramwise::cli
