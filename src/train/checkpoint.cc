// Nothing is ever changed in place: a folder is written under a temporary name, synced, and renamed; an old one is
// renamed before it is removed. Whatever moment the machine dies at, each "step-N" is whole, or damaged by the disk,
// and that the checksums find.
#include "train/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <system_error>
#include <utility>

#include "base/text.h"
#include "io/files.h"
#include "io/sealed_json.h"
#include "run/checkpoint_state.h"
#include "run/output_names.h"
#include "train/tensor_files.h"

namespace vramwise {
namespace {

constexpr std::size_t kKept = 2;
constexpr const char* kTemporary = ".unfinished-";

const char* torch_type_name(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "float32";
    case Precision::kBf16:
      return "bfloat16";
    case Precision::kFp16:
      return "float16";
  }
  return "?";
}

Json to_json(const FileSeal& seal) {
  char checksum[20];
  std::snprintf(checksum, sizeof(checksum), "%016llx", static_cast<unsigned long long>(seal.checksum));
  return {{"bytes", seal.bytes}, {"checksum", checksum}};
}

Result<FileSeal> seal_from_json(const Json& json) {
  FileSeal seal;
  VRAMWISE_ASSIGN_OR_RETURN(seal.bytes, json_get<std::int64_t>(json, "bytes"));
  VRAMWISE_ASSIGN_OR_RETURN(const std::string checksum, json_get<std::string>(json, "checksum"));
  const char* const end = checksum.data() + checksum.size();
  const auto [stop, error] = std::from_chars(checksum.data(), end, seal.checksum, 16);
  if (checksum.size() != 16 || error != std::errc() || stop != end)
    return world_error("key \"checksum\": 16 hexadecimal digits were expected");
  return seal;
}

struct Seals {
  FileSeal model;
  FileSeal optimizer;
};

Json state_to_json(const RunSpec& spec, const RunState& state, const Seals& seals) {
  return {{"format", kStateFormat},
          {"step", state.step},
          {"updates", state.updates},
          {"sequences", state.sequences},
          {"seconds", state.seconds},
          {"precision", precision_name(spec.step.precision)},
          {"planned_micro_batches", state.planned_micro_batches},
          {"micro_batches", state.micro_batches},
          {"seed", state.seed},
          {"train_tokens", state.train_tokens},
          {"loss_scaler", state.loss_scaler},
          {"model", to_json(spec.model)},
          {"files", {{"model.safetensors", to_json(seals.model)}, {"optimizer.safetensors", to_json(seals.optimizer)}}},
          {"run", to_json(spec)},
          {"random_state", state.random_state.to_json()}};
}

Result<RunState> state_from_json(const Json& json) {
  RunState state;
  VRAMWISE_ASSIGN_OR_RETURN(state.step, json_get<std::int64_t>(json, "step"));
  VRAMWISE_ASSIGN_OR_RETURN(state.updates, json_get<std::int64_t>(json, "updates"));
  VRAMWISE_ASSIGN_OR_RETURN(state.sequences, json_get<std::int64_t>(json, "sequences"));
  VRAMWISE_ASSIGN_OR_RETURN(state.seconds, json_get<double>(json, "seconds"));
  VRAMWISE_ASSIGN_OR_RETURN(state.seed, json_get<std::uint64_t>(json, "seed"));
  VRAMWISE_ASSIGN_OR_RETURN(state.train_tokens, json_get<std::int64_t>(json, "train_tokens"));
  VRAMWISE_ASSIGN_OR_RETURN(state.planned_micro_batches,
                            json_get<std::vector<std::int64_t>>(json, "planned_micro_batches"));
  VRAMWISE_ASSIGN_OR_RETURN(state.micro_batches, json_get<std::vector<std::int64_t>>(json, "micro_batches"));
  if (state.step < 0 || state.updates < 0 || state.sequences < 0) return world_error("a count is negative");
  if (json.contains("run")) {
    VRAMWISE_ASSIGN_OR_RETURN(const RunSpec run, run_spec_from_json(json.at("run")));
    state.seq_len = run.step.seq_len;
  }
  if (!json.contains("loss_scaler")) return world_error("key \"loss_scaler\" is missing");
  state.loss_scaler = json.at("loss_scaler");
  if (!json.contains("random_state")) return world_error("key \"random_state\" is missing");
  VRAMWISE_ASSIGN_OR_RETURN(state.random_state, RandomState::from_json(json.at("random_state")));
  return state;
}

Status write_files(const std::string& folder, const RunSpec& spec, const FlatLayout& layout, const RunState& state,
                   const CheckpointTensors& tensors) {
  const OptimizerState& optimizer = tensors.optimizer;
  Seals seals;
  VRAMWISE_ASSIGN_OR_RETURN(seals.model,
                            write_flat(join_path(folder, "model.safetensors"), layout, {{"", tensors.weights}}));
  std::vector<NamedFlat> buffers = {{"exp_avg.", optimizer.exp_avg, tensors.touched},
                                    {"exp_avg_sq.", optimizer.exp_avg_sq, tensors.touched}};
  // In fp32 a master copy, where there is one, equals the weights.
  if (spec.step.precision != Precision::kFp32) buffers.push_back({"master.", optimizer.master, tensors.touched});
  VRAMWISE_ASSIGN_OR_RETURN(seals.optimizer, write_flat(join_path(folder, "optimizer.safetensors"), layout, buffers));
  const Json config = to_hugging_face_config(spec.model, spec.step.seq_len, torch_type_name(spec.step.precision));
  VRAMWISE_RETURN_IF_ERROR(write_file_atomically(join_path(folder, "config.json"), config.dump(2) + "\n"));
  return write_file_atomically(join_path(folder, kStateFileName),
                               seal_json(state_to_json(spec, state, seals)).dump(2) + "\n");
}

/// Gives `temporary` the name `target`; a checkpoint of that name makes room first.
Status put_in_place(const std::string& temporary, const std::string& target) {
  const std::string old = temporary + "-old";
  const bool occupied = path_exists(target);
  if (occupied) VRAMWISE_RETURN_IF_ERROR(rename_path(target, old));
  VRAMWISE_RETURN_IF_ERROR(rename_path(temporary, target));
  VRAMWISE_RETURN_IF_ERROR(sync_folder(parent_folder(target)));
  if (occupied) static_cast<void>(remove_path(old));
  return Done{};
}

/// Failing to remove something old is no reason to end a run.
void prune(const std::string& out_dir, std::int64_t newest) {
  const auto steps = list_checkpoint_steps(out_dir);
  if (!steps.ok()) return;
  std::size_t kept = 0;
  for (const std::int64_t step : *steps) {
    if (step > newest || ++kept <= kKept) continue;
    const std::string going = join_path(out_dir, kTemporary + checkpoint_folder_name(step));
    if (rename_path(join_path(out_dir, checkpoint_folder_name(step)), going).ok())
      static_cast<void>(remove_path(going));
  }
}

Result<Checkpoint> open_checkpoint(const std::string& path) {
  const std::string state_path = join_path(path, kStateFileName);
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_checkpoint_state(path));
  Result<RunState> state = state_from_json(json);
  if (!state.ok()) return world_error(state_path + ": " + state.error().what);
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    if (!json.contains("files") || !json.at("files").is_object() || !json.at("files").contains(name))
      return world_error(state_path + ": nothing about " + name);
    VRAMWISE_ASSIGN_OR_RETURN(const FileSeal seal, seal_from_json(json.at("files").at(name)));
    VRAMWISE_RETURN_IF_ERROR(check_seal(join_path(path, name), seal));
  }
  VRAMWISE_ASSIGN_OR_RETURN(SafetensorsFile model, SafetensorsFile::open(join_path(path, "model.safetensors")));
  VRAMWISE_ASSIGN_OR_RETURN(SafetensorsFile optimizer, SafetensorsFile::open(join_path(path, "optimizer.safetensors")));
  return Checkpoint{path, std::move(*state), std::move(model), std::move(optimizer)};
}

