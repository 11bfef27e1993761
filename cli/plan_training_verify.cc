// The program is the plan's train.py behind a few lines that make the data set it asks for; of torchtune it is the
// recipe with parts of its configuration replaced.
#include "cli/plan_training_verify.h"

#include <fmt/format.h>

#include "dryrun/run.h"
#include "gpus/gpu_spec.h"
#include "io/files.h"

namespace vramwise::cli {
namespace {

std::string data_set(std::int64_t rows, std::int64_t length) {
  return fmt::format(
      "import torch\n\n"
      "dataset = [{{\"input_ids\": row, \"labels\": row}} for row in torch.zeros(({}, {}), dtype=torch.int64)]\n\n",
      rows, length);
}

/// What a recipe of torchtune reads from files. Its own checkpointer saves; what is loaded is memory that nobody wrote.
constexpr const char* kStandIns = R"(import collections
import json
import pathlib

import torch
from omegaconf import OmegaConf
from torchtune import training
from torchtune.config._utils import _get_component_from_path
from torchtune.training.checkpointing._utils import ModelType


class Tokenizer:
    pad_id = 0

    def __init__(self, **unused):
        pass


class Rows:
    def __init__(self, tokenizer, count, length, **unused):
        self.count, self.length = count, length

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return {"tokens": [1] * self.length, "labels": [1] * self.length}


class Checkpointer(training.FullModelHFCheckpointer):
    def __init__(self, checkpoint_dir, checkpoint_files, model_type, output_dir, **unused):
        self._checkpoint_dir, self._output_dir = pathlib.Path(checkpoint_dir), pathlib.Path(output_dir)
        self._model_type, self._safe_serialization = ModelType[model_type], True
        self._config = json.loads((self._checkpoint_dir / "config.json").read_text())
        self._weight_map = collections.defaultdict(lambda: "0001")
        self.repo_id = None

    def load_checkpoint(self):
        recipe = OmegaConf.to_container(OmegaConf.load("recipe.yaml"))
        model = _get_component_from_path(recipe["model"].pop("_component_"))
        with training.set_default_dtype(training.get_dtype(recipe["dtype"], torch.device("cpu"))), torch.device("meta"):
            weights = model(**recipe["model"]).state_dict()
        return {"model": {name: torch.empty_like(each, device="cpu") for name, each in weights.items()}}
)";

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
    VRAMWISE_RETURN_IF_ERROR(write_in(folder.path(), "stand_ins.py", kStandIns));
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
