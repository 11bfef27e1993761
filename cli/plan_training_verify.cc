// The program is the plan's train.py behind a few lines that make the data set it asks for; of torchtune it is the
// recipe with parts of its configuration replaced.
#include "cli/plan_training_verify.h"

#include <fmt/format.h>

#include "dryrun/run.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

namespace vramwise::internal {

extern const std::string_view kStandIns;  // verify/stand_ins.py

}  // namespace vramwise::internal

namespace vramwise::cli {
namespace {

std::string data_set(std::int64_t rows, std::int64_t length) {
  return fmt::format(
      "import torch\n\n"
      "dataset = [{{\"input_ids\": row, \"labels\": row}} for row in torch.zeros(({}, {}), dtype=torch.int64)]\n\n",
      rows, length);
}

std::string stand_in_words(std::int64_t rows, std::int64_t length) {
  return fmt::format(
      " tokenizer._component_=stand_ins.Tokenizer dataset._component_=stand_ins.Rows dataset.count={} "
      "dataset.length={} checkpointer._component_=stand_ins.Checkpointer",
      rows, length);
}

Status write_in(const std::string& folder, const char* name, const std::string& text) {
  return write_file_atomically(join_path(folder, name), text);
}

}  // namespace

Result<Verification> verify_training(Told told, const std::string& config, std::int64_t sequences, int rank,
                                     const std::string& gpu_spec) {
  const TemporaryFolder folder, model, output;
  if (folder.path().empty() || model.path().empty() || output.path().empty())
    return world_error("no temporary folder can be made", "Set TMPDIR.");
  VRAMWISE_ASSIGN_OR_RETURN(const std::string program, own_path());
  told.model = model.path();
  VRAMWISE_RETURN_IF_ERROR(write_in(model.path(), "config.json", config));
  // As many steps as the plan's estimate has: a later one may take segments that those before did not.
  const TrainingSettings& settings = told.configuration.settings;
  const bool is_recipe = told.trainer == Trainer::kTorchtune;
  std::string command;
  for (const Document& document : documents_of(told)) {
    if (document.name == "command") {
      command = document.text;
      continue;
    }
    const bool is_program = document.name == "train.py";
    const std::string head = is_program ? data_set((settings.steps + 1) * sequences, settings.seq_len) : std::string();
    VRAMWISE_RETURN_IF_ERROR(write_in(folder.path(), document.name.c_str(), head + document.text));
  }
  if (is_recipe) {
    VRAMWISE_RETURN_IF_ERROR(write_in(folder.path(), "stand_ins.py", std::string(internal::kStandIns)));
    command.pop_back();  // the end of the line
    command += stand_in_words(settings.steps * sequences, settings.seq_len);
  }
  DryRunOptions options;
  options.command = {"sh", "-c", fmt::format("cd '{}' && exec env {}", folder.path(), command)};
  options.steps = settings.steps;
  options.fake_weights = true;
  options.rank = rank;
  VRAMWISE_ASSIGN_OR_RETURN(options.cards, parse_gpu_spec(gpu_spec));
  VRAMWISE_ASSIGN_OR_RETURN(options.emulator, find_emulator(program));
  return verify_by(std::move(options), output.path());
}

}  // namespace vramwise::cli