/// Errors (kUsage): the checkpoint is sound, but of another run.
Status check_same_run(const RunSpec& spec, const std::string& path) {
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, read_checkpoint_state(path));
  const auto precision = json_get<std::string>(json, "precision");
  const bool same_model = json.contains("model") && json.at("model") == to_json(spec.model);
  if (same_model && precision.ok() && *precision == precision_name(spec.step.precision)) return Done{};
  return usage_error(same_model ? path + " was trained in " + (precision.ok() ? *precision : "another precision") +
                                      ", not in " + precision_name(spec.step.precision)
                                : path + " is of a model with other dimensions",
                     "Continue it with the flags it was started with, or begin a new run in another folder.");
}

}  // namespace

Result<std::string> write_checkpoint(const RunSpec& spec, const FlatLayout& layout, const RunState& state,
                                     const CheckpointTensors& tensors) {
  const std::string name = checkpoint_folder_name(state.step);
  const std::string target = join_path(spec.out_dir, name);
  const std::string temporary = join_path(spec.out_dir, kTemporary + name + "-" + std::to_string(::getpid()));
  const auto write = [&]() -> Status {
    VRAMWISE_RETURN_IF_ERROR(remove_path(temporary));
    VRAMWISE_RETURN_IF_ERROR(make_folders(temporary));
    VRAMWISE_RETURN_IF_ERROR(write_files(temporary, spec, layout, state, tensors));
    VRAMWISE_RETURN_IF_ERROR(sync_folder(temporary));
    VRAMWISE_RETURN_IF_ERROR(put_in_place(temporary, target));
    return write_file_atomically(join_path(spec.out_dir, kLatestFileName), name + "\n");
  };
  if (const Status written = write(); !written.ok()) {
    static_cast<void>(remove_path(temporary));
    return written.error();
  }
  prune(spec.out_dir, state.step);
  return target;
}

Result<CheckpointSearch> find_checkpoint(const RunSpec& spec) {
  VRAMWISE_ASSIGN_OR_RETURN(std::vector<std::int64_t> steps, list_checkpoint_steps(spec.out_dir));
  if (const auto latest = read_file(join_path(spec.out_dir, kLatestFileName), 256); latest.ok()) {
    // A newer one than `latest` names was complete, but the run died before it said so: as good as the other.
    const auto named = checkpoint_step(std::string(trim(*latest)));
    if (named && std::find(steps.begin(), steps.end(), *named) == steps.end()) steps.push_back(*named);
    std::sort(steps.rbegin(), steps.rend());
  }
  CheckpointSearch search;
  for (const std::int64_t step : steps) {
    const std::string path = join_path(spec.out_dir, checkpoint_folder_name(step));
    Result<Checkpoint> checkpoint = open_checkpoint(path);
    if (checkpoint.ok()) {
      VRAMWISE_RETURN_IF_ERROR(check_same_run(spec, path));
      search.found = std::move(*checkpoint);
      return search;
    }
    if (checkpoint.error().code == ErrorCode::kUsage) return checkpoint.error();
    const std::string aside = join_path(spec.out_dir, "broken-" + checkpoint_folder_name(step));
    const bool moved = remove_path(aside).ok() && rename_path(path, aside).ok();
    search.warnings.push_back("the checkpoint of step " + std::to_string(step) + " is broken (" +
                              checkpoint.error().what + ")" + (moved ? "; it is now called " + aside : ""));
  }
  if (steps.empty()) return search;
  std::string all;
  for (const std::string& warning : search.warnings) all += (all.empty() ? "" : "; ") + warning;
  return world_error("no checkpoint in " + spec.out_dir + " is whole: " + all, "Begin a new run in another folder.");
}

bool has_checkpoints(const std::string& out_dir) {
  const auto steps = list_checkpoint_steps(out_dir);
  return steps.ok() && !steps->empty();
}

Status load_checkpoint(const Checkpoint& checkpoint, const FlatLayout& layout, const CheckpointTensors& tensors) {
  const OptimizerState& optimizer = tensors.optimizer;
  VRAMWISE_RETURN_IF_ERROR(read_flat(checkpoint.model, layout, {"", tensors.weights}));
  VRAMWISE_RETURN_IF_ERROR(read_flat(checkpoint.optimizer, layout, {"exp_avg.", optimizer.exp_avg, tensors.touched}));
  VRAMWISE_RETURN_IF_ERROR(
      read_flat(checkpoint.optimizer, layout, {"exp_avg_sq.", optimizer.exp_avg_sq, tensors.touched}));
  if (!optimizer.master.defined()) return Done{};
  if (tensors.weights.scalar_type() == torch::kFloat)
    return read_flat(checkpoint.model, layout, {"", optimizer.master, tensors.touched});
  return read_flat(checkpoint.optimizer, layout, {"master.", optimizer.master, tensors.touched});
}

void remove_leftovers(const std::string& out_dir) {
  const auto names = list_folder(out_dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with(kTemporary)) static_cast<void>(remove_path(join_path(out_dir, name)));
  }
}

}  // namespace vramwise
